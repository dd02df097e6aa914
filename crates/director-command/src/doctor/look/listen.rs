//! Listens for adverts of others on the interfaces of the tables.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use ipvs_os::{ask_for_envelopes, bind_to_interface, receive_ipv6};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_ip_add_membership_with_ifindex, set_ipv6_add_membership};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use vrrp::{Envelope, MULTICAST_V4, MULTICAST_V6, PROTOCOL};

use super::unseen;
use crate::doctor::facts::{Facts, Heard, Unseen};
use crate::look::Nic;

/// Longer than any advert with its header: 255 IPv6 addresses.
const PACKET: usize = 8 * 1024;

/// How many messages are kept, so that a flood fills nothing.
const MOST: usize = 10_000;

/// After three intervals without an advert others take over (RFC 9568 §6.1); and one more second.
const INTERVALS: u32 = 3;
const MORE: Duration = Duration::from_secs(1);

/// A socket for one interface and family.
#[derive(Debug)]
struct Ear {
    interface: String,
    is_ipv4: bool,
    socket: OwnedFd,
    /// Messages with other numbers aren't kept.
    numbers: BTreeSet<u8>,
}

/// Listens for so long, or for as long as is needed to hear each router. Returns what was heard, and
/// where nobody could listen.
pub(super) fn listen(facts: &Facts, time: Option<Duration>) -> (Vec<Heard>, Vec<Unseen>) {
    let vips = facts.vips();
    let needed =
        vips.iter().map(|it| it.interval.as_duration()).max().map(|it| it * INTERVALS + MORE);
    let time = time.or(needed).unwrap_or_default();
    let (mut ears, mut deaf) = (Vec::new(), Vec::new());
    if time.is_zero() {
        return (Vec::new(), deaf);
    }
    let mut places = BTreeSet::new();
    for vip in vips {
        places.extend(vip.addresses.iter().map(|it| (vip.interface.as_str(), it.ip.is_ipv4())));
    }
    for (interface, is_ipv4) in places {
        let numbers = vips.iter().filter(|it| it.interface == interface);
        let numbers = numbers.map(|it| it.router_id.get()).collect();
        // A missing interface is a finding of its own.
        let Some(nic) = facts.nic(interface) else { continue };
        match Ear::open(nic, is_ipv4, numbers) {
            Ok(ear) => ears.push(ear),
            Err(error) => deaf.push(unseen(format!("adverts on {interface}"), &error)),
        }
    }
    let heard = hear(&ears, Instant::now() + time).unwrap_or_else(|error| {
        deaf.push(unseen("adverts", &error));
        Vec::new()
    });
    (heard, deaf)
}

fn hear(ears: &[Ear], deadline: Instant) -> io::Result<Vec<Heard>> {
    let mut heard = Vec::new();
    let mut buffer = vec![0; PACKET];
    while !ears.is_empty() && heard.len() < MOST {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let mut ready: Vec<PollFd<'_>> =
            ears.iter().map(|it| PollFd::new(&it.socket, PollFlags::IN)).collect();
        let left = Timespec::try_from(left).ok();
        match poll(&mut ready, left.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for ear in ears {
            while heard.len() < MOST && Instant::now() < deadline {
                match ear.receive(&mut buffer) {
                    Ok(message) => heard.extend(message),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // What a socket has to report once, such as an interface that went down.
                    Err(_) => {}
                }
            }
        }
    }
    Ok(heard)
}

impl Ear {
    fn open(nic: &Nic, is_ipv4: bool, numbers: BTreeSet<u8>) -> io::Result<Self> {
        let index = nic.index;
        let family = if is_ipv4 { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let protocol = NonZeroU32::new(PROTOCOL.into()).map(Protocol::from_raw);
        let socket = socket_with(family, SocketType::RAW, flags, protocol)?;
        bind_to_interface(&socket, index)?;
        if is_ipv4 {
            let any = Ipv4Addr::UNSPECIFIED;
            set_ip_add_membership_with_ifindex(&socket, &MULTICAST_V4, &any, index)?;
        } else {
            set_ipv6_add_membership(&socket, &MULTICAST_V6, index)?;
            ask_for_envelopes(&socket)?;
        }
        Ok(Self { interface: nic.name.clone(), is_ipv4, socket, numbers })
    }

    /// The next message, if it has a number that counts.
    fn receive(&self, buffer: &mut [u8]) -> io::Result<Option<Heard>> {
        let (envelope, message) = if self.is_ipv4 {
            let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
            let (_, length) = recv(&self.socket, &mut *buffer, flags)?;
            match buffer.get(..length).and_then(vip::open_ipv4) {
                Some(opened) => opened,
                None => return Ok(None),
            }
        } else {
            let received = receive_ipv6(&self.socket, buffer)?;
            let (Some(destination), Some(hop_limit), Some(message)) =
                (received.destination, received.hop_limit, buffer.get(..received.length))
            else {
                return Ok(None);
            };
            let source = received.source.into();
            (Envelope { source, destination: destination.into(), hop_limit }, message)
        };
        let counts = message.get(1).is_some_and(|it| self.numbers.contains(it));
        let interface = self.interface.clone();
        Ok(counts.then(|| Heard { interface, envelope, message: message.to_owned() }))
    }
}
