//! Errors that say what was attempted, on which object, what the kernel said, and what to do.

mod invalid_input;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;

use rustix::io::Errno;

pub use invalid_input::InvalidInput;

use crate::{DestinationKey, PersistenceEngine, Scheduler, ServiceKey, SyncRole};

/// What was attempted when an [`Error`] came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the `Client` method of the same name")]
pub enum Operation {
    Connect,
    Info,
    Timeouts,
    SetTimeouts,
    Services,
    Service,
    AddService,
    SetService,
    DeleteService,
    Destinations,
    Destination,
    AddDestination,
    SetDestination,
    DeleteDestination,
    SyncDaemons,
    StartSyncDaemon,
    StopSyncDaemon,
    Zero,
    Flush,
    Snapshot,
    Connections,
    Sysctl,
    SetSysctl,
    /// Opening a [`Namespace`](crate::Namespace).
    OpenNamespace,
    /// Entering one, to open something in it.
    EnterNamespace,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect to IPVS",
            Self::Info => "read the version of IPVS",
            Self::Timeouts => "read the connection timeouts",
            Self::SetTimeouts => "set the connection timeouts",
            Self::Services => "list virtual services",
            Self::Service | Self::Destination => "read",
            Self::AddService | Self::AddDestination => "add",
            Self::SetService | Self::SetDestination => "set",
            Self::DeleteService | Self::DeleteDestination => "delete",
            Self::Destinations => "list the real servers of",
            Self::SyncDaemons => "list sync daemons",
            Self::StartSyncDaemon => "start",
            Self::StopSyncDaemon => "stop",
            Self::Zero => "zero the counters of",
            Self::Flush => "delete all virtual services",
            Self::Snapshot => "read the whole table",
            Self::Connections => "read the connections",
            Self::Sysctl => "read",
            Self::SetSysctl => "set",
            Self::OpenNamespace => "open",
            Self::EnterNamespace => "enter",
        })
    }
}

/// What an operation that failed was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Object {
    /// A virtual service.
    Service(ServiceKey),
    /// A real server of a virtual service.
    Destination(ServiceKey, DestinationKey),
    /// A sync daemon.
    SyncDaemon(SyncRole),
    /// Every virtual service of the network namespace.
    AllServices,
    /// The setting of that name under `net.ipv4.vs`.
    Sysctl(&'static str),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => write!(f, "virtual service {service}"),
            Self::Destination(service, destination) => {
                write!(f, "real server {destination} of virtual service {service}")
            }
            Self::SyncDaemon(role) => write!(f, "the {role} sync daemon"),
            Self::AllServices => f.write_str("all virtual services"),
            Self::Sysctl(name) => write!(f, "net.ipv4.vs.{name}"),
        }
    }
}

/// What went wrong, as far as a program can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no such virtual service.
    ServiceNotFound,
    /// The virtual service is there already.
    ServiceExists,
    /// The virtual service has no such real server.
    DestinationNotFound,
    /// The virtual service has that real server already.
    DestinationExists,
    /// The kernel has no scheduler, or no persistence engine, of that name, and couldn't load a
    /// module for it.
    SchedulerOrPersistenceEngineNotFound,
    /// A sync daemon of that role runs already.
    SyncDaemonRunning,
    /// No sync daemon of that role runs.
    SyncDaemonNotRunning,
    /// There is no such network interface.
    InterfaceNotFound,
    /// There is no such network namespace, or no such process to have one.
    NamespaceNotFound,
    /// It isn't a network namespace, but another file.
    NotANamespace,
    /// This kernel, or this network namespace, has no such setting.
    SysctlNotFound,
    /// The caller may not do that: IPVS wants CAP_NET_ADMIN, in the initial user namespace or,
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
    /// The kernel's interface that is used can't say that: its socket options are
    /// [limited](crate::SocketOptions).
    NotSupported,
    /// The kernel can't do that with this address family.
    AddressFamilyNotSupported,
    /// The kernel is out of memory.
    OutOfMemory,
    /// The request was refused before anything was sent: see [`InvalidInput`].
    InvalidInput,
    /// The kernel didn't answer in time, or its answer was lost or, to a change, can't be made
    /// sense of. Whether a change was carried out is unknown: read back.
    OutcomeUnknown,
    /// It was not sent, because an earlier change of the same [batch](crate::Batch) failed in a
    /// way that later ones would too.
    NotSent,
    /// The table changed all the time while it was read, so that no two passes agreed.
    Inconsistent,
    /// The kernel answered what this version can't make sense of.
    Protocol,
    /// Reading or writing failed below IPVS; a change wasn't carried out.
    Io,
    /// Another error of the kernel: see [`Error::raw_os_error`].
    Other,
}

