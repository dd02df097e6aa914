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
    /// The real servers of a virtual service, in the kernel's order: `ipvsadm -L -t SERVICE`. The
    /// list is empty for a service without any.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]. (The kernel itself returns an empty list then, so this call
    /// checks an empty list.)
    #[doc(alias = "IPVS_CMD_GET_DEST")]
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

    /// The kernel's own list: also empty for a missing service, and with rates even if they aren't
    /// estimated.
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

    /// Adds a real server to a virtual service: `ipvsadm -a`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationExists`];
    /// [`ErrorKind::OutOfRange`] for a weight above 2,147,483,647 or a lower threshold above the
    /// upper one; [`ErrorKind::InvalidArgument`] for an address that isn't unicast, a GUE port 0,
    /// another address family without a tunnel, or an upper threshold above 2,147,483,647, which
    /// kernels before Linux 7.2 may store ([`Destination::upper_threshold`]).
    #[doc(alias = "IPVS_CMD_NEW_DEST")]
    pub fn add_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        self.change(Change::AddDestination { service: *service, destination: *destination })
    }

    /// Replaces the whole configuration of a real server, and leaves its connections and counters
    /// alone: `ipvsadm -e`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DestinationNotFound`]; otherwise as [`add_destination`](Self::add_destination).
    #[doc(alias = "IPVS_CMD_SET_DEST")]
    pub fn set_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        self.change(Change::SetDestination { service: *service, destination: *destination })
    }

    /// Deletes a real server from a virtual service: `ipvsadm -d`. Its connections end when their
    /// next packet comes, unless it is added again soon.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationNotFound`].
    #[doc(alias = "IPVS_CMD_DEL_DEST")]
    pub fn delete_destination(
        &mut self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> Result<(), Error> {
        let destination = destination.into();
        self.change(Change::DeleteDestination { service: *service, destination })
    }
}
