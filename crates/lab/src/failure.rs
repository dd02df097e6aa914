//! Our own exit statuses, distinct from those of the commands that we run.

use std::fmt;
use std::process::ExitCode;

use anyhow::Error;
use rustix::process::{Signal, getpid, kill_process};

use crate::progress;

/// The request couldn't be completed.
const FAILED: u8 = 125;

/// The deadline passed; timeout(1) uses the same status.
const TIMEOUT: u8 = 124;

/// An error that ends the program with a specific exit status.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
    /// The signal that asked this process to end.
    signal: Option<i32>,
}

impl Failure {
    pub(crate) fn timeout(message: String) -> Error {
        Self { status: TIMEOUT, message, signal: None }.into()
    }

    /// A signal asked this process to end. The status is the one that a shell would report.
    pub(crate) fn signal(number: i32) -> Error {
        let status = u8::try_from(128 + number).unwrap_or(FAILED);
        let message = format!("ended by signal {number}");
        Self { status, message, signal: Some(number) }.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Ends this process by a signal that it caught, as if it hadn't caught it. Returns if the signal
/// doesn't end processes.
pub(crate) fn end_by(number: i32) {
    if let Some(signal) = Signal::from_named_raw(number) {
        let _ = kill_process(getpid(), signal);
    }
}

/// Ends this process if the error is that a signal asked it to end. What records errors and goes on
/// has to call this, or the signal would end one step only.
pub fn obey_signal(error: &Error) {
    if let Some(number) = error.downcast_ref::<Failure>().and_then(|failure| failure.signal) {
        end_by(number);
        // It doesn't end a process that was started with the signal ignored.
        std::process::exit(128 + number);
    }
}

/// Prints an error that ends the program, and returns the matching exit status.
pub fn report(error: &Error) -> ExitCode {
    progress::note(&format!("{error:#}"));
    ExitCode::from(error.downcast_ref::<Failure>().map_or(FAILED, |failure| failure.status))
}
