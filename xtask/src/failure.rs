//! Exit statuses of xtask itself, kept apart from those of the commands that it runs for others.

use std::fmt;

/// xtask couldn't do what it was asked to.
pub(crate) const FAILED: u8 = 125;

/// The deadline passed, as timeout(1) says it.
const TIMEOUT: u8 = 124;

/// An error that ends xtask with a status of its own.
#[derive(Debug)]
pub(crate) struct Failure {
    pub status: u8,
    message: String,
}

impl Failure {
    pub(crate) fn timeout(message: String) -> anyhow::Error {
        Self { status: TIMEOUT, message }.into()
    }

    /// A signal told xtask to end; the status is the one a shell gives to that.
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