/// A failed operation: what was attempted, on which object, what the kernel said.
///
/// Its text says all of this; with `{:#}` it ends with [what to do about it](Error::hint).
///
/// ```
/// use ipvs::{ErrorKind, Service, ServiceKey};
///
/// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
/// let service = Service::new(ServiceKey::tcp("10.10.10.53:80".parse().unwrap()));
/// match client.add_service(&service) {
///     Err(error) if error.kind() == ErrorKind::ServiceExists => client.set_service(&service)?,
///     other => other?,
/// }
/// # Ok::<(), ipvs::Error>(())
/// ```
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    operation: Operation,
    object: Option<Object>,
    /// In words what no [`Object`] stands for, because it isn't `Copy`.
    object_name: Option<String>,
    kind: ErrorKind,
    errno: Option<Errno>,
    kernel_message: Option<String>,
    names: Names,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a request names that is a module of its own, which the kernel may lack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Names {
    pub(crate) scheduler: Option<Scheduler>,
    pub(crate) persistence_engine: Option<PersistenceEngine>,
}

impl Error {
    pub(crate) fn new(operation: Operation, object: Option<Object>, kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            operation,
            object,
            object_name: None,
            kind,
            errno: None,
            kernel_message: None,
            names: Names::default(),
            source: None,
        }))
    }

    /// The kernel's answer to a request.
    pub(crate) fn from_kernel(
        operation: Operation,
        object: Option<Object>,
        errno: i32,
        kernel_message: Option<String>,
    ) -> Self {
        let errno = Errno::from_raw_os_error(errno);
        let mut error = Self::new(operation, object, kind_of(operation, errno));
        error.0.errno = Some(errno);
        error.0.kernel_message = kernel_message;
        error
    }

    pub(crate) fn from_io(operation: Operation, object: Option<Object>, cause: io::Error) -> Self {
        let kind = match cause.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(operation, object, kind);
        error.0.errno = Errno::from_io_error(&cause);
        error.with_source(cause)
    }

    /// What the kernel said to a system call, where its numbers mean what they mean in an answer.
    pub(crate) fn from_os(operation: Operation, cause: io::Error) -> Self {
        match Errno::from_io_error(&cause) {
            Some(errno) => {
                Self::from_kernel(operation, None, errno.raw_os_error(), None).with_source(cause)
            }
            None => Self::from_io(operation, None, cause),
        }
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_object(mut self, object: Object) -> Self {
        self.0.object = Some(object);
        self
    }

    pub(crate) fn with_object_name(mut self, object_name: String) -> Self {
        self.0.object_name = Some(object_name);
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.source = Some(source.into());
        self
    }

    pub(crate) fn with_names(mut self, names: Names) -> Self {
        self.0.names = names;
        self
    }

    /// What was attempted.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// What it was about, if it was about one object.
    pub fn object(&self) -> Option<&Object> {
        self.0.object.as_ref()
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kernel's error number (errno(3)), if it gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.errno.map(Errno::raw_os_error)
    }

    /// What the kernel said in words (`NLMSGERR_ATTR_MSG`), if it did.
    pub fn kernel_message(&self) -> Option<&str> {
        self.0.kernel_message.as_deref()
    }

    /// What to do about it, where there's more to say than the error itself says.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match (self.0.kind, self.0.operation) {
            (
                ErrorKind::PermissionDenied,
                Operation::Connections | Operation::Sysctl | Operation::EnterNamespace,
            ) => {
                "entering another network namespace needs CAP_SYS_ADMIN, in the caller's user \
                 namespace and in the one that owns the network namespace"
            }
            (ErrorKind::PermissionDenied, Operation::OpenNamespace) => {
                "the network namespace of somebody else's process is only for root, or with \
                 CAP_SYS_PTRACE"
            }
            (ErrorKind::PermissionDenied, Operation::SetSysctl) => {
                "run as root, where /proc/sys isn't mounted read-only; a few settings are \
                 read-only in a network namespace that isn't owned by the initial user namespace"
            }
            (ErrorKind::PermissionDenied, _) => {
                "run as root, or with CAP_NET_ADMIN in the initial user namespace; or, for IPv4, \
                 in the user namespace that owns the network namespace, with the module ip_vs \
                 loaded"
            }
            (ErrorKind::NotSupported, _) => {
                "with CAP_NET_ADMIN in the initial user namespace, IPVS' generic-netlink \
                 interface is used, which has more than its socket options"
            }
            (ErrorKind::NotAvailable, _) => {
                "load the module with `modprobe ip_vs`, or use a kernel built with CONFIG_IP_VS"
            }
            (ErrorKind::SchedulerOrPersistenceEngineNotFound, _) => {
                "check the spelling (rr, wrr, lc, wlc, fo, ovf, lblc, lblcr, dh, sh, mh, sed, nq; \
                 persistence engine: sip) and that the kernel has the module ip_vs_NAME or ip_vs_pe_NAME"
            }
            (ErrorKind::InvalidArgument, Operation::AddDestination | Operation::SetDestination) => {
                "the address must be unicast and no IPv6 link-local one, thresholds at most \
                 2147483647, a GUE port not 0, and the family the service's, unless through a \
                 tunnel and with no sync daemon running"
            }
            (ErrorKind::InvalidArgument, Operation::StartSyncDaemon) => {
                "the group must be a multicast address, and no service may have real servers of \
                 the other address family"
            }
            (ErrorKind::Other, Operation::StartSyncDaemon) => {
                "the interface needs an address of the group's family that is in use already \
                 (an IPv6 one is tentative at first), and a backup's port must be free"
            }
            (ErrorKind::InvalidArgument, Operation::SetTimeouts) => {
                "a timeout is at most 2147483647 kernel ticks long"
            }
            (ErrorKind::SysctlNotFound, _) => {
                "this kernel may be too old or built without it, or its module not loaded; on \
                 older kernels a network namespace that isn't owned by the initial user namespace \
                 has no settings at all"
            }
            (ErrorKind::OutOfRange, _) => {
                "weights are at most 2147483647, and a lower threshold not above the upper one"
            }
            (ErrorKind::Unloading, _) => "try again once the module ip_vs is loaded again",
            (ErrorKind::NotSent, _) => {
                "see what became of the changes before it, and send it again"
            }
            (ErrorKind::Inconsistent, _) => {
                "try again when fewer changes are made, or allow more passes"
            }
            (ErrorKind::OutcomeUnknown, _) => "read back to see whether it was carried out",
            _ => return None,
        })
    }

    fn reason(&self) -> Cow<'static, str> {
        match self.0.kind {
            ErrorKind::ServiceNotFound => "no such virtual service".into(),
            ErrorKind::ServiceExists => "the virtual service exists already".into(),
            ErrorKind::DestinationNotFound => "no such real server".into(),
            ErrorKind::DestinationExists => "the real server exists already".into(),
            ErrorKind::SchedulerOrPersistenceEngineNotFound => self.0.names.missing(),
            ErrorKind::SyncDaemonRunning => "it runs already".into(),
            ErrorKind::SyncDaemonNotRunning => "it isn't running".into(),
            ErrorKind::InterfaceNotFound => "no such network interface".into(),
            ErrorKind::NamespaceNotFound => "no such network namespace".into(),
            ErrorKind::NotANamespace => "it isn't a network namespace".into(),
            ErrorKind::SysctlNotFound => "there is no such setting here".into(),
            ErrorKind::PermissionDenied => "permission denied".into(),
            ErrorKind::NotAvailable => "this kernel has no IPVS".into(),
            ErrorKind::Unloading => "IPVS is being unloaded".into(),
            ErrorKind::InvalidArgument => "the kernel refused the values".into(),
            ErrorKind::OutOfRange => "a value is out of range".into(),
            ErrorKind::NotSupported => "not supported".into(),
            ErrorKind::AddressFamilyNotSupported => {
                "the kernel doesn't support this address family there".into()
            }
            ErrorKind::OutOfMemory => "the kernel is out of memory".into(),
            ErrorKind::InvalidInput => "invalid input".into(),
            ErrorKind::OutcomeUnknown => "the kernel's answer is missing".into(),
            ErrorKind::NotSent => "it was not sent, because the kernel could not be reached".into(),
            ErrorKind::Inconsistent => "others change it all the time".into(),
            ErrorKind::Protocol => "the kernel's answer makes no sense".into(),
            ErrorKind::Io => "input or output failed".into(),
            ErrorKind::Other => match self.0.errno {
                Some(errno) => io::Error::from(errno).to_string().into(),
                None => "unknown error".into(),
            },
        }
    }
}

