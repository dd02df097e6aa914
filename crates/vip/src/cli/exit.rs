//! The exit status.

use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It did what it says.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the file is wrong. Nothing has changed.
    Usage = 2,
    /// No daemon is running.
    NotRunning = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
