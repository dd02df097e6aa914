//! What the kernel can be asked to change: the one place where an operation, what it is about and
//! its request meet. Single calls and batches both go through it.

use ipvs_sys as sys;
use ipvs_sys::Command;

use crate::error::{Object, Operation};
use crate::proto::{Request, Shape};
use crate::{
    Destination, DestinationKey, InvalidInput, Service, ServiceKey, SyncDaemon, SyncRole,
    TimeoutsChange, wire,
};

/// A change of one object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    AddService(&'a Service),
    SetService(&'a Service),
    DeleteService(&'a ServiceKey),
    AddDestination(&'a ServiceKey, &'a Destination),
    SetDestination(&'a ServiceKey, &'a Destination),
    DeleteDestination(&'a ServiceKey, &'a DestinationKey),
    Zero(Option<&'a ServiceKey>),
    Flush,
    SetTimeouts(&'a TimeoutsChange),
    StartSyncDaemon(&'a SyncDaemon),
    StopSyncDaemon(SyncRole),
}

impl Change<'_> {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::AddService(_) => Operation::AddService,
            Self::SetService(_) => Operation::SetService,
            Self::DeleteService(_) => Operation::DeleteService,
            Self::AddDestination(..) => Operation::AddDestination,
            Self::SetDestination(..) => Operation::SetDestination,
            Self::DeleteDestination(..) => Operation::DeleteDestination,
            Self::Zero(_) => Operation::Zero,
            Self::Flush => Operation::Flush,
            Self::SetTimeouts(_) => Operation::SetTimeouts,
            Self::StartSyncDaemon(_) => Operation::StartSyncDaemon,
            Self::StopSyncDaemon(_) => Operation::StopSyncDaemon,
        }
    }

    pub(crate) fn object(&self) -> Option<Object> {
        match *self {
            Self::AddService(service) | Self::SetService(service) => {
                Some(Object::Service(service.key))
            }
            Self::DeleteService(key) | Self::Zero(Some(key)) => Some(Object::Service(*key)),
            Self::AddDestination(service, destination)
            | Self::SetDestination(service, destination) => {
                Some(Object::Destination(*service, destination.key()))
            }
            Self::DeleteDestination(service, key) => Some(Object::Destination(*service, *key)),
            Self::Zero(None) => Some(Object::AllServices),
            Self::Flush | Self::SetTimeouts(_) => None,
            Self::StartSyncDaemon(daemon) => Some(Object::SyncDaemon(daemon.role)),
            Self::StopSyncDaemon(role) => Some(Object::SyncDaemon(role)),
        }
    }

    /// Gives `take` the request for it.
    ///
    /// # Errors
    ///
    /// If the kernel has no place for a value; then `take` isn't called.
    pub(crate) fn with_request<R>(
        &self,
        take: impl FnOnce(&Request<'_>) -> R,
    ) -> Result<R, InvalidInput> {
        let request = |command| Request::new(command, Shape::Change);
        Ok(match *self {
            Self::AddService(service) => {
                take(&request(Command::NewService).service(&wire::service_to_wire(service)?))
            }
            Self::SetService(service) => {
                take(&request(Command::SetService).service(&wire::service_to_wire(service)?))
            }
            Self::DeleteService(key) => {
                take(&request(Command::DelService).service(&wire::key_to_wire(key)))
            }
            Self::AddDestination(service, destination) => take(
                &request(Command::NewDest)
                    .service(&wire::key_to_wire(service))
                    .dest(&wire::destination_to_wire(destination)),
            ),
            Self::SetDestination(service, destination) => take(
                &request(Command::SetDest)
                    .service(&wire::key_to_wire(service))
                    .dest(&wire::destination_to_wire(destination)),
            ),
            Self::DeleteDestination(service, destination) => take(
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
            Self::StopSyncDaemon(role) => take(
                &Request::new(Command::DelDaemon, Shape::AcknowledgedChange).daemon(&sys::Daemon {
                    state: Some(wire::role_to_wire(role)),
                    ..sys::Daemon::default()
                }),
            ),
        })
    }
}
