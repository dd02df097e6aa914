//! What was attempted, and on which object.

use std::fmt;

use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::sync_daemon::SyncRole;

/// What was attempted when an [`Error`](crate::Error) came up.
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
    Apply,
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
            Self::Apply => "apply the plan",
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
