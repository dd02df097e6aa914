//! The daemon: one loop around sockets, timers and signals, which waits for nothing else.

mod adverts;
mod clock;
mod control;
mod error;
mod feeds;
mod fleet;
mod frames;
mod guard;
mod interfaces;
mod limiter;
pub(crate) mod netlink;
mod notifier;
mod offline;
mod outside;
mod processes;
mod signals;
mod source;
mod sync;
mod trackers;
mod user;

use std::ops::Range;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use daemon_kit::{rights, users};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::adverts::Adverts;
pub use self::adverts::packet::open_ipv4;
use self::clock::Clock;
use self::control::Asked;
pub(crate) use self::error::RunError;
use self::fleet::Fleet;
use self::frames::Frames;
pub(crate) use self::guard::VERB as GUARD;
use self::guard::{Guard, Order};
use self::interfaces::Interfaces;
use self::limiter::Limiter;
use self::netlink::{Change, Monitor, Requests};
pub use self::offline::Offline;
use self::outside::{News, Outside};
use self::signals::{Signal, Signals};
use self::source::Source;
use self::sync::SyncThread;
use self::trackers::Verdict;
use crate::config::{self, Address, Config, Diagnostic};
use crate::control::{GROUP, Reply, Request};
use crate::router::Action;
use crate::say;

/// How long the kernel's synchronization daemon may take to change its role at the end.
const SYNC_LIMIT: Duration = Duration::from_secs(1);

/// How the daemon is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The file, which is read again on SIGHUP.
    pub(crate) file: PathBuf,
    /// The user whose rights are enough.
    pub(crate) user: Option<String>,
    /// Where clients can connect.
    pub(crate) socket: PathBuf,
}

/// Runs the daemon until it is told to end.
///
/// # Errors
///
/// If it can't start, or can't wait for anything.
pub(crate) fn run(config: Config, options: &Options) -> Result<(), RunError> {
    let mut daemon = Daemon::start(config, options)?;
    ipvs_os::return_freed_memory();
    while daemon.turn()? == Flow::On {}
    Ok(())
}

/// The guard, which the daemon starts.
///
/// # Errors
///
/// If it can't do its work.
pub(crate) fn run_guard(user: Option<&str>) -> Result<(), RunError> {
    guard::run(user).map_err(|error| RunError::new("guard the addresses", error))
}

/// Removes the addresses of a file from the interfaces of this machine: what a daemon has left that
/// was killed together with its guard.
///
/// # Errors
///
/// If an address can't be removed.
pub(crate) fn clean(config: &Config) -> Result<(), RunError> {
    let requests = Requests::open();
    let places: Vec<guard::Place> = config.vips.iter().flat_map(guard::places).collect();
    let removed = requests.and_then(|mut requests| guard::remove_all(&mut requests, &places));
    removed.map_err(|error| RunError::new("remove addresses", error))
}

/// Whether the loop goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    On,
    End,
}

/// All that the loop works with.
#[derive(Debug)]
struct Daemon {
    file: PathBuf,
    clock: Clock,
    signals: Signals,
    guard: Guard,
    monitor: Monitor,
    requests: Requests,
    adverts: Adverts,
    frames: Frames,
    sync: Option<SyncThread>,
    interfaces: Interfaces,
    /// Changes were lost, and no list has come since.
    has_lost: bool,
    fleet: Fleet,
    /// What the guard would have to do isn't what it was told.
    is_will_old: bool,
    limiter: Limiter,
    outside: Outside,
}

