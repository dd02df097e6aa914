//! Virtual services.

use ipvs_sys as sys;
use ipvs_sys::Command;

use super::Client;
use super::exchange::invalid;
use crate::error::{Error, ErrorKind, Object, Operation};
use crate::proto::{Request, Shape};
use crate::transport::Transport;
use crate::wire::{self, Implausible};
use crate::{Service, ServiceEntry, ServiceKey};

impl<T: Transport> Client<T> {
    /// All virtual services, in the kernel's order (`IPVS_CMD_GET_SERVICE`, as a dump). An empty
    /// table is an empty list.
    ///
    /// The kernel cuts the list into parts: if others delete services meanwhile, it may lack
    /// some that nobody touched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let request = Request::new(Command::GetService, Shape::Dump);
        self.list(Operation::Services, None, &request, decode_service)
    }

    /// The virtual service of that key, if there is one (`IPVS_CMD_GET_SERVICE`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn service(&mut self, key: &ServiceKey) -> Result<Option<ServiceEntry>, Error> {
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
        let request = Request::new(Command::GetService, Shape::Get).service(&wire);
        self.get(operation, Some(Object::Service(*key)), &request, decode_service)
    }

    /// Adds a virtual service (`IPVS_CMD_NEW_SERVICE`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceExists`]; [`ErrorKind::SchedulerOrEngineNotFound`];
    /// [`ErrorKind::InvalidInput`] for what the kernel has no place for.
    pub fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        self.write_service(Operation::AddService, Command::NewService, service)
    }

    /// Replaces the configuration of a virtual service as a whole, and leaves its real servers
    /// and counters alone (`IPVS_CMD_SET_SERVICE`). A change of the scheduler costs the kernel
    /// some milliseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; else as [`add_service`](Self::add_service).
    pub fn set_service(&mut self, service: &Service) -> Result<(), Error> {
        self.write_service(Operation::SetService, Command::SetService, service)
    }

    fn write_service(
        &mut self,
        operation: Operation,
        command: Command,
        service: &Service,
    ) -> Result<(), Error> {
        let object = Some(Object::Service(service.key));
        let wire = wire::service_to_wire(service).map_err(invalid(operation, object))?;
        let request = Request::new(command, Shape::Change).service(&wire);
        self.change(operation, object, &request)
    }

    /// Deletes a virtual service and its real servers (`IPVS_CMD_DEL_SERVICE`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        let wire = wire::key_to_wire(key);
        let request = Request::new(Command::DelService, Shape::Change).service(&wire);
        self.change(Operation::DeleteService, Some(Object::Service(*key)), &request)
    }

    /// Starts the counters of one virtual service and its real servers at 0 again, or those of
    /// all (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    pub fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Error> {
        let wire = service.map(wire::key_to_wire);
        let mut request = Request::new(Command::Zero, Shape::Change);
        request.service = wire.as_ref();
        let object = service.map_or(Object::AllServices, |key| Object::Service(*key));
        self.change(Operation::Zero, Some(object), &request)
    }

    /// Deletes all virtual services of the network namespace (`IPVS_CMD_FLUSH`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.change(Operation::Flush, None, &Request::new(Command::Flush, Shape::Change))
    }
}

fn decode_service(message: &sys::Message) -> Result<ServiceEntry, Implausible> {
    wire::service_from_wire(message.service.as_ref().ok_or(Implausible::Missing("service"))?)
}