impl Names {
    /// The kernel has the same answer for both.
    fn missing(self) -> Cow<'static, str> {
        match (self.scheduler, self.persistence_engine) {
            (None, None) => "the kernel has no such scheduler or persistence engine".into(),
            (Some(scheduler), None) => {
                format!("the kernel has no scheduler {scheduler} (module ip_vs_{scheduler})").into()
            }
            (None, Some(engine)) => {
                format!("the kernel has no persistence engine {engine} (module ip_vs_pe_{engine})")
                    .into()
            }
            (Some(scheduler), Some(engine)) => format!(
                "the kernel has no scheduler {scheduler} (module ip_vs_{scheduler}) or no \
                 persistence engine {engine} (module ip_vs_pe_{engine})"
            )
            .into(),
        }
    }
}

/// (operation, errno) → meaning. The same number means different things for different commands;
/// the table follows the kernel's `net/netfilter/ipvs/ip_vs_ctl.c`.
fn kind_of(operation: Operation, errno: Errno) -> ErrorKind {
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
        // A processor that there isn't.
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.0.operation)?;
        if let Some(object) = &self.0.object {
            write!(f, " {object}")?;
        }
        if let Some(object_name) = &self.0.object_name {
            write!(f, " {object_name}")?;
        }
        write!(f, ": {}", self.reason())?;
        match &self.0.kernel_message {
            // Said for the kernel, which has no words of its own there.
            Some(message) if self.0.kind == ErrorKind::NotSupported => write!(f, ": {message}")?,
            Some(message) => write!(f, " (kernel: {message})")?,
            None => {}
        }
        // The reason of what has no kind of its own ends with the number already.
        if let Some(errno) = self.0.errno.filter(|_| self.0.kind != ErrorKind::Other) {
            write!(f, " (os error {})", errno.raw_os_error())?;
        }
        if f.alternate() {
            if let Some(hint) = self.hint() {
                write!(f, "; {hint}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> ServiceKey {
        ServiceKey::tcp("10.10.10.53:80".parse().unwrap())
    }

    #[test]
    fn the_text_says_what_on_which_object_and_why() {
        let error = Error::from_kernel(
            Operation::AddService,
            Some(Object::Service(service())),
            Errno::NOENT.raw_os_error(),
            None,
        );
        assert_eq!(
            error.to_string(),
            "cannot add virtual service tcp/10.10.10.53:80: the kernel has no such scheduler or \
             persistence engine (os error 2)"
        );
        assert!(format!("{error:#}").contains("check the spelling"));
        let scheduler = Some(Scheduler::new("lbrc").unwrap());
        let error = error.with_names(Names { scheduler, persistence_engine: None });
        assert_eq!(
            error.to_string(),
            "cannot add virtual service tcp/10.10.10.53:80: the kernel has no scheduler lbrc \
             (module ip_vs_lbrc) (os error 2)"
        );
    }

    #[test]
    fn the_number_is_said_once() {
        let role = Some(Object::SyncDaemon(SyncRole::Master));
        let errno = Errno::ADDRNOTAVAIL.raw_os_error();
        let error = Error::from_kernel(Operation::StartSyncDaemon, role, errno, None);
        assert_eq!(
            error.to_string(),
            "cannot start the master sync daemon: Cannot assign requested address (os error 99)"
        );
        assert!(format!("{error:#}").contains("needs an address of the group's family"));
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
