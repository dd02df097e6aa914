//! The exit status of a verb.

use std::process::ExitCode;

/// How a verb ended. Init scripts and resource agents rely on these codes, which are the original
/// program's, except [`Partly`](Self::Partly) and [`Transient`](Self::Transient).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The verb did what it says, or there was nothing to do.
    Done,
    /// It failed; a `reload` also if nothing is running, and `status` if a process died without
    /// removing its pid file.
    Failed,
    /// The configuration file is wrong. Nothing has changed.
    Config,
    /// `status`: nothing is running.
    NotRunning,
    /// It was done in part. `reload`: the new configuration is in force, except for objects that the
    /// kernel refused. `drain`, `disable`, `enable`: it is in force, but a restart forgets it.
    Partly,
    /// `start` and `restart`: the file has names that can't be looked up now, and no other mistake.
    /// Nothing has changed, and trying again may help. sysexits(3) calls that `EX_TEMPFAIL`.
    Transient,
    /// The command line is wrong.
    Usage,
}

impl Exit {
    /// The exit status.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Config => 2,
            Self::NotRunning => 3,
            Self::Partly => 4,
            Self::Transient => 75,
            Self::Usage => 255,
        }
    }

    /// The outcome with this exit status. Any unknown one is a failure.
    pub(crate) const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Done,
            2 => Self::Config,
            3 => Self::NotRunning,
            4 => Self::Partly,
            75 => Self::Transient,
            255 => Self::Usage,
            _ => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_stands_for_one_outcome() {
        let all = [
            Exit::Done,
            Exit::Failed,
            Exit::Config,
            Exit::NotRunning,
            Exit::Partly,
            Exit::Transient,
            Exit::Usage,
        ];
        for exit in all {
            assert_eq!(Exit::from_code(exit.code()), exit);
        }
        assert_eq!(Exit::from_code(77), Exit::Failed);
    }
}
