//! Our own exit statuses, kept apart from those of the commands that are run for others.

use std::fmt;
use std::process::ExitCode;

use crate::progress;

/// What was asked for couldn't be done.
const FAILED: u8 = 125;

/// The deadline passed, as timeout(1) says it.
const TIMEOUT: u8 = 124;

/// An error that ends the program with a status of its own.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    pub(crate) fn timeout(message: String) -> anyhow::Error {
        Self { status: TIMEOUT, message }.into()
    }

    /// A signal told this process to end; the status is the one a shell gives to that.
    pub(crate) fn signal(number: i32) -> anyhow::Error {
        let status = u8::try_from(128 + number).unwrap_or(FAILED);
        Self { status, message: format!("ended by signal {number}") }.into()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Prints an error that ends the program; the exit status that goes with it.
pub fn report(error: &anyhow::Error) -> ExitCode {
    progress::note(&format!("{error:#}"));
    ExitCode::from(error.downcast_ref::<Failure>().map_or(FAILED, |failure| failure.status))
}
