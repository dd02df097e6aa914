//! What to do about an error: a hint for a kind of error, or for a kind and an operation.

use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;

/// The hint, where there's more to say than the error itself says.
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
        (ErrorKind::NotSent, _) => "see what became of the changes before it, and send it again",
        (ErrorKind::Inconsistent, _) => {
            "try again when fewer changes are made, or allow more passes"
        }
        (ErrorKind::OutcomeUnknown, _) => "read back to see whether the change was made",
        _ => return None,
    })
}
