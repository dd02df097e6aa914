//! The exit status.

use std::process::ExitCode;

/// How a verb ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// It did what it says.
    Done = 0,
    /// It failed, or left something undone.
    Failed = 1,
    /// The command line or a file is wrong, or the request was refused. Nothing has changed.
    Usage = 2,
    /// No daemon is running.
    NotRunning = 3,
    /// `check` or `doctor` found something wrong.
    Found = 4,
}

impl From<vip::Exit> for Exit {
    fn from(exit: vip::Exit) -> Self {
        match exit {
            vip::Exit::Done => Self::Done,
            vip::Exit::Failed => Self::Failed,
            vip::Exit::Usage => Self::Usage,
            vip::Exit::NotRunning => Self::NotRunning,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_of_vipd_stay_the_same() {
        use vip::Exit as Vipd;
        for exit in [Vipd::Done, Vipd::Failed, Vipd::Usage, Vipd::NotRunning] {
            assert_eq!(Exit::from(exit) as u8, exit as u8);
        }
    }
}
