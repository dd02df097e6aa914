//! A process that outlives the daemon, and ends its work if that dies without having done so.
//!
//! A daemon that is killed can't remove anything, and the kernel keeps its addresses: then another
//! router takes over, and there are two owners. It can't say goodbye either, so that router waits for
//! three intervals. The guard does both. It holds one end of a socket pair and waits for the other to be
//! closed, as the kernel does when the daemon ends in whatever way; what is to be done then is in the
//! daemon's [will](self::will). It needs no service manager.

mod will;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use daemon_kit::rights;
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, recv, socketpair};
use rustix::process::{Signal, getuid, setsid};
use rustix::stdio::{stdin, stdout};

use self::will::Page;
pub(crate) use self::will::{Goodbye, Order, Place};
use super::adverts::{self, Sender};
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

/// What the daemon has of its guard.
#[derive(Debug)]
pub(crate) struct Guard {
    user: Option<String>,
    page: Page,
    running: Option<(Child, OwnedFd)>,
    /// When to replace a guard that has ended.
    restart: Option<Instant>,
}

impl Guard {
    /// Starts a guard for the addresses of this file. To be called while the process has its rights.
    pub(crate) fn start(config: &Config, user: Option<&str>) -> io::Result<Self> {
        let mut page = Page::create()?;
        // It is there before the guard is, whenever the daemon is killed.
        page.write(config.vips.iter().flat_map(places).map(Order::Remove))?;
        let mut guard = Self { user: user.map(str::to_owned), page, running: None, restart: None };
        guard.spawn()?;
        Ok(guard)
    }

    /// From now on this is to be done after the daemon's end.
    pub(crate) fn set(&mut self, orders: impl IntoIterator<Item = Order>) {
        if let Err(error) = self.page.write(orders) {
            say::log(format_args!("cannot leave word to the guard: {error}"));
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
            .stdout(Stdio::from(self.page.share()?))
            .current_dir("/");
        if let Some(user) = &self.user {
            command.arg("--user").arg(user);
        }
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

/// The guard's process: waits for the daemon's end, and does what is in its will.
///
/// # Errors
///
/// If it can't start, or can't do some of it.
pub(crate) fn run(user: Option<&str>) -> io::Result<()> {
    // A terminal's signals, and those for the daemon's group, aren't for the guard. Neither are those
    // by which a service manager ends a service: the daemon goes first.
    let _ = setsid();
    let signals = [Signal::HUP, Signal::INT, Signal::TERM, Signal::QUIT].map(Signal::as_raw);
    let _blocked = ipvs_os::signal_descriptor(&signals)?;
    let mut requests = Requests::open()?;
    let user = user.map(user::named).transpose()?;
    rights::give_up(user, &[])?;
    let page = Page::of(File::from(stdout().as_fd().try_clone_to_owned()?));
    loop {
        match recv(stdin().as_fd(), &mut [0; 1], RecvFlags::empty()) {
            Ok((_, 0)) => break,
            // Nothing is sent.
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let (mut places, mut goodbyes) = (Vec::new(), Vec::new());
    for order in page.read()? {
        match order {
            Order::Remove(place) => places.push(place),
            Order::Send(goodbye) => goodbyes.push(goodbye),
        }
    }
    // In this order there are never two owners.
    let removed = remove_all(&mut requests, &places);
    send_all(&goodbyes).and(removed)
}

/// Says goodbye for the daemon.
///
/// # Errors
///
/// The last one; all have been tried.
fn send_all(goodbyes: &[Goodbye]) -> io::Result<()> {
    let mut senders = BTreeMap::new();
    let mut result = Ok(());
    for Goodbye { index, from, to, message } in goodbyes {
        let place = adverts::Place { index: *index, is_ipv4: to.is_ipv4() };
        let sender = senders.entry(place).or_insert_with(|| Sender::open(place));
        let sent = match sender {
            Ok(sender) => sender.send(*from, *to, message),
            Err(error) => Err(io::Error::new(error.kind(), error.to_string())),
        };
        match sent {
            Ok(()) => say::log(format_args!("said goodbye to {to}, from {from}")),
            Err(error) => {
                say::log(format_args!("cannot say goodbye to {to}: {error}"));
                result = Err(error);
            }
        }
    }
    result
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
