//! The daemon: one loop around sockets, timers and signals, which waits for nothing else.

mod clock;
mod error;
mod signals;
mod source;

use std::path::PathBuf;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use self::clock::Clock;
pub(crate) use self::error::RunError;
use self::signals::{Signal, Signals};
use self::source::Source;
use crate::config::Config;
use crate::say;

/// How the daemon is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The file, which is read again on SIGHUP.
    pub(crate) file: PathBuf,
    /// The user whose rights are enough.
    pub(crate) user: Option<String>,
}

/// Runs the daemon until it is told to end.
///
/// # Errors
///
/// If it can't start, or can't wait for anything.
pub(crate) fn run(config: &Config, _options: &Options) -> Result<(), RunError> {
    let mut signals = Signals::open().map_err(|error| RunError::new("take signals", error))?;
    say::log(format_args!("{} tables of virtual addresses", config.vips.len()));
    let clock = Clock::start();
    loop {
        let mut waits = Vec::new();
        signals.register(&mut waits);
        wait(&mut waits, signals.deadline(), clock.now())?;
        let ready: Vec<PollFlags> = waits.iter().map(PollFd::revents).collect();
        for signal in signals.turn(&ready, clock.now()) {
            match signal {
                Signal::Reload => {}
                Signal::End => return Ok(()),
            }
        }
    }
}

/// Waits until a descriptor is ready or it is time.
fn wait(waits: &mut [PollFd<'_>], deadline: Option<Instant>, now: Instant) -> Result<(), RunError> {
    let timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(now);
        // What doesn't fit is longer than anybody waits.
        Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 3600, tv_nsec: 0 })
    });
    match poll(waits, timeout.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(RunError::new("wait for anything", error.into())),
    }
}
