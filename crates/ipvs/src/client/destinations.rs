//! Real servers.

use ipvs_sys::Command;

use crate::change::Change;
use crate::client::Client;
use crate::error::Error;
#[cfg(doc)]
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::destination::{Destination, DestinationEntry};
use crate::model::key::{DestinationKey, ServiceKey};
use crate::proto::request::{Request, RequestKind};
use crate::transport::Transport;
use crate::wire;
use crate::wire::MalformedReply;

impl<T: Transport> Client<T> {
    /// The real servers of a virtual service, in the kernel's order (`IPVS_CMD_GET_DEST`, as a
    /// dump). A service without any gives an empty list.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]: the kernel itself answers with an empty list there, so an
    /// empty one is checked.
    pub fn destinations(&mut self, service: &ServiceKey) -> Result<Vec<DestinationEntry>, Error> {
        let operation = Operation::Destinations;
        let mut entries =
            self.list_destinations(operation, Some(Object::Service(*service)), service)?;
        self.drop_unestimated_rates(entries.iter_mut().map(|entry| &mut entry.stats));
        if entries.is_empty() {
            self.existing_service(operation, service)?;
        }
        Ok(entries)
    }

    /// The kernel's own list: empty, too, if there's no such service, and with rates even if they
    /// aren't estimated.
    pub(super) fn list_destinations(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        service: &ServiceKey,
    ) -> Result<Vec<DestinationEntry>, Error> {
        let wire = wire::key_to_wire(service);
        let family = service.family();
        let request = Request::new(Command::GetDest, RequestKind::Dump).service(&wire);
        self.list(operation, object, &request, |message| {
            let dest = message.dest.as_ref().ok_or(MalformedReply::Missing("destination"))?;
            wire::destination_from_wire(dest, family)
        })
    }

    /// Adds a real server to a virtual service (`IPVS_CMD_NEW_DEST`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationExists`];
    /// [`ErrorKind::OutOfRange`] for a weight above 2,147,483,647 or a lower threshold above the
    /// upper one; [`ErrorKind::InvalidArgument`] for an address that isn't unicast, a GUE port 0,
    /// another address family without a tunnel, or an upper threshold above 2,147,483,647, which
    /// kernels before Linux 7.2 may store ([`Destination::upper_threshold`]).
    pub fn add_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        self.change(Change::AddDestination { service: *service, destination: *destination })
    }

    /// Replaces the configuration of a real server as a whole, and leaves its connections and
    /// counters alone (`IPVS_CMD_SET_DEST`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DestinationNotFound`]; else as [`add_destination`](Self::add_destination).
    pub fn set_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        self.change(Change::SetDestination { service: *service, destination: *destination })
    }

    /// Takes a real server out of a virtual service (`IPVS_CMD_DEL_DEST`). Its connections end
    /// as their packets come, unless it is added again soon.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationNotFound`].
    pub fn delete_destination(
        &mut self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> Result<(), Error> {
        let destination = destination.into();
        self.change(Change::DeleteDestination { service: *service, destination })
    }
}
