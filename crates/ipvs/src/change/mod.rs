//! Changes as values: the one place where an operation, its object and its request meet. Single
//! calls, batches and plans all go through it.

pub(crate) mod batch;

use std::fmt;

use ipvs_sys as sys;
use ipvs_sys::Command;

use crate::error::Error;
use crate::error::invalid_input::InvalidInput;
use crate::error::operation::{Object, Operation};
use crate::model::config::TimeoutsChange;
use crate::model::destination::Destination;
use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::service::Service;
use crate::model::sync_daemon::{SyncDaemon, SyncRole};
use crate::proto::request::{Request, RequestKind};
use crate::wire;

/// A change of one object: one request to the kernel.
///
/// Each variant is the [`Client`](crate::Client) method of the same name, which documents what it
/// does and how it can fail. A change is a value: keep it, compare it, print it, send it alone
/// ([`Client::change`](crate::Client::change)) or with others
/// ([`Batch::push`](crate::Batch::push)). It owns what it is made of, and has nothing on the heap:
/// a clone copies about 100 bytes.
///
/// Its text is the operation and the object: `add virtual service tcp/10.10.10.53:80`.
///
/// ```
/// use ipvs::{Change, Operation, Service, ServiceKey};
///
/// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
/// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
/// let change = Change::AddService(Service::new(vip));
/// assert_eq!(change.to_string(), "add virtual service tcp/10.10.10.53:80");
/// assert_eq!(change.operation(), Operation::AddService);
/// client.change(change)?;
/// # assert!(client.service(&vip)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// Adds a virtual service.
    AddService(Service),
    /// Replaces the configuration of a virtual service.
    SetService(Service),
    /// Deletes a virtual service and its real servers.
    DeleteService(ServiceKey),
    /// Adds a real server to a virtual service.
    AddDestination {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        destination: Destination,
    },
    /// Replaces the configuration of a real server.
    SetDestination {
        /// The virtual service.
        service: ServiceKey,
        /// Its new configuration.
        destination: Destination,
    },
    /// Deletes a real server from a virtual service.
    DeleteDestination {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        destination: DestinationKey,
    },
    /// Zeroes the counters of one virtual service and its real servers, or of all.
    Zero(Option<ServiceKey>),
    /// Deletes all virtual services.
    Flush,
    /// Sets connection timeouts.
    SetTimeouts(TimeoutsChange),
    /// Starts a sync daemon.
    StartSyncDaemon(SyncDaemon),
    /// Stops the sync daemon of a role.
    StopSyncDaemon(SyncRole),
}

impl Change {
    /// The operation, as in the [`operation`](crate::Error::operation) of an
    /// [`Error`](crate::Error).
    pub fn operation(&self) -> Operation {
        match self {
            Self::AddService(_) => Operation::AddService,
            Self::SetService(_) => Operation::SetService,
            Self::DeleteService(_) => Operation::DeleteService,
            Self::AddDestination { .. } => Operation::AddDestination,
            Self::SetDestination { .. } => Operation::SetDestination,
            Self::DeleteDestination { .. } => Operation::DeleteDestination,
            Self::Zero(_) => Operation::Zero,
            Self::Flush => Operation::Flush,
            Self::SetTimeouts(_) => Operation::SetTimeouts,
            Self::StartSyncDaemon(_) => Operation::StartSyncDaemon,
            Self::StopSyncDaemon(_) => Operation::StopSyncDaemon,
        }
    }

    /// The object, if there is one, as in the [`object`](crate::Error::object) of an
    /// [`Error`](crate::Error).
    pub fn object(&self) -> Option<Object> {
        match self {
            Self::AddService(service) | Self::SetService(service) => {
                Some(Object::Service(service.key))
            }
            Self::DeleteService(key) | Self::Zero(Some(key)) => Some(Object::Service(*key)),
            Self::AddDestination { service, destination }
            | Self::SetDestination { service, destination } => {
                Some(Object::Destination(*service, destination.key()))
            }
            Self::DeleteDestination { service, destination } => {
                Some(Object::Destination(*service, *destination))
            }
            Self::Zero(None) => Some(Object::AllServices),
            Self::Flush | Self::SetTimeouts(_) => None,
            Self::StartSyncDaemon(daemon) => Some(Object::SyncDaemon(daemon.role)),
            Self::StopSyncDaemon(role) => Some(Object::SyncDaemon(*role)),
        }
    }

    /// Adds to an error what the change asked for, if the error's text can say more with it.
    pub(crate) fn explain(&self, error: Error) -> Error {
        match self {
            Self::AddService(service) | Self::SetService(service) => {
                error.with_modules(service.scheduler, service.persistence_engine)
            }
            Self::SetTimeouts(timeouts) => error.with_timeouts(*timeouts),
            _ => error,
        }
    }

    /// Passes its request to `take`.
    ///
    /// # Errors
    ///
    /// If the kernel can't represent a value; then `take` isn't called.
    pub(crate) fn with_request<R>(
        &self,
        take: impl FnOnce(&Request<'_>) -> R,
    ) -> Result<R, InvalidInput> {
        let request = |command| Request::new(command, RequestKind::Change);
        Ok(match self {
            Self::AddService(service) => {
                take(&request(Command::NewService).service(&wire::service_to_wire(service)?))
            }
            Self::SetService(service) => {
                take(&request(Command::SetService).service(&wire::service_to_wire(service)?))
            }
            Self::DeleteService(key) => {
                take(&request(Command::DelService).service(&wire::key_to_wire(key)))
            }
            Self::AddDestination { service, destination } => take(
                &request(Command::NewDest)
                    .service(&wire::key_to_wire(service))
                    .dest(&wire::destination_to_wire(destination)?),
            ),
            Self::SetDestination { service, destination } => take(
                &request(Command::SetDest)
                    .service(&wire::key_to_wire(service))
                    .dest(&wire::destination_to_wire(destination)?),
            ),
            Self::DeleteDestination { service, destination } => take(
                &request(Command::DelDest)
                    .service(&wire::key_to_wire(service))
                    .dest(&wire::destination_key_to_wire(destination)),
            ),
            Self::Zero(None) => take(&request(Command::Zero)),
            Self::Zero(Some(key)) => take(&request(Command::Zero).service(&wire::key_to_wire(key))),
            Self::Flush => take(&request(Command::Flush)),
            Self::SetTimeouts(change) => {
                take(&request(Command::SetConfig).timeouts(&wire::timeouts_to_wire(change)?))
            }
            Self::StartSyncDaemon(daemon) => {
                take(&request(Command::NewDaemon).daemon(&wire::daemon_to_wire(daemon)))
            }
            Self::StopSyncDaemon(role) => {
                take(&Request::new(Command::DelDaemon, RequestKind::AcknowledgedChange).daemon(
                    &sys::Daemon {
                        state: Some(wire::role_to_wire(*role)),
                        ..sys::Daemon::default()
                    },
                ))
            }
        })
    }
}

impl From<&Self> for Change {
    fn from(change: &Self) -> Self {
        change.clone()
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation())?;
        self.object().map_or(Ok(()), |object| write!(f, " {object}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_a_small_copy() {
        assert!(!std::mem::needs_drop::<Change>(), "a part of it is on the heap");
        assert!(size_of::<Change>() <= 104, "{} bytes", size_of::<Change>());
    }
}
