//! What went wrong, and what the kernel's error numbers mean.

use rustix::io::Errno;

use crate::error::operation::Operation;

/// What went wrong, as far as a program can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such virtual service.
    ServiceNotFound,
    /// The virtual service already exists.
    ServiceExists,
    /// The virtual service has no such real server.
    DestinationNotFound,
    /// The virtual service already has that real server.
    DestinationExists,
    /// The kernel has no scheduler, or no persistence engine, of that name, and couldn't load a
    /// module for it.
    SchedulerOrPersistenceEngineNotFound,
    /// A sync daemon of that role is already running.
    SyncDaemonRunning,
    /// No sync daemon of that role is running.
    SyncDaemonNotRunning,
    /// There is no such network interface.
    InterfaceNotFound,
    /// There is no such network namespace, or no such process to have one.
    NamespaceNotFound,
    /// The file isn't a network namespace.
    NotANamespace,
    /// This kernel, or this network namespace, has no such setting.
    SysctlNotFound,
    /// The caller lacks a privilege: IPVS requires CAP_NET_ADMIN, in the initial user namespace or,
    /// for what its socket options can do, in the one that owns the network namespace.
    PermissionDenied,
    /// This kernel has no IPVS, or couldn't load its module.
    NotAvailable,
    /// IPVS is being unloaded.
    Unloading,
    /// The kernel refused a value, or a combination of values.
    InvalidArgument,
    /// A weight or a threshold is out of range.
    OutOfRange,
    /// The kernel interface in use can't express that: IPVS's socket options are
    /// [limited](crate::SocketOptions).
    NotSupported,
    /// The kernel can't do that with this address family.
    AddressFamilyNotSupported,
    /// The kernel is out of memory.
    OutOfMemory,
    /// The request was refused before anything was sent: see [`InvalidInput`](crate::InvalidInput).
    InvalidInput,
    /// The kernel didn't reply in time, its reply was lost, or its reply to a change is malformed.
    /// Whether the change was made is unknown: read back.
    OutcomeUnknown,
    /// It was not sent, because an earlier change of the same [batch](crate::Batch) failed in a way
    /// that later ones would fail, too.
    NotSent,
    /// The table kept changing while it was read, so that no two passes agreed.
    Inconsistent,
    /// The kernel's reply is malformed, or of a form that this version doesn't know.
    Protocol,
    /// Reading or writing failed below IPVS; a change wasn't made.
    Io,
    /// Another error of the kernel: see [`Error::raw_os_error`](crate::Error::raw_os_error).
    Other,
}

impl ErrorKind {
    /// What an error number (errno(3)) means in the kernel's reply to `operation`. Numbers without
    /// a kind of their own are [`Other`](Self::Other).
    ///
    /// ```
    /// use ipvs::{ErrorKind, Operation};
    ///
    /// const ENOENT: i32 = 2;
    /// let of_server = ErrorKind::of(Operation::SetDestination, ENOENT);
    /// assert_eq!(of_server, ErrorKind::DestinationNotFound);
    /// ```
    pub fn of(operation: Operation, errno: i32) -> Self {
        kind_of(operation, Errno::from_raw_os_error(errno))
    }

    /// Whether the same call may succeed if simply repeated later, without anybody changing its
    /// values, the machine's configuration or the table.
    ///
    /// | kind | transient | because |
    /// | --- | --- | --- |
    /// | `ServiceNotFound` | no | it has to be added first |
    /// | `ServiceExists` | no | it would still exist: use `ensure_service` |
    /// | `DestinationNotFound` | no | it has to be added first |
    /// | `DestinationExists` | no | it would still exist: use `ensure_destination` |
    /// | `SchedulerOrPersistenceEngineNotFound` | no | the module has to be installed, or the name corrected |
    /// | `SyncDaemonRunning` | no | it has to be stopped first |
    /// | `SyncDaemonNotRunning` | no | there is nothing to stop |
    /// | `InterfaceNotFound` | no | it has to be created first |
    /// | `NamespaceNotFound` | no | it has to be created first |
    /// | `NotANamespace` | no | the path names another file |
    /// | `SysctlNotFound` | no | this kernel doesn't have it |
    /// | `PermissionDenied` | no | the caller needs another privilege |
    /// | `NotAvailable` | no | the module has to be installed, or may not be loaded |
    /// | `Unloading` | yes | the module can be loaded again |
    /// | `InvalidArgument` | no | the kernel refuses these values |
    /// | `OutOfRange` | no | the kernel refuses these values |
    /// | `NotSupported` | no | socket options have no field for it |
    /// | `AddressFamilyNotSupported` | no | the kernel doesn't support it with this family |
    /// | `OutOfMemory` | yes | memory may be freed |
    /// | `InvalidInput` | no | the library refuses these values |
    /// | `OutcomeUnknown` | yes | but first read back: a change may have been made |
    /// | `NotSent` | yes | nothing happened, so nothing can happen twice |
    /// | `Inconsistent` | yes | the table may be quieter |
    /// | `Protocol` | no | the kernel would reply the same |
    /// | `Io` | yes | buffers and descriptors may be free again; a change wasn't made |
    /// | `Other` | no | nothing is known about it |
    ///
    /// Retry transient errors after a growing pause and a limited number of times: a retry may
    /// succeed, no more is known. A controller that makes a new plan each round needs no other
    /// distinction.
    pub fn is_transient(self) -> bool {
        match self {
            Self::Unloading
            | Self::OutOfMemory
            | Self::OutcomeUnknown
            | Self::NotSent
            | Self::Inconsistent
            | Self::Io => true,
            Self::ServiceNotFound
            | Self::ServiceExists
            | Self::DestinationNotFound
            | Self::DestinationExists
            | Self::SchedulerOrPersistenceEngineNotFound
            | Self::SyncDaemonRunning
            | Self::SyncDaemonNotRunning
            | Self::InterfaceNotFound
            | Self::NamespaceNotFound
            | Self::NotANamespace
            | Self::SysctlNotFound
            | Self::PermissionDenied
            | Self::NotAvailable
            | Self::InvalidArgument
            | Self::OutOfRange
            | Self::NotSupported
            | Self::AddressFamilyNotSupported
            | Self::InvalidInput
            | Self::Protocol
            | Self::Other => false,
        }
    }
}

