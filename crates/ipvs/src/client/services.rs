//! Virtual services.

use ipvs_sys as sys;
use ipvs_sys::Command;

use crate::change::Change;
use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::key::ServiceKey;
use crate::model::service::{Service, ServiceEntry};
use crate::proto::request::{Request, RequestKind};
use crate::transport::Transport;
use crate::wire;
use crate::wire::MalformedReply;

impl<T: Transport> Client<T> {
    /// All virtual services, in the kernel's order: `ipvsadm -L` without real servers. An empty
    /// table is an empty list.
    ///
    /// The kernel returns the list in parts: if other programs delete services in the meantime, it
    /// may lack some that nobody touched. [`snapshot`](Self::snapshot) reads a consistent table.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    pub fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let mut entries = self.list_services()?;
        self.drop_unestimated_rates(entries.iter_mut().map(|entry| &mut entry.stats));
        Ok(entries)
    }

    /// The kernel's own list: with rates even if they aren't estimated.
    pub(super) fn list_services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let request = Request::new(Command::GetService, RequestKind::Dump);
        self.list(Operation::Services, None, &request, decode_service)
    }

    /// The virtual service with that key, if there is one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    #[doc(alias = "IPVS_CMD_GET_SERVICE")]
    pub fn service(&mut self, key: &ServiceKey) -> Result<Option<ServiceEntry>, Error> {
        let mut found = self.found_service(key)?;
        self.drop_unestimated_rates(found.iter_mut().map(|entry| &mut entry.stats));
        Ok(found)
    }

    /// As [`service`](Self::service), with rates even if they aren't estimated.
    pub(super) fn found_service(
        &mut self,
        key: &ServiceKey,
    ) -> Result<Option<ServiceEntry>, Error> {
        match self.existing_service(Operation::Service, key) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind() == ErrorKind::ServiceNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn existing_service(
        &mut self,
        operation: Operation,
        key: &ServiceKey,
    ) -> Result<ServiceEntry, Error> {
        let wire = wire::key_to_wire(key);
        let request = Request::new(Command::GetService, RequestKind::Get).service(&wire);
        self.get(operation, Some(Object::Service(*key)), &request, decode_service)
    }

    /// Adds a virtual service: `ipvsadm -A`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceExists`]; [`ErrorKind::SchedulerOrPersistenceEngineNotFound`];
    /// [`ErrorKind::InvalidInput`] for values that the kernel can't represent.
    #[doc(alias = "IPVS_CMD_NEW_SERVICE")]
    pub fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        self.change(Change::AddService(service.clone()))
    }

    /// Replaces the whole configuration of a virtual service, and leaves its real servers and
    /// counters alone: `ipvsadm -E`. Changing the scheduler takes the kernel some milliseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; otherwise as [`add_service`](Self::add_service).
    #[doc(alias = "IPVS_CMD_SET_SERVICE")]
    pub fn set_service(&mut self, service: &Service) -> Result<(), Error> {
        self.change(Change::SetService(service.clone()))
    }

    /// Deletes a virtual service and its real servers: `ipvsadm -D`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    #[doc(alias = "IPVS_CMD_DEL_SERVICE")]
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        self.change(Change::DeleteService(*key))
    }

    /// Zeroes the counters of a virtual service and its real servers, or with `None` all counters:
    /// `ipvsadm -Z`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    #[doc(alias = "IPVS_CMD_ZERO")]
    pub fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Error> {
        self.change(Change::Zero(service.copied()))
    }

    /// Deletes all virtual services of the network namespace: `ipvsadm -C`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    #[doc(alias = "IPVS_CMD_FLUSH")]
    pub fn flush(&mut self) -> Result<(), Error> {
        self.change(Change::Flush)
    }
}

fn decode_service(message: &sys::Message) -> Result<ServiceEntry, MalformedReply> {
    wire::service_from_wire(message.service.as_ref().ok_or(MalformedReply::Missing("service"))?)
}