impl Daemon {
    fn start(config: Config, options: &Options) -> Result<Self, RunError> {
        let failed = |attempt| move |error| RunError::new(attempt, error);
        let signals = Signals::open().map_err(failed("take signals"))?;
        let clock = Clock::start();
        let now = clock.now();
        // Before there is a guard, which would remove the addresses of a daemon that runs already.
        let outside = Outside::open(&options.socket, now);
        let mut outside = outside.map_err(failed("listen to clients"))?;
        let user = options.user.as_deref();
        let guard = Guard::start(&config, user).map_err(failed("start the guard"))?;
        let user = user.map(user::named).transpose().map_err(failed("find the user"))?;
        let groups: Vec<u32> = users::group(GROUP).into_iter().collect();
        rights::give_up(user, &groups).map_err(failed("give up rights"))?;
        outside.set_own_user();
        // First watch, then look: what changes in between is seen twice, and not never.
        let monitor = Monitor::open().map_err(failed("watch network interfaces"))?;
        let mut requests = Requests::open().map_err(failed("ask for network interfaces"))?;
        let frames = Frames::open().map_err(failed("open a socket for announcements"))?;
        let list = requests.list().map_err(failed("list network interfaces"))?;
        let interfaces = Interfaces::from_list(list);
        for vip in &config.vips {
            if interfaces.named(&vip.interface).is_none() {
                say::log(format_args!("{}: there is no {} yet", vip.name, vip.interface));
            }
        }
        let known = outside.set(&config, now);
        let sync = SyncThread::start_for(&config).map_err(failed("start a thread"))?;
        let fleet = Fleet::new(config, now)
            .map_err(|it| RunError::new("run", std::io::Error::other(it)))?;
        let mut daemon = Self {
            file: options.file.clone(),
            clock,
            signals,
            guard,
            monitor,
            requests,
            adverts: Adverts::new(),
            frames,
            sync,
            interfaces,
            has_lost: false,
            fleet,
            is_will_old: true,
            limiter: Limiter::default(),
            outside,
        };
        daemon.tracked(known, now);
        daemon.interfaces_changed(daemon.clock.now());
        daemon.act();
        daemon.leave_will();
        daemon.outside.ready();
        daemon.outside.tell(daemon.fleet.states());
        Ok(daemon)
    }

