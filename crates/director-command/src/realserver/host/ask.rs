//! Asks the wire: has a question come in through an interface, and watches whether a reply goes out.
//!
//! The question goes out of one end of a pair of devices, and a filter at the other end has the kernel
//! take it as received by the interface (`mirred ingress redirect`). Nothing of it is seen in the
//! network, unless this machine answers.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, eth, recv, socket_with};
use vip::announce::Mac;
use vip::{Link, LinkAddress, Message, Requests};

use super::{IFF_UP, Machine, RTM_NEWLINK, qdisc};
use crate::realserver::wire::{self, Answer, Asked, Question};

/// How long the kernel has for a reply: proxies for neighbors wait for up to 0.8 s (`proxy_delay`).
const WAIT: Duration = Duration::from_millis(1500);

/// How often a question is asked in that time.
const TIMES: u32 = 3;

/// What the names of the devices begin with; the number of the process follows.
const NEAR: &str = "dirask";
const FAR: &str = "dirput";

impl Machine {
    /// Whether this machine answers for each address on each interface. Devices of a call that was killed
    /// are removed.
    pub fn ask(&mut self, addresses: &[IpAddr], interfaces: &[String]) -> Vec<Asked> {
        let mut asked = Vec::new();
        let list = self.requests.list().and_then(|list| {
            remove_remains(&mut self.requests, &list)?;
            Ok(list)
        });
        for interface in interfaces {
            for ip in addresses {
                let answer = match &list {
                    Ok(list) => one(&mut self.requests, list, *ip, interface),
                    Err(error) => Err(format!("cannot list network interfaces: {error}")),
                };
                let answer = answer.unwrap_or_else(Answer::Unknown);
                asked.push(Asked { ip: *ip, interface: interface.clone(), answer });
            }
        }
        asked
    }
}

/// A pair of devices, removed when this is dropped.
struct Pair<'a> {
    requests: &'a mut Requests,
    near: u32,
    far: u32,
    far_mac: Mac,
}

impl Drop for Pair<'_> {
    fn drop(&mut self) {
        // With one end goes the other. Without any, there is nothing left to do.
        let _ = self.requests.order(qdisc::RTM_DELLINK, 0, &qdisc::ifinfo(self.near, 0, 0));
    }
}

