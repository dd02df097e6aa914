//! Hints: what to do about an error of a kind, or of a kind in an operation.

use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;

/// The hint, if there is more to say than the error's own text.
pub(super) fn hint(kind: ErrorKind, operation: Operation) -> Option<&'static str> {
    Some(match (kind, operation) {
        (
            ErrorKind::PermissionDenied,
            Operation::Connections | Operation::Sysctl | Operation::EnterNamespace,
        ) => {
            "entering another network namespace needs CAP_SYS_ADMIN, in the caller's user \
             namespace and in the one that owns the network namespace"
        }
        (ErrorKind::PermissionDenied, Operation::OpenNamespace) => {
            "opening the network namespace of another user's process needs root or \
             CAP_SYS_PTRACE"
        }
        (ErrorKind::PermissionDenied, Operation::SetSysctl) => {
            "run as root, where /proc/sys is mounted writable; a few settings are read-only in a \
             network namespace that the initial user namespace doesn't own"
        }
        (ErrorKind::PermissionDenied, _) => {
            "run as root or with CAP_NET_ADMIN in the initial user namespace; for IPv4, \
             CAP_NET_ADMIN in the user namespace that owns the network namespace is enough if \
             the module ip_vs is loaded"
        }
        (ErrorKind::NotSupported, _) => {
            "run with CAP_NET_ADMIN in the initial user namespace: generic netlink, which is then \
             used, can do more than IPVS's socket options"
        }
        (ErrorKind::NotAvailable, _) => {
            "load the module with `modprobe ip_vs`, or use a kernel built with CONFIG_IP_VS"
        }
        (ErrorKind::SchedulerOrPersistenceEngineNotFound, _) => {
            "check the spelling (rr, wrr, lc, wlc, fo, ovf, lblc, lblcr, dh, sh, mh, sed, nq; \
             persistence engine: sip) and that the kernel has the module ip_vs_NAME or ip_vs_pe_NAME"
        }
        (ErrorKind::InvalidArgument, Operation::AddDestination | Operation::SetDestination) => {
            "the address must be unicast and not IPv6 link-local, thresholds at most 2147483647, \
             and a GUE port not 0; only a tunnel, with no sync daemon running, may lead to \
             another address family than the service's"
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
            "this kernel may be too old or built without it, or its module may not be loaded; on \
             older kernels, a network namespace that the initial user namespace doesn't own has \
             no settings at all"
        }
        (ErrorKind::OutOfRange, _) => {
            "a weight is at most 2147483647, and a lower threshold at most the upper one"
        }
        (ErrorKind::Unloading, _) => "try again once the module ip_vs has been reloaded",
        (ErrorKind::NotSent, _) => "check how the changes before it ended, then send it again",
        (ErrorKind::Inconsistent, _) => {
            "try again when the table changes less, or allow more passes"
        }
        (ErrorKind::OutcomeUnknown, _) => "read back to see whether the change was made",
        _ => return None,
    })
}
