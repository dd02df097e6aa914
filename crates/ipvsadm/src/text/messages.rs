//! Messages, in the words of the C program, which scripts match.

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;

use ipvs::{Error, ErrorKind, NameError, Operation};
use libc::{
    EAFNOSUPPORT, EEXIST, EINVAL, EMSGSIZE, ENOENT, ENOMEM, ENOPROTOOPT, EOPNOTSUPP, EPERM, ESRCH,
};

/// What libpopt rejects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syntax {
    UnknownOption,
    MissingValue,
    UnwantedValue,
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum UsageError {
    /// The first option is not a command.
    NoCommand,
    /// An option after the command is unknown, lacks its value, or has one that it doesn't take.
    Syntax {
        word: OsString,
        problem: Syntax,
    },
    /// A second command, or help or the version, after the command.
    SecondCommand(OsString),
    /// Two options of one kind, by the name of the kind.
    Repeated(&'static str),
    /// A word that is not an option.
    UnexpectedWord(OsString),

    VirtualAddress,
    RealAddress,
    Fwmark(OsString),
    Timeout(OsString),
    Netmask,
    Ipv6Netmask,
    Weight,
    UpperThreshold,
    LowerThreshold,
    SyncId,
    McastPort,
    McastTtl,
    SyncMaxLen,
    TunType,
    TunPort,
    McastGroupV4(OsString),
    McastGroupV6(OsString),
    StartDaemonRole,
    StopDaemonRole,
    SetTimeouts,
    Ipv6BeforeFwmark,
    SchedulerFlag(OsString),
    /// A scheduler flag that belongs to another scheduler.
    ForeignSchedulerFlag(OsString),
    /// A name that the kernel's field has no room for, or that isn't a name.
    Name(NameError),

    /// A required option is missing.
    Missing {
        option: &'static str,
        by: Demand,
    },
    /// An option that doesn't go with a command or tunnel type.
    Illegal {
        option: &'static str,
        by: Demand,
    },
    /// Two options that don't go together.
    Conflict {
        option: &'static str,
        earlier: &'static str,
        by: Demand,
    },
    /// A format that doesn't go with what is listed.
    ListConflict,
    ZeroPort,
    OpsWithoutUdp,
    MixedFamilies,
    TunnelOptions,
    /// `--keep` with a mask, but the service isn't persistent.
    MaskWithoutPersistence,
    /// `--only` without a service or real server.
    OnlyWhat,
}

/// What requires or forbids an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Command(&'static str),
    TunnelType(&'static str),
}

impl Demand {
    fn text(self) -> String {
        match self {
            Self::Command(name) => format!("the '{name}' command"),
            Self::TunnelType(name) => format!("the '{name}' tunnel type"),
        }
    }
}

impl UsageError {
    /// Whether a restore stops here: it continues only after what popt rejects.
    pub(crate) fn ends_restore(&self) -> bool {
        !matches!(self, Self::Syntax { .. })
    }

    /// The message with its newline, for standard error.
    pub(crate) fn message(&self, program: &OsStr) -> Vec<u8> {
        let text = |text: &str| text.as_bytes().to_vec();
        let quoting = |before: &str, word: &OsStr, after: &str| {
            [before.as_bytes(), word.as_bytes(), after.as_bytes()].concat()
        };
        let mut message = match self {
            Self::NoCommand => {
                let program = program.as_bytes();
                [b"Try `", program, b" -h' or '", program, b" --help' for more information."]
                    .concat()
            }
            Self::Syntax { word, problem } => quoting(
                "",
                word,
                match problem {
                    Syntax::UnknownOption => ": unknown option",
                    Syntax::MissingValue => ": missing argument",
                    Syntax::UnwantedValue => ": option does not take an argument",
                },
            ),
            Self::SecondCommand(word) => quoting("invalid option `", word, "'"),
            Self::Repeated(name) => text(&format!("multiple '{name}' options specified")),
            Self::UnexpectedWord(word) => quoting("unexpected argument ", word, ""),
            Self::VirtualAddress => text("illegal virtual server address[:port] specified"),
            Self::RealAddress => text("illegal real server address[:port] specified"),
            Self::Fwmark(value) => quoting("invalid fwmark value `", value, "' specified"),
            Self::Timeout(value) => quoting("invalid timeout value `", value, "' specified"),
            Self::Netmask => text("illegal virtual server persistent mask specified"),
            Self::Ipv6Netmask => text("illegal ipv6 netmask specified"),
            Self::Weight => text("illegal weight specified"),
            Self::UpperThreshold => text("illegal u_threshold specified"),
            Self::LowerThreshold => text("illegal l_threshold specified"),
            Self::SyncId => text("illegal syncid specified"),
            Self::McastPort => text("illegal mcast-port specified"),
            Self::McastTtl => text("illegal mcast-ttl specified"),
            Self::SyncMaxLen => text("illegal sync-maxlen specified"),
            Self::TunType => text("illegal tunnel type specified"),
            Self::TunPort => text("illegal tunnel port specified"),
            Self::McastGroupV4(value) => quoting("invalid IPv4 mcast-group `", value, "'"),
            Self::McastGroupV6(value) => quoting("invalid IPv6 mcast-group `", value, "'"),
            Self::StartDaemonRole => text("illegal start-daemon parameter specified"),
            // Sic: the C program names the wrong option here.
            Self::StopDaemonRole => text("illegal start_daemon specified"),
            Self::SetTimeouts => text("--set option requires 3 timeout values"),
            // Sic: with an empty line after it.
            Self::Ipv6BeforeFwmark => text("-6 used before -f\n"),
            Self::SchedulerFlag(flag) => quoting("invalid scheduler flag `", flag, "'"),
            Self::ForeignSchedulerFlag(flag) => quoting("incompatible scheduler flag `", flag, "'"),
            Self::Name(error) => text(&error.to_string()),
            Self::Missing { option, by } => {
                text(&format!("You need to supply the '{option}' option for {}", by.text()))
            }
            Self::Illegal { option, by } => {
                text(&format!("Illegal '{option}' option with {}", by.text()))
            }
            Self::Conflict { option, earlier, by } => text(&format!(
                "The option '{option}' conflicts with the '{earlier}' option in {}",
                by.text()
            )),
            Self::ListConflict => text("options conflicts in the list command"),
            Self::ZeroPort => text("Zero port specified for non-persistent service"),
            Self::OpsWithoutUdp => text("One-Packet Scheduling is only for UDP virtual services"),
            Self::MixedFamilies => {
                text("Different address family is allowed only for tunneling servers")
            }
            Self::TunnelOptions => text("Tunnel options conflict with forward method"),
            Self::MaskWithoutPersistence => text("a mask needs a persistent service: add -p"),
            Self::OnlyWhat => text(
                "the 'only' option needs a virtual service (-t, -u, --sctp-service, -f), a real \
                 server (-r), or both",
            ),
        };
        message.push(b'\n');
        message
    }
}

impl From<NameError> for UsageError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

/// The C program's message for a missing service.
pub(crate) const NO_SUCH_SERVICE: &str = "No such service";

const NO_SUCH_DESTINATION: &str = "No such destination";

/// The C program's message for a missing list of connections.
pub(crate) const NO_CONNECTION_LIST: &str = "cannot open file /proc/net/ip_vs_conn";

/// Why IPVS can't be administered at all, with newlines. An unprivileged user (`privileged` is false)
/// hears about the missing privileges even if there is no IPVS.
pub(crate) fn no_ipvs(error: &Error, privileged: bool) -> String {
    let reason = match error.kind() {
        ErrorKind::NotAvailable if privileged => PROTOCOL_NOT_AVAILABLE.to_owned(),
        ErrorKind::NotAvailable => NOT_PERMITTED.to_owned(),
        _ => reason(error),
    };
    format!(
        "Can't initialize ipvs: {reason}\n\
         Are you sure that IP Virtual Server is built in the kernel or as module?\n"
    )
}

/// What the kernel refused, with a newline.
pub(crate) fn kernel_error(error: &Error) -> String {
    reason(error) + "\n"
}

const PROTOCOL_NOT_AVAILABLE: &str = "Protocol not available";
const NOT_PERMITTED: &str = "Permission denied (you must be root)";

/// What went wrong, in the words of the C program.
fn reason(error: &Error) -> String {
    if let (Operation::Connections, ErrorKind::Protocol) = (error.operation(), error.kind()) {
        let text = "unexpected input from /proc/net/ip_vs_conn";
        // The C program only notices an empty file.
        return match error.source().and_then(|cause| cause.downcast_ref::<io::Error>()) {
            Some(cause) if cause.kind() == io::ErrorKind::InvalidData => format!("{text}: {cause}"),
            _ => text.to_owned(),
        };
    }
    let Some(errno) = error.raw_os_error() else {
        // The library found out from a list, not from an error of the kernel.
        if error.kind() == ErrorKind::DestinationNotFound {
            return NO_SUCH_DESTINATION.to_owned();
        }
        // The kernel's reply is missing or malformed: there is no error number.
        return error.to_string();
    };
    // In user namespaces, where the C program doesn't get this far.
    if let (ErrorKind::NotSupported, Some(message)) = (error.kind(), error.kernel_message()) {
        return format!("Operation not supported: {message}");
    }
    words_for(error.operation(), errno)
}

/// The text for an error number, which depends on what was attempted.
fn words_for(operation: Operation, errno: i32) -> String {
    let specific = match (operation, errno) {
        (Operation::AddService, EEXIST) => "Service already exists",
        (Operation::AddService | Operation::SetService, ENOENT) => {
            "Scheduler or persistence engine not found"
        }
        (
            Operation::SetService
            | Operation::DeleteService
            | Operation::Zero
            | Operation::Service
            | Operation::Destinations,
            ESRCH,
        ) => NO_SUCH_SERVICE,
        (
            Operation::Destination
            | Operation::AddDestination
            | Operation::SetDestination
            | Operation::DeleteDestination,
            ESRCH,
        ) => "Service not defined",
        (Operation::AddDestination, EEXIST) => "Destination already exists",
        (Operation::SetDestination | Operation::DeleteDestination, ENOENT) => NO_SUCH_DESTINATION,
        (Operation::StartSyncDaemon, EEXIST) => "Daemon has already run",
        (Operation::StopSyncDaemon, ESRCH) => "No daemon is running",
        (_, EPERM) => NOT_PERMITTED,
        (_, EINVAL) => {
            "Invalid operation.  Possibly wrong module version, address not unicast, ..."
        }
        (_, ENOPROTOOPT) => PROTOCOL_NOT_AVAILABLE,
        (_, ENOMEM) => "Memory allocation problem",
        (_, EOPNOTSUPP) => "Operation not supported with IPv6",
        (_, EAFNOSUPPORT) => "Operation not supported with specified address family",
        (_, EMSGSIZE) => "Module is wrong version",
        _ => return strerror(errno),
    };
    specific.to_owned()
}

/// The system's text for an error number.
fn strerror(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    // std adds the number; the C program doesn't.
    let suffix = format!(" (os error {errno})");
    text.strip_suffix(&suffix).map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use libc::{ENETUNREACH, ENODEV, ERANGE};

    use super::*;

    #[test]
    fn words_depend_on_what_was_attempted() {
        use Operation as Op;
        for (operation, errno, words) in [
            (Op::AddService, EEXIST, "Service already exists"),
            (Op::AddService, ENOENT, "Scheduler or persistence engine not found"),
            (Op::SetService, ENOENT, "Scheduler or persistence engine not found"),
            (Op::SetService, ESRCH, "No such service"),
            (Op::DeleteService, ESRCH, "No such service"),
            (Op::Zero, ESRCH, "No such service"),
            (Op::Services, ESRCH, "No such process"),
            (Op::AddDestination, ESRCH, "Service not defined"),
            (Op::AddDestination, EEXIST, "Destination already exists"),
            (Op::SetDestination, ENOENT, "No such destination"),
            (Op::DeleteDestination, ESRCH, "Service not defined"),
            (Op::StartSyncDaemon, EEXIST, "Daemon has already run"),
            (Op::StopSyncDaemon, ESRCH, "No daemon is running"),
            (Op::Flush, EPERM, "Permission denied (you must be root)"),
            (
                Op::AddDestination,
                EINVAL,
                "Invalid operation.  Possibly wrong module version, address not unicast, ...",
            ),
            (Op::Info, ENOPROTOOPT, "Protocol not available"),
            (Op::AddService, ENOMEM, "Memory allocation problem"),
            (Op::AddService, EAFNOSUPPORT, "Operation not supported with specified address family"),
            (Op::AddService, EOPNOTSUPP, "Operation not supported with IPv6"),
            (Op::AddService, EMSGSIZE, "Module is wrong version"),
            (Op::AddDestination, ERANGE, "Numerical result out of range"),
            (Op::StartSyncDaemon, ENODEV, "No such device"),
            (Op::StartSyncDaemon, ENETUNREACH, "Network is unreachable"),
        ] {
            assert_eq!(words_for(operation, errno), words, "{operation:?} {errno}");
        }
    }
}