fn one(
    requests: &mut Requests,
    list: &[Message],
    ip: IpAddr,
    interface: &str,
) -> Result<Answer, String> {
    let (link, control) = usable(list, ip, interface)?;
    let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let mac = wire::asking_mac(random().map_err(failed("make a MAC address"))?);
    let watch = watch(mac).map_err(failed("watch the interface"))?;
    let pair = pair(requests)?;
    let kind = if ip.is_ipv4() { wire::ARP } else { wire::IPV6 };
    let filter = qdisc::redirect(pair.far, kind, link.index, 1);
    let steps: [(&'static str, u16, u16, Vec<u8>); 4] = [
        ("add the qdisc clsact", qdisc::RTM_NEWQDISC, qdisc::CREATE, qdisc::clsact(pair.far)),
        ("add a filter with act_mirred", qdisc::RTM_NEWTFILTER, qdisc::CREATE, filter),
        ("take up a device", RTM_NEWLINK, 0, qdisc::ifinfo(pair.far, IFF_UP, IFF_UP)),
        ("take up a device", RTM_NEWLINK, 0, qdisc::ifinfo(pair.near, IFF_UP, IFF_UP)),
    ];
    for (what, kind, flags, message) in steps {
        pair.requests.order(kind, flags, &message).map_err(failed(what))?;
    }
    let mut question = Question::new(ip, control);
    for _ in 0..TIMES {
        if question.is_answered() {
            break;
        }
        question.asked();
        for ip in [ip, control] {
            for frame in wire::questions(ip, mac, pair.far_mac) {
                ipvs_os::send_frame(&watch, pair.near, &frame).map_err(failed("ask"))?;
            }
        }
        let deadline = Instant::now() + WAIT / TIMES;
        while !question.is_answered() {
            match receive(&watch, deadline).map_err(failed("watch the interface"))? {
                Some(frame) => {
                    if let Some(ip) = wire::reply(&frame, mac) {
                        question.handle_reply(ip);
                    }
                }
                None => break,
            }
        }
    }
    Ok(question.answer())
}

/// The interface, and an address of it that has to be answered for.
fn usable(list: &[Message], ip: IpAddr, name: &str) -> Result<(Link, IpAddr), String> {
    let link = list.iter().find_map(|message| match message {
        Message::Link(link) if link.name == name => Some(link.clone()),
        _ => None,
    });
    let link = link.ok_or("there is no such interface")?;
    if link.mac.is_none() {
        return Err("it isn't Ethernet".to_owned());
    }
    if !link.is_up {
        return Err("it is down, or has no carrier".to_owned());
    }
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let control = list.iter().find_map(|message| match message {
        Message::Address(LinkAddress { index, address, is_usable: true }) => {
            (*index == link.index && address.ip != ip && address.ip.is_ipv4() == ip.is_ipv4())
                .then_some(address.ip)
        }
        _ => None,
    });
    let control = control.ok_or_else(|| {
        format!("it has no {family} address of its own that would show that questions arrive")
    })?;
    Ok((link, control))
}

/// Makes the pair. Neither end has IPv6, so nothing but questions goes out of one.
fn pair(requests: &mut Requests) -> Result<Pair<'_>, String> {
    let failed = |error: io::Error| format!("cannot create a pair of devices (veth): {error}");
    let [near, far] = [NEAR, FAR].map(|name| format!("{name}{}", std::process::id()));
    let near_mac = wire::asking_mac(random().map_err(failed)?);
    let far_mac = wire::asking_mac(random().map_err(failed)?);
    let message = qdisc::pair(&near, near_mac, &far, far_mac);
    requests.order(RTM_NEWLINK, qdisc::CREATE, &message).map_err(failed)?;
    let mut pair = Pair { requests, near: 0, far: 0, far_mac };
    // Without a number, it would be removed by the next call only.
    for message in pair.requests.list().map_err(failed)? {
        if let Message::Link(link) = message {
            if link.name == near {
                pair.near = link.index;
            } else if link.name == far {
                pair.far = link.index;
            }
        }
    }
    for name in [&near, &far] {
        let path = format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6");
        match fs::write(path, "1\n") {
            // No IPv6 at all.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other.map_err(|error| format!("cannot keep {name} from IPv6: {error}"))?,
        }
    }
    Ok(pair)
}

/// Removes the devices of processes that aren't there any more.
fn remove_remains(requests: &mut Requests, list: &[Message]) -> io::Result<()> {
    for message in list {
        let Message::Link(link) = message else { continue };
        let Some(pid) = link.name.strip_prefix(NEAR).and_then(|it| it.parse::<u32>().ok()) else {
            continue;
        };
        // Another process may have its number by now.
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if pid == std::process::id() || name.trim_end() != "director" {
            requests.order(qdisc::RTM_DELLINK, 0, &qdisc::ifinfo(link.index, 0, 0))?;
        }
    }
    Ok(())
}

/// A socket that sees frames to this MAC address, those that go out too.
fn watch(mac: Mac) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, Some(eth::ALL))?;
    ipvs_os::keep_frames_to(&socket, mac)?;
    Ok(socket)
}

/// The next frame that comes before the deadline.
fn receive(socket: &OwnedFd, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut buffer = vec![0; 2048];
    loop {
        match recv(socket, &mut *buffer, RecvFlags::DONTWAIT) {
            Ok((_, length)) => {
                buffer.truncate(length);
                return Ok(Some(buffer));
            }
            Err(Errno::INTR | Errno::NETDOWN) => continue,
            Err(Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let timeout =
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn random() -> io::Result<[u8; 5]> {
    use std::io::Read as _;

    let mut bytes = [0; 5];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
