//! Calls that read and compare, and write only what differs.

use crate::client::Client;
use crate::error::Error;
use crate::error::invalid_input::InvalidInput;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::model::destination::{Destination, DestinationEntry};
use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::service::Service;
use crate::reconcile::ensured::Ensured;
use crate::transport::Transport;

/// How often to try if another program adds or deletes the object between the client's read and its
/// write. A try fails only if a change comes at just that moment.
pub(super) const TRIES: usize = 8;

impl<T: Transport> Client<T> {
    /// Reads a virtual service, lets `edit` change it, and sets it if that changed anything.
    /// Returns whether it did. If nothing changed, nothing is written: a set that names a new
    /// scheduler takes the kernel milliseconds.
    ///
    /// `edit` is called again if the service was deleted and added in the meantime. A change that
    /// another program makes between the read and the write is overwritten: the kernel can't tell.
    ///
    /// ```
    /// use ipvs::{Scheduler, ServiceKey};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// # client.add_service(&ipvs::Service::new(vip))?;
    /// let changed =
    ///     client.edit_service(&vip, |service| service.scheduler = Some(Scheduler::MH))?;
    /// # assert!(changed);
    /// println!("{}", if changed { "was another" } else { "was mh already" });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::InvalidInput`] if `edit` changes the key;
    /// otherwise as [`set_service`](Self::set_service).
    pub fn edit_service(
        &mut self,
        key: &ServiceKey,
        mut edit: impl FnMut(&mut Service),
    ) -> Result<bool, Error> {
        let mut tries = TRIES;
        loop {
            let old = self.existing_service(Operation::SetService, key)?.service;
            let mut new = old.clone();
            edit(&mut new);
            if new == old {
                return Ok(false);
            }
            if new.key != *key {
                return Err(key_changed(Operation::SetService, Object::Service(*key)));
            }
            tries -= 1;
            match self.set_service(&new) {
                Err(error) if error.kind() == ErrorKind::ServiceNotFound && tries > 0 => {}
                other => return other.map(|()| true),
            }
        }
    }

    /// Reads a real server, lets `edit` change it, and sets it if that changed anything. Returns
    /// whether it did. If nothing changed, nothing is written: `sh`, `dh` and `mh` would rebuild
    /// their tables.
    ///
    /// `edit` is called again if the real server was deleted and added in the meantime. A change
    /// that another program makes between the read and the write is overwritten: the kernel can't
    /// tell.
    ///
    /// ```
    /// use ipvs::ServiceKey;
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
    /// let server = "10.10.10.102:80".parse()?;
    /// # client.add_service(&ipvs::Service::new(vip))?;
    /// # client.add_destination(&vip, &ipvs::Destination::new(server))?;
    /// // Keep its connections, but send it no new ones.
    /// client.edit_destination(&vip, &server, |server| server.weight = 0)?;
    /// # assert_eq!(client.destinations(&vip)?[0].destination.weight, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationNotFound`];
    /// [`ErrorKind::InvalidInput`] if `edit` changes the address or the port; otherwise as
    /// [`set_destination`](Self::set_destination).
    pub fn edit_destination(
        &mut self,
        service: &ServiceKey,
        key: &DestinationKey,
        mut edit: impl FnMut(&mut Destination),
    ) -> Result<bool, Error> {
        let operation = Operation::SetDestination;
        let object = Object::Destination(*service, *key);
        let mut tries = TRIES;
        loop {
            let Some(DestinationEntry { destination: old, .. }) = self.destination(service, key)?
            else {
                return Err(Error::new(operation, Some(object), ErrorKind::DestinationNotFound));
            };
            let mut new = old;
            edit(&mut new);
            if new == old {
                return Ok(false);
            }
            if new.key() != *key {
                return Err(key_changed(operation, object));
            }
            tries -= 1;
            match self.set_destination(service, &new) {
                Err(error) if error.kind() == ErrorKind::DestinationNotFound && tries > 0 => {}
                other => return other.map(|()| true),
            }
        }
    }

    /// Ensures a virtual service with this configuration: adds it, sets it, or leaves it alone, and
    /// returns what it did. Its real servers and counters stay.
    ///
    /// ```
    /// use ipvs::{Ensured, Service, ServiceKey};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let service = Service::new("tcp/10.10.10.53:80".parse::<ServiceKey>()?);
    /// client.ensure_service(&service)?;
    /// assert_eq!(client.ensure_service(&service)?, Ensured::Unchanged);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`add_service`](Self::add_service) and [`set_service`](Self::set_service), but
    /// [`ErrorKind::ServiceExists`] or [`ErrorKind::ServiceNotFound`] only if another program keeps
    /// deleting and adding the service.
    pub fn ensure_service(&mut self, service: &Service) -> Result<Ensured, Error> {
        let mut tries = TRIES;
        loop {
            let (done, outcome, race) = match self.service(&service.key)? {
                Some(entry) if entry.service == *service => return Ok(Ensured::Unchanged),
                Some(_) => {
                    (Ensured::Changed, self.set_service(service), ErrorKind::ServiceNotFound)
                }
                None => (Ensured::Added, self.add_service(service), ErrorKind::ServiceExists),
            };
            tries -= 1;
            match outcome {
                Err(error) if error.kind() == race && tries > 0 => {}
                other => return other.map(|()| done),
            }
        }
    }

