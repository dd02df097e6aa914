//! Signals, as events of the loop.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::process::Signal as Number;

use super::source::Source;

/// The length of `struct signalfd_siginfo` (signalfd(2)).
const RECORD: usize = 128;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGHUP: read the file again.
    Reload,
    /// SIGTERM or SIGINT: hand over and end.
    End,
}

/// Signals that have arrived.
#[derive(Debug)]
pub(crate) struct Signals(OwnedFd);

impl Signals {
    /// From now on these signals only come through here. To be called before other threads start.
    pub(crate) fn open() -> io::Result<Self> {
        let numbers = [Number::HUP, Number::TERM, Number::INT].map(Number::as_raw);
        Ok(Self(ipvs_os::signal_descriptor(&numbers)?))
    }
}

impl Source for Signals {
    type Event = Signal;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        to.push(PollFd::new(&self.0, PollFlags::IN));
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn turn(&mut self, ready: &[PollFlags], _now: Instant) -> Vec<Signal> {
        let mut signals = Vec::new();
        if ready.iter().all(PollFlags::is_empty) {
            return signals;
        }
        let mut record = [0; RECORD];
        while let Ok(length) = rustix::io::read(&self.0, &mut record) {
            match ipvs_os::signal_of(&record[..length.min(RECORD)]) {
                Some(number) if number == Number::HUP.as_raw() => signals.push(Signal::Reload),
                Some(_) => signals.push(Signal::End),
                None => break,
            }
        }
        signals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A signal to the process goes to any thread that doesn't block it, and other tests' threads
    /// don't; so this sends none.
    #[test]
    fn without_a_signal_there_is_nothing() {
        let work = || {
            let mut signals = Signals::open().expect("a signal descriptor");
            let mut waits = Vec::new();
            signals.register(&mut waits);
            assert_eq!(waits.len(), 1);
            drop(waits);
            assert_eq!(signals.turn(&[PollFlags::IN], Instant::now()), []);
            assert_eq!(signals.turn(&[PollFlags::empty()], Instant::now()), []);
        };
        std::thread::spawn(work).join().expect("no panic");
    }
}
