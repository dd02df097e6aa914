//! Lets callers wait for signals: while a guest runs, Ctrl-C must end the guest before it ends this
//! process.

use std::os::fd::{AsFd, BorrowedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Catches the signals that would end this process, and changes of the terminal's size, until it is
/// dropped.
#[derive(Debug)]
pub(crate) struct Signals {
    set: SigSet,
    fd: SignalFd,
}

/// A caught signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caught {
    /// The user or the system asked this process to end; the signal's number.
    End(i32),
    /// The terminal's size has changed.
    Resized,
}

impl Signals {
    pub(crate) fn catch() -> Result<Self> {
        let mut set = SigSet::empty();
        for signal in
            [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGWINCH]
        {
            set.add(signal);
        }
        set.thread_block().context("can't hold signals back")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("can't wait for signals")?;
        Ok(Self { set, fd })
    }

    /// Returns a signal that has arrived since the last call.
    pub(crate) fn next(&mut self) -> Result<Option<Caught>> {
        let Some(info) = self.fd.read_signal().context("can't read signals")? else {
            return Ok(None);
        };
        let number = i32::try_from(info.ssi_signo).unwrap_or(Signal::SIGTERM as i32);
        Ok(Some(if number == Signal::SIGWINCH as i32 {
            Caught::Resized
        } else {
            Caught::End(number)
        }))
    }
}

/// Unblocks the caught signals, for a process started by one that catches them: blocked signals are
/// inherited.
pub(crate) fn release() -> Result<()> {
    SigSet::all().thread_unblock().context("can't take signals as usual")
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        let _ = self.set.thread_unblock();
    }
}