    /// Waits until there is something to do, and does it.
    fn turn(&mut self) -> Result<Flow, RunError> {
        let mut waits = Vec::new();
        let signals = register(&self.signals, &mut waits);
        let monitor = register(&self.monitor, &mut waits);
        let adverts = register(&self.adverts, &mut waits);
        let guard = register(&self.guard, &mut waits);
        let outside = register(&self.outside, &mut waits);
        let deadlines = [
            self.fleet.deadline(),
            self.signals.deadline(),
            self.monitor.deadline(),
            self.adverts.deadline(),
            self.guard.deadline(),
            self.outside.deadline(),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        wait(&mut waits, deadline, self.clock.now())?;
        let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
        let now = self.clock.now();

        // Adverts go before timers: if the loop is late, they show that the Active router is alive.
        // An Active router looks at its own timer before it listens to anybody.
        for heard in self.adverts.turn(&ready[adverts], now) {
            self.fleet.heard(&heard, now);
        }
        self.fleet.handle_timeouts(now);
        self.act();

        let changes = self.monitor.turn(&ready[monitor], now);
        if !changes.is_empty() {
            self.apply(changes);
            self.interfaces_changed(now);
            self.act();
        }
        self.guard.turn(&ready[guard], now);
        for news in self.outside.turn(&ready[outside], now) {
            match news {
                News::Tracked(verdict) => self.tracked(vec![verdict], now),
                News::Asked(asked) => self.answer(&asked),
            }
        }
        self.act();
        self.outside.tell(self.fleet.states());
        for signal in self.signals.turn(&ready[signals], now) {
            match signal {
                // Whoever has sent a signal reads the log.
                Signal::Reload => drop(self.reload()),
                Signal::End => {
                    self.end();
                    return Ok(Flow::End);
                }
            }
        }
        self.leave_will();
        Ok(Flow::On)
    }

    /// Takes in what is known about what tables track.
    fn tracked(&mut self, verdicts: Vec<Verdict>, now: Instant) {
        for Verdict { vip, index, up, reason } in verdicts {
            let reason = reason.map_or(String::new(), |it| format!(": it {it}"));
            let state = if up { "up" } else { "down" };
            if let Some(what) = self.fleet.tracked(&vip, index, up, now) {
                say::log(format_args!("{vip}: {what} is {state}{reason}"));
            }
        }
    }

    /// Does what a client asks for.
    fn answer(&mut self, asked: &Asked) {
        let now = self.clock.now();
        let status = |daemon: &Self| daemon.outside.status(daemon.fleet.statuses(now), now);
        let reply = match &asked.request {
            Request::Status => Reply::status(&status(self)),
            Request::Metrics => Reply::metrics(&status(self)),
            Request::Decide { decision, name } => {
                let vips = self.fleet.decide(name.as_deref(), *decision, now);
                for vip in &vips {
                    say::log(format_args!("{vip}: an operator decides: {}", asked.request.name()));
                }
                self.act();
                Reply::decided(name.as_deref(), vips)
            }
            Request::Reload => match self.reload() {
                Ok(()) => Reply::reloaded(""),
                Err(error) => Err(error.into()),
            },
        };
        self.outside.reply(asked, &reply, now);
    }

    /// Takes in what the kernel says about interfaces and addresses.
    fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Message(message) => self.interfaces.apply(message),
                Change::Lost => self.has_lost = true,
            }
        }
        if self.has_lost {
            match self.requests.list() {
                Ok(list) => {
                    self.interfaces = Interfaces::from_list(list);
                    self.has_lost = false;
                }
                // The next change asks again.
                Err(error) => self.log_once(&format!("cannot list network interfaces: {error}")),
            }
        }
    }

    /// Tells the routers what has changed about interfaces.
    fn interfaces_changed(&mut self, now: Instant) {
        self.fleet.leave_renamed(&self.interfaces, now);
        self.act();
        self.fleet.update(&self.interfaces, now);
        self.is_will_old = true;
        self.interfaces.forget_removed();
        for (place, error) in self.adverts.listen(self.fleet.places()) {
            let name = self.interfaces.link(place.index).map_or("", |link| &link.name);
            let family = if place.is_ipv4 { "IPv4" } else { "IPv6" };
            let text = format!("cannot listen to adverts over {family} on {name}: {error}");
            self.log_once(&text);
        }
    }

    /// Does what the routers want done.
    fn act(&mut self) {
        let now = self.clock.now();
        while let Some((at, action)) = self.fleet.poll() {
            self.fleet.note(at, &action, now);
            let member = &self.fleet.members()[at];
            let name = member.vip().name.clone();
            let done = match action {
                Action::State { to, reason } => {
                    self.is_will_old = true;
                    say::log(format_args!("{name}: {to}: {reason}"));
                    self.outside.changed(&name, to, now);
                    Ok(())
                }
                Action::Noted { from, what } => Err(format!("advert of {from}: {what}")),
                Action::Contested(ip) => Err(format!(
                    "something else has removed {ip} from {}, and it is put back (systemd-networkd \
                     does that, unless the network has KeepConfiguration=yes)",
                    member.vip().interface,
                )),
                Action::Sync(role) => {
                    if let (Some(thread), Some(sync)) = (&self.sync, &member.vip().sync) {
                        thread.set(sync, role);
                    }
                    Ok(())
                }
                // An interface that is gone has neither addresses nor neighbors.
                Action::Send { to, message } => match (member.index(), member.source(to.is_ipv4()))
                {
                    (Some(index), Some(from)) => {
                        let sent = self.adverts.send(index, from, to, &message);
                        sent.map_err(|error| format!("cannot send an advert to {to}: {error}"))
                    }
                    _ => Ok(()),
                },
                Action::Add(address) => member.index().map_or(Ok(()), |index| {
                    let added = self.requests.add(index, address);
                    added.map_err(|error| format!("cannot add {address}: {error}"))
                }),
                Action::Remove(address) => {
                    member.index().map_or(Ok(()), |index| self.remove(index, address))
                }
                Action::Announce(ip) => {
                    member.index().map_or(Ok(()), |index| self.announce(index, ip))
                }
            };
            if let Err(what) = done {
                self.log_once(&format!("{name}: {what}"));
            }
        }
    }

    /// Takes an address off, with whatever length of prefix somebody has given to it.
    fn remove(&mut self, index: u32, address: Address) -> Result<(), String> {
        let known = self.interfaces.addresses(index).filter(|it| it.ip == address.ip);
        let others: Vec<Address> = known.filter(|it| *it != address).collect();
        for address in [address].into_iter().chain(others) {
            let removed = self.requests.remove(index, address);
            removed.map_err(|error| format!("cannot remove {address}: {error}"))?;
        }
        Ok(())
    }

    fn announce(&mut self, index: u32, ip: std::net::IpAddr) -> Result<(), String> {
        // Only Ethernet has neighbors that remember a link-layer address.
        let Some(link) = self.interfaces.link(index) else { return Ok(()) };
        let Some(mac) = link.mac else { return Ok(()) };
        let is_router = ip.is_ipv6() && frames::forwards_ipv6(&link.name);
        let announced = self.frames.announce(index, mac, ip, is_router);
        announced.map_err(|error| format!("cannot announce {ip}: {error}"))
    }

    /// Reads the file again. One with a mistake changes nothing.
    fn reload(&mut self) -> Result<(), String> {
        self.outside.reloading();
        let outcome = self.read_again();
        ipvs_os::return_freed_memory();
        match &outcome {
            Ok(()) => say::log(format_args!("reloaded {}", self.file.display())),
            Err(error) => {
                for line in error.lines() {
                    say::log(format_args!("{line}"));
                }
                say::log(format_args!("nothing has changed"));
            }
        }
        self.outside.reloaded(&outcome);
        outcome
    }

    fn read_again(&mut self) -> Result<(), String> {
        let name = self.file.display().to_string();
        let text = std::fs::read_to_string(&self.file)
            .map_err(|error| format!("cannot read {name}: {error}"))?;
        let config = config::parse(&text).map_err(|mistakes| {
            let place = |it: &Diagnostic| {
                let (line, column) = it.place(&text);
                format!("{name}:{line}:{column}: {}", it.message)
            };
            mistakes.iter().map(place).collect::<Vec<_>>().join("\n")
        })?;
        if self.sync.is_none() {
            let started = SyncThread::start_for(&config);
            self.sync = started.map_err(|error| format!("cannot start a thread: {error}"))?;
        }
        let now = self.clock.now();
        // Those of both files, until the change is complete.
        let coming = config.vips.iter().flat_map(guard::places).map(Order::Remove);
        self.guard.set(will(&self.fleet).chain(coming));
        // An address that goes from one table to another must have left the first.
        self.fleet.release_absent(&config, now);
        self.act();
        let loaded = self.fleet.reload(&config, now);
        self.act();
        self.interfaces_changed(now);
        self.act();
        loaded.map_err(|error| format!("cannot run {name}: {error}"))?;
        let known = self.outside.set(&config, now);
        self.tracked(known, now);
        self.act();
        Ok(())
    }

    /// Tells the guard what there is to do if this process ends now, if that is news.
    fn leave_will(&mut self) {
        if std::mem::take(&mut self.is_will_old) {
            self.guard.set(will(&self.fleet));
        }
    }

    /// Hands everything over.
    fn end(&mut self) {
        self.outside.stopping();
        self.fleet.shut_down(self.clock.now());
        self.act();
        self.leave_will();
        if let Some(sync) = &self.sync {
            sync.settle(SYNC_LIMIT);
        }
        self.outside.finish();
    }

    fn log_once(&mut self, text: &str) {
        if self.limiter.allows(text, self.clock.now()) {
            say::log(format_args!("{text}"));
        }
    }
}

