//! The exit status of a run.

use ipvs::ErrorKind;

use crate::run::kernel::Refusal;
use crate::text::messages::UsageError;

/// How a run ended. The codes are those of the C program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything succeeded.
    Success,
    /// The data to list or save couldn't be read, or rules can't express all of it.
    Incomplete,
    /// Standard input couldn't be read, or standard output couldn't be written.
    InputOutput,
    /// `ipvsadm-save` was given an option that it doesn't have.
    SaveUsage,
    /// There is no IPVS, or this user may not administer it.
    NoIpvs,
    /// The command line is wrong.
    Usage,
    /// The command line doesn't begin with a command, or libpopt would have rejected it.
    Syntax,
    /// Lines of a strict restore are wrong, and nothing was changed.
    InvalidRules,
    /// The kernel refused a change.
    Refused,
    /// The kernel's reply to a change is missing or malformed.
    NoReply,
}

impl Exit {
    /// The exit status.
    pub fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Incomplete | Self::InputOutput | Self::SaveUsage => 1,
            Self::NoIpvs | Self::Usage | Self::InvalidRules => 2,
            Self::Syntax | Self::Refused | Self::NoReply => 255,
        }
    }
}

impl From<&UsageError> for Exit {
    fn from(error: &UsageError) -> Self {
        match error {
            UsageError::NoCommand | UsageError::Syntax { .. } => Self::Syntax,
            _ => Self::Usage,
        }
    }
}

impl From<&Refusal> for Exit {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Kernel(error) => match error.kind() {
                ErrorKind::OutcomeUnknown
                | ErrorKind::Protocol
                | ErrorKind::Io
                | ErrorKind::NotSent => Self::NoReply,
                _ => Self::Refused,
            },
            Refusal::Mismatch(_) => Self::Refused,
        }
    }
}