    /// Ensures a real server with this configuration: adds it to its virtual service, sets it, or
    /// leaves it alone, and returns what it did. Its connections and counters stay.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; otherwise as [`add_destination`](Self::add_destination) and
    /// [`set_destination`](Self::set_destination), but [`ErrorKind::DestinationExists`] or
    /// [`ErrorKind::DestinationNotFound`] only if another program keeps deleting and adding the
    /// real server.
    pub fn ensure_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<Ensured, Error> {
        let mut tries = TRIES;
        loop {
            // A list that wrongly lacks it does no harm here: it can't be added twice.
            let (done, outcome, race) = match self.find_destination(service, &destination.key())? {
                Found::Entry(entry) if entry.destination == *destination => {
                    return Ok(Ensured::Unchanged);
                }
                Found::Entry(_) => (
                    Ensured::Changed,
                    self.set_destination(service, destination),
                    ErrorKind::DestinationNotFound,
                ),
                Found::Others | Found::Nothing => (
                    Ensured::Added,
                    self.add_destination(service, destination),
                    ErrorKind::DestinationExists,
                ),
            };
            tries -= 1;
            match outcome {
                Err(error) if error.kind() == race && tries > 0 => {}
                other => return other.map(|()| done),
            }
        }
    }

    /// Deletes a virtual service and its real servers if it exists. Returns whether it did.
    ///
    /// # Errors
    ///
    /// As [`delete_service`](Self::delete_service), except [`ErrorKind::ServiceNotFound`].
    pub fn remove_service(&mut self, key: &ServiceKey) -> Result<bool, Error> {
        match self.delete_service(key) {
            Err(error) if error.kind() == ErrorKind::ServiceNotFound => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Deletes a real server from a virtual service if both exist. Returns whether they did.
    ///
    /// # Errors
    ///
    /// As [`delete_destination`](Self::delete_destination), except [`ErrorKind::ServiceNotFound`]
    /// and [`ErrorKind::DestinationNotFound`].
    pub fn remove_destination(
        &mut self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> Result<bool, Error> {
        match self.delete_destination(service, destination) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ServiceNotFound | ErrorKind::DestinationNotFound
                ) =>
            {
                Ok(false)
            }
            other => other.map(|()| true),
        }
    }

    /// The real server with that address and port, if the virtual service has it. The kernel can
    /// only list all of them; to look up many, read [`destinations`](Self::destinations) once.
    ///
    /// A list may lack entries if another program deletes others at the same time, so a list
    /// without this real server is read again before it is believed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    pub fn destination(
        &mut self,
        service: &ServiceKey,
        key: impl Into<DestinationKey>,
    ) -> Result<Option<DestinationEntry>, Error> {
        let key = &key.into();
        if let Found::Entry(entry) = self.find_destination(service, key)? {
            return Ok(Some(*entry));
        }
        match self.find_destination(service, key)? {
            Found::Entry(entry) => Ok(Some(*entry)),
            Found::Others => Ok(None),
            // The list for a missing service is empty, too.
            Found::Nothing => self.existing_service(Operation::Destination, service).map(|_| None),
        }
    }

    fn find_destination(
        &mut self,
        service: &ServiceKey,
        key: &DestinationKey,
    ) -> Result<Found, Error> {
        let object = Some(Object::Destination(*service, *key));
        let mut entries = self.list_destinations(Operation::Destination, object, service)?;
        self.drop_unestimated_rates(entries.iter_mut().map(|entry| &mut entry.stats));
        if entries.is_empty() {
            return Ok(Found::Nothing);
        }
        let found = entries.into_iter().find(|entry| entry.destination.key() == *key);
        Ok(found.map_or(Found::Others, |entry| Found::Entry(Box::new(entry))))
    }
}

/// The result of looking up a real server in a list.
enum Found {
    Entry(Box<DestinationEntry>),
    Others,
    /// The list is empty: the service may not exist.
    Nothing,
}

fn key_changed(operation: Operation, object: Object) -> Error {
    Error::new(operation, Some(object), ErrorKind::InvalidInput)
        .with_source(InvalidInput::KeyChanged)
}