/// (operation, errno) → meaning. The same number means different things for different commands;
/// the table follows the kernel's `net/netfilter/ipvs/ip_vs_ctl.c`.
pub(super) fn kind_of(operation: Operation, errno: Errno) -> ErrorKind {
    use Operation as Op;
    match (operation, errno) {
        (Op::Connect, Errno::NOENT) => ErrorKind::NotAvailable,
        (Op::AddService, Errno::EXIST) => ErrorKind::ServiceExists,
        (Op::AddService | Op::SetService, Errno::NOENT) => {
            ErrorKind::SchedulerOrPersistenceEngineNotFound
        }
        (
            Op::Service
            | Op::SetService
            | Op::DeleteService
            | Op::Zero
            | Op::Destinations
            | Op::Destination
            | Op::AddDestination
            | Op::SetDestination
            | Op::DeleteDestination,
            Errno::SRCH,
        ) => ErrorKind::ServiceNotFound,
        (Op::AddDestination, Errno::EXIST) => ErrorKind::DestinationExists,
        (Op::SetDestination | Op::DeleteDestination, Errno::NOENT) => {
            ErrorKind::DestinationNotFound
        }
        (Op::StartSyncDaemon, Errno::EXIST) => ErrorKind::SyncDaemonRunning,
        (Op::StartSyncDaemon, Errno::NODEV) => ErrorKind::InterfaceNotFound,
        (Op::StopSyncDaemon, Errno::SRCH) => ErrorKind::SyncDaemonNotRunning,
        (Op::OpenNamespace, Errno::NOENT | Errno::SRCH | Errno::NOTDIR) => {
            ErrorKind::NamespaceNotFound
        }
        (Op::EnterNamespace, Errno::INVAL) => ErrorKind::NotANamespace,
        (Op::Sysctl | Op::SetSysctl, Errno::NOENT) => ErrorKind::SysctlNotFound,
        (Op::SetSysctl, Errno::ROFS) => ErrorKind::PermissionDenied,
        // A processor that doesn't exist.
        (Op::SetSysctl, Errno::RANGE) => ErrorKind::InvalidArgument,
        (_, Errno::PERM | Errno::ACCESS) => ErrorKind::PermissionDenied,
        (_, Errno::NOPROTOOPT) => ErrorKind::Unloading,
        (_, Errno::INVAL) => ErrorKind::InvalidArgument,
        (_, Errno::RANGE) => ErrorKind::OutOfRange,
        (_, Errno::OPNOTSUPP) => ErrorKind::NotSupported,
        (_, Errno::AFNOSUPPORT) => ErrorKind::AddressFamilyNotSupported,
        (_, Errno::NOMEM) => ErrorKind::OutOfMemory,
        _ => ErrorKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kinds that the documentation says something of, in the table's order.
    fn documented() -> Vec<(&'static str, bool)> {
        let rows = include_str!("kind.rs").lines().filter_map(|line| {
            let mut cells = line.trim().strip_prefix("/// | `")?.split(" | ");
            let kind = cells.next()?.strip_suffix('`')?;
            match cells.next()? {
                "yes" => Some((kind, true)),
                "no" => Some((kind, false)),
                other => panic!("{kind}: `{other}`"),
            }
        });
        rows.collect()
    }

    /// The variants, read from the source: a new one can't be forgotten.
    fn declared() -> Vec<&'static str> {
        let source = include_str!("kind.rs");
        let (_, rest) = source.split_once("pub enum ErrorKind {").unwrap();
        let (body, _) = rest.split_once("\n}").unwrap();
        body.lines().filter_map(|line| line.trim().strip_suffix(',')).filter(is_name).collect()
    }

    fn is_name(text: &&str) -> bool {
        text.chars().all(char::is_alphanumeric)
    }

    #[test]
    fn the_table_says_of_every_kind_whether_it_is_transient() {
        use ErrorKind as Kind;
        let code = [
            Kind::ServiceNotFound,
            Kind::ServiceExists,
            Kind::DestinationNotFound,
            Kind::DestinationExists,
            Kind::SchedulerOrPersistenceEngineNotFound,
            Kind::SyncDaemonRunning,
            Kind::SyncDaemonNotRunning,
            Kind::InterfaceNotFound,
            Kind::NamespaceNotFound,
            Kind::NotANamespace,
            Kind::SysctlNotFound,
            Kind::PermissionDenied,
            Kind::NotAvailable,
            Kind::Unloading,
            Kind::InvalidArgument,
            Kind::OutOfRange,
            Kind::NotSupported,
            Kind::AddressFamilyNotSupported,
            Kind::OutOfMemory,
            Kind::InvalidInput,
            Kind::OutcomeUnknown,
            Kind::NotSent,
            Kind::Inconsistent,
            Kind::Protocol,
            Kind::Io,
            Kind::Other,
        ]
        .map(|kind| (format!("{kind:?}"), kind.is_transient()));
        let names: Vec<_> = code.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, declared());
        let code: Vec<_> = code.iter().map(|(name, yes)| (name.as_str(), *yes)).collect();
        assert_eq!(code, documented());
    }

    /// Every pair of `ip_vs_ctl.c` and `ip_vs_sync.c`.
    #[test]
    fn the_same_number_means_different_things() {
        use ErrorKind as Kind;
        use Operation as Op;
        let services = [Op::AddService, Op::SetService];
        let keys = [Op::SetService, Op::DeleteService, Op::Zero, Op::Service, Op::Destinations];
        let destinations = [Op::AddDestination, Op::SetDestination, Op::DeleteDestination];
        let all = |operations: &[Op], errno, kind| {
            operations.iter().map(|op| (*op, errno, kind)).collect::<Vec<_>>()
        };
        let rows = [
            all(&services, Errno::NOENT, Kind::SchedulerOrPersistenceEngineNotFound),
            all(&[Op::AddService], Errno::EXIST, Kind::ServiceExists),
            all(&keys, Errno::SRCH, Kind::ServiceNotFound),
            all(&destinations, Errno::SRCH, Kind::ServiceNotFound),
            all(&destinations[1..], Errno::NOENT, Kind::DestinationNotFound),
            all(&[Op::AddDestination], Errno::EXIST, Kind::DestinationExists),
            all(&[Op::StopSyncDaemon], Errno::SRCH, Kind::SyncDaemonNotRunning),
            all(&[Op::StartSyncDaemon], Errno::EXIST, Kind::SyncDaemonRunning),
            all(&[Op::StartSyncDaemon], Errno::NODEV, Kind::InterfaceNotFound),
            all(&[Op::Connect], Errno::NOENT, Kind::NotAvailable),
            // Mean the same wherever they come from.
            all(&[Op::Services, Op::AddService], Errno::PERM, Kind::PermissionDenied),
            all(&[Op::AddService, Op::StartSyncDaemon], Errno::NOPROTOOPT, Kind::Unloading),
            all(&services, Errno::INVAL, Kind::InvalidArgument),
            all(&destinations, Errno::INVAL, Kind::InvalidArgument),
            all(&[Op::StartSyncDaemon, Op::SetTimeouts], Errno::INVAL, Kind::InvalidArgument),
            all(&destinations, Errno::RANGE, Kind::OutOfRange),
            all(&services, Errno::AFNOSUPPORT, Kind::AddressFamilyNotSupported),
            all(&destinations, Errno::AFNOSUPPORT, Kind::AddressFamilyNotSupported),
            all(&services, Errno::NOMEM, Kind::OutOfMemory),
            all(&[Op::AddDestination, Op::StartSyncDaemon], Errno::NOMEM, Kind::OutOfMemory),
            all(&[Op::Service, Op::Info, Op::Timeouts], Errno::MSGSIZE, Kind::Other),
        ];
        for (operation, errno, kind) in rows.into_iter().flatten() {
            assert_eq!(kind_of(operation, errno), kind, "{operation:?} {errno}");
        }
    }
}
