//! Our own exit statuses, distinct from those of the commands that we run.

use std::fmt;
use std::process::ExitCode;

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
}

impl Failure {
    pub(crate) fn timeout(message: String) -> anyhow::Error {
        Self { status: TIMEOUT, message }.into()
    }

    /// A signal asked this process to end. The status is the one that a shell would report.
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

/// Prints an error that ends the program, and returns the matching exit status.
pub fn report(error: &anyhow::Error) -> ExitCode {
    progress::note(&format!("{error:#}"));
    ExitCode::from(error.downcast_ref::<Failure>().map_or(FAILED, |failure| failure.status))
}
