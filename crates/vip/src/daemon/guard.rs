//! A process that outlives the daemon, and removes the addresses if that dies without having done so.
//!
//! A daemon that is killed can't remove anything, and the kernel keeps its addresses: then another
//! router takes over, and there are two owners. The guard holds one end of a socket pair and waits for
//! the other to be closed, as the kernel does when the daemon ends in whatever way. It needs no
//! service manager.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon_kit::rights;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};
use rustix::process::{Signal, getuid, setsid};
use rustix::stdio::stdin;

use super::interfaces::Interfaces;
use super::netlink::Requests;
use super::source::Source;
use super::user;
use crate::config::{Address, Config, Vip};
use crate::say;

/// The verb by which the daemon starts the guard.
pub(crate) const VERB: &str = "guard";

/// The pause before a guard that has ended is replaced.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest list of addresses, in bytes: some thousands.
const LIST: usize = 128 * 1024;

/// An address of a file, and the interface that it may be on.
pub(crate) type Place = (String, IpAddr);

/// What the daemon has of its guard.
#[derive(Debug)]
pub(crate) struct Guard {
    user: Option<String>,
    list: String,
    running: Option<(Child, OwnedFd)>,
    /// When to replace a guard that has ended.
    restart: Option<Instant>,
}

impl Guard {
    /// Starts a guard for the addresses of this file. To be called while the process has its rights.
    pub(crate) fn start(config: &Config, user: Option<&str>) -> io::Result<Self> {
        let list = write_list(config.vips.iter().flat_map(places));
        let mut guard = Self { user: user.map(str::to_owned), list, running: None, restart: None };
        guard.spawn()?;
        Ok(guard)
    }

    /// From now on these are the addresses that the daemon may have added.
    pub(crate) fn set(&mut self, places: impl IntoIterator<Item = Place>) {
        self.list = write_list(places);
        let Some((_, socket)) = &self.running else { return };
        if let Err(error) = tell(socket, &self.list) {
            say::log(format_args!("cannot tell the guard about addresses: {error}"));
        }
    }

    fn spawn(&mut self) -> io::Result<()> {
        let flags = SocketFlags::CLOEXEC;
        let (near, far) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("vipd")
            .arg(VERB)
            .stdin(Stdio::from(far))
            .stdout(Stdio::null())
            .current_dir("/");
        if let Some(user) = &self.user {
            command.arg("--user").arg(user);
        }
        // The list is there before the guard is, whenever the daemon is killed.
        tell(&near, &self.list)?;
        let child = match getuid().is_root() {
            true => command.spawn()?,
            // Only root's processes pass on capabilities by themselves.
            false => rights::pass_on(|| command.spawn())??,
        };
        self.running = Some((child, near));
        Ok(())
    }
}

impl Source for Guard {
    type Event = ();

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        // Only its end is waited for, which is always reported.
        to.extend(self.running.iter().map(|(_, socket)| PollFd::new(socket, PollFlags::empty())));
    }

    fn deadline(&self) -> Option<Instant> {
        self.restart
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<()> {
        if !ready.iter().all(PollFlags::is_empty) {
            if let Some((mut child, _)) = self.running.take() {
                // Its end of the socket is closed, so it has ended or is about to.
                let _ = child.kill();
                let _ = child.wait();
            }
            self.restart = now.checked_add(PAUSE);
            say::log(format_args!("the guard, which removes addresses after a crash, is replaced"));
        }
        if self.restart.is_some_and(|at| at <= now) {
            self.restart = None;
            if let Err(error) = self.spawn() {
                say::log(format_args!("cannot start the guard: {error}"));
                self.restart = now.checked_add(PAUSE);
            }
        }
        Vec::new()
    }
}

fn tell(guard: &OwnedFd, list: &str) -> io::Result<()> {
    send(guard, list.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The guard's process: waits for the daemon's end, and removes what that has left.
///
/// # Errors
///
/// If it can't start, or can't remove an address.
pub(crate) fn run(user: Option<&str>) -> io::Result<()> {
    // A terminal's signals, and those for the daemon's group, aren't for the guard. Neither are those
    // by which a service manager ends a service: the daemon goes first.
    let _ = setsid();
    let signals = [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT].map(Signal::as_raw);
    let _blocked = ipvs_os::signal_descriptor(&signals)?;
    let mut requests = Requests::open()?;
    let user = user.map(user::named).transpose()?;
    rights::give_up(user, &[])?;
    let mut buffer = vec![0; LIST];
    let mut places = Vec::new();
    loop {
        match recv(stdin().as_fd(), &mut *buffer, RecvFlags::TRUNC) {
            Ok((_, 0)) => return remove_all(&mut requests, &places),
            Ok((_, length)) => match buffer.get(..length) {
                Some(list) => places = read_list(&String::from_utf8_lossy(list)).collect(),
                None => say::log(format_args!("the guard has no room for so many addresses")),
            },
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Removes these addresses from their interfaces, wherever they are.
///
/// # Errors
///
/// The last one; all have been tried.
pub(crate) fn remove_all(requests: &mut Requests, places: &[Place]) -> io::Result<()> {
    let interfaces = Interfaces::from_list(requests.list()?);
    let mut result = Ok(());
    for (name, ip) in places {
        let Some(link) = interfaces.named(name) else { continue };
        let here = interfaces.addresses(link.index).filter(|it| it.ip == *ip);
        for address in here.collect::<Vec<Address>>() {
            match requests.remove(link.index, address) {
                Ok(()) => say::log(format_args!("{address} was left behind; removed from {name}")),
                Err(error) => {
                    say::log(format_args!("cannot remove {address} from {name}: {error}"));
                    result = Err(error);
                }
            }
        }
    }
    result
}

/// The addresses of a table.
pub(crate) fn places(vip: &Vip) -> impl Iterator<Item = Place> + '_ {
    vip.addresses.iter().map(|it| (vip.interface.clone(), it.ip))
}

/// A line for each address. The name of an interface has no blanks.
fn write_list(places: impl IntoIterator<Item = Place>) -> String {
    let mut text = String::new();
    for (interface, ip) in places {
        // A string takes any text.
        let _ = writeln!(text, "{interface} {ip}");
    }
    text
}

fn read_list(text: &str) -> impl Iterator<Item = Place> + '_ {
    text.lines().filter_map(|line| {
        let (interface, ip) = line.split_once(' ')?;
        Some((interface.to_owned(), ip.parse().ok()?))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let text = "[[vip]]\nname = \"a\"\ninterface = \"eth0\"\nrouter_id = 1\n\
                    addresses = [\"10.0.0.1/24\", \"fe80::1\"]\n\
                    [[vip]]\nname = \"b\"\ninterface = \"bond0.7\"\nrouter_id = 1\n\
                    addresses = [\"10.0.0.2\"]\n";
        let config = parse(text).unwrap();
        let list = write_list(config.vips.iter().flat_map(places));
        let expected = [("eth0", "10.0.0.1"), ("eth0", "fe80::1"), ("bond0.7", "10.0.0.2")];
        let expected: Vec<Place> =
            expected.iter().map(|(name, ip)| ((*name).to_owned(), ip.parse().unwrap())).collect();
        assert_eq!(read_list(&list).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_no_list_has_no_addresses() {
        assert_eq!(read_list("eth0\neth0 x\n\n 10.0.0.1x\n\u{fffd} 1\n").count(), 0);
    }
}