/// What there is to do if the process of these tables ends now.
fn will(fleet: &Fleet) -> impl Iterator<Item = Order> + '_ {
    let places = fleet.members().iter().flat_map(|it| guard::places(it.vip()));
    places.map(Order::Remove).chain(fleet.goodbyes().map(Order::Send))
}

/// Registers a source, and returns which of the results are its.
fn register<'a>(source: &'a impl Source, waits: &mut Vec<PollFd<'a>>) -> Range<usize> {
    let start = waits.len();
    source.register(waits);
    start..waits.len()
}

/// Waits until a descriptor is ready or it is time, to the next millisecond, as poll(2) counts: routers
/// whose adverts are due within one share a wake-up. Each keeps its own timetable.
fn wait(waits: &mut [PollFd<'_>], deadline: Option<Instant>, now: Instant) -> Result<(), RunError> {
    let timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(now);
        let left = left.saturating_add(Duration::from_nanos(999_999));
        let left = Duration::new(left.as_secs(), left.subsec_millis() * 1_000_000);
        // What doesn't fit is longer than anybody waits.
        Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 })
    });
    match poll(waits, timeout.as_ref()) {
        Ok(_) => Ok(()),
        // Nothing is ready, and nothing was waited for: the next turn does that.
        Err(Errno::INTR) => {
            waits.iter_mut().for_each(PollFd::clear_revents);
            Ok(())
        }
        Err(error) => Err(RunError::new("wait for anything", error.into())),
    }
}
