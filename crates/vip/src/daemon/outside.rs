//! What the loop has to do with besides the network: clients, commands, instances of `ldirectord`, and
//! the service manager.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use daemon_kit::control::BindError;
use daemon_kit::notify::{Notify, Watchdog};
use daemon_kit::users;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vrrp::State;

use super::control::{Asked, Server};
use super::notifier::{Failure, Notifier};
use super::source::{Source, take_own};
use super::trackers::{Trackers, Verdict};
use crate::config::Config;
use crate::control::{GROUP, Refusal, Reply};
use crate::say;
use crate::status::{StateKind, Status, VipStatus};

/// How long commands of `notify` may go on when the daemon ends.
const FINISH: Duration = Duration::from_secs(5);

/// What comes from outside of the network.
#[derive(Debug)]
pub(crate) enum News {
    /// Something that is tracked went up or down.
    Tracked(Verdict),
    /// A client asks for something.
    Asked(Asked),
}

/// Everything around the daemon except the network.
#[derive(Debug)]
pub(crate) struct Outside {
    /// None if there is no socket.
    control: Option<Server>,
    trackers: Trackers,
    notifier: Notifier,
    manager: Notify,
    watchdog: Watchdog,
    started: Instant,
    /// Why the file as it is now isn't in force.
    config_error: Option<String>,
    /// A state has changed since the manager was told.
    is_news: bool,
}

impl Outside {
    /// Listens to clients at `socket`. A daemon without a socket moves addresses all the same.
    ///
    /// # Errors
    ///
    /// If another daemon has that socket: they would remove each other's addresses.
    pub(crate) fn open(socket: &Path, now: Instant) -> io::Result<Self> {
        let control = match listen(socket) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            other => other,
        };
        if let Err(error) = &control {
            say::log(format_args!("there is no control socket: {error}"));
        }
        Ok(Self {
            control: control.ok(),
            trackers: Trackers::new(),
            notifier: Notifier::default(),
            manager: Notify::from_env(),
            watchdog: Watchdog::from_env(now),
            started: now,
            config_error: None,
            is_news: true,
        })
    }

    /// The process has become another user: that one may ask for everything from now on.
    pub(crate) fn set_own_user(&mut self) {
        if let Some(control) = &mut self.control {
            control.set_own_uid(rustix::process::geteuid().as_raw());
        }
    }

    /// From now on this is the configuration. Returns what is known about what it tracks.
    pub(crate) fn set(&mut self, config: &Config, now: Instant) -> Vec<Verdict> {
        self.notifier.set(config);
        self.trackers.set(config, now)
    }

    /// The file is being read again.
    pub(crate) fn reloading(&self) {
        self.manager.reloading();
    }

    /// The file is in force, or not, for this reason.
    pub(crate) fn reloaded(&mut self, outcome: &Result<(), String>) {
        self.config_error = outcome.as_ref().err().cloned();
        self.manager.send("READY=1");
    }

    /// The daemon does what it is there for.
    pub(crate) fn ready(&self) {
        self.manager.send("READY=1");
    }

    /// The state of a table is this now.
    pub(crate) fn changed(&mut self, vip: &str, state: State, now: Instant) {
        self.is_news = true;
        self.notifier.changed(vip, state, now).iter().for_each(log);
    }

    /// Tells the service manager in which states the tables are, if that has changed.
    pub(crate) fn tell(&mut self, states: impl Iterator<Item = State>) {
        if !std::mem::take(&mut self.is_news) {
            return;
        }
        let mut counts = [0_usize; StateKind::ALL.len()];
        for state in states {
            let at = StateKind::ALL.iter().position(|it| *it == StateKind::from(state));
            counts[at.unwrap_or_default()] += 1;
        }
        let words = StateKind::ALL.iter().zip(counts).filter(|(_, count)| *count > 0).rev();
        let words: Vec<String> =
            words.map(|(state, count)| format!("{count} {}", state.as_str())).collect();
        self.manager.send(&format!("STATUS={}", words.join(", ")));
    }

    /// The status of the daemon, which has these tables.
    pub(crate) fn status(&self, vips: Vec<VipStatus>, now: Instant) -> Status {
        let mut status = Status::new(now.saturating_duration_since(self.started));
        status.config_error.clone_from(&self.config_error);
        status.vips = vips;
        status
    }

    /// Replies to a client.
    pub(crate) fn reply(&mut self, to: &Asked, reply: &Result<Reply, Refusal>, now: Instant) {
        if let Some(control) = &mut self.control {
            control.reply(to, reply, now);
        }
    }

    /// The daemon begins to end.
    pub(crate) fn stopping(&self) {
        self.manager.send("STOPPING=1");
    }

    /// Waits until the commands of `notify` have ended, but not for long, and closes the socket.
    pub(crate) fn finish(&mut self) {
        if let Some(control) = self.control.take() {
            // Another user may own the folder by now; the next daemon replaces the file.
            let _ = control.close();
        }
        let end = Instant::now() + FINISH;
        while self.notifier.is_busy() {
            let mut waits = Vec::new();
            self.notifier.register(&mut waits);
            let now = Instant::now();
            let left = end.saturating_duration_since(now);
            let left = Timespec::try_from(left).unwrap_or_default();
            if now >= end || poll(&mut waits, Some(&left)).is_err() {
                return;
            }
            let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
            drop(waits);
            self.notifier.turn(&ready, Instant::now()).iter().for_each(log);
        }
    }
}

impl Source for Outside {
    type Event = News;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        if let Some(control) = &self.control {
            control.register(to);
        }
        self.trackers.register(to);
        self.notifier.register(to);
    }

    fn deadline(&self) -> Option<Instant> {
        let control = self.control.as_ref().and_then(Source::deadline);
        let others = [self.trackers.deadline(), self.notifier.deadline(), self.watchdog.deadline()];
        control.into_iter().chain(others.into_iter().flatten()).min()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<News> {
        if self.watchdog.is_due(now) {
            self.manager.send("WATCHDOG=1");
        }
        let mut rest = ready;
        let mut news = Vec::new();
        if let Some(control) = &mut self.control {
            let own = take_own(control, &mut rest);
            news.extend(control.turn(own, now).into_iter().map(News::Asked));
        }
        let own = take_own(&self.trackers, &mut rest);
        news.extend(self.trackers.turn(own, now).into_iter().map(News::Tracked));
        self.notifier.turn(rest, now).iter().for_each(log);
        news
    }
}

fn log(failure: &Failure) {
    say::log(format_args!("{}: {}", failure.vip, failure.what));
}

/// Makes the socket, and the folder for it.
fn listen(path: &Path) -> Result<Server, io::Error> {
    if let Some(folder) = path.parent() {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                let message = format!("cannot make {}: {error}", folder.display());
                return Err(io::Error::new(error.kind(), message));
            }
            _ => {}
        }
    }
    let group = users::group(GROUP);
    let (server, error) = Server::open(path, group).map_err(|error| match error {
        BindError::InUse(_) => io::Error::new(io::ErrorKind::AddrInUse, error),
        _ => io::Error::other(error),
    })?;
    if let Some(error) = error {
        let path = path.display();
        say::log(format_args!("cannot give {path} to the group {GROUP}: {error}"));
    }
    Ok(server)
}
