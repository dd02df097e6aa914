//! Virtual services with their real servers: what a user wants, or what a kernel has.

use std::collections::{BTreeMap, btree_map};
use std::ops::{Deref, DerefMut};

use crate::model::destination::Destination;
use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::service::Service;

/// A virtual service with its real servers, as a user wants them.
///
/// ```
/// use ipvs::{Destination, Scheduler, Service, ServiceKey, TableService};
/// use std::net::SocketAddr;
///
/// let key = ServiceKey::tcp("10.10.10.53:80".parse()?);
/// let web = TableService::new(Service::new(key).scheduler(Scheduler::RR))
///     .destination(Destination::new("10.10.10.102:80".parse()?))
///     .destination(Destination::new("10.10.10.103:80".parse()?));
/// assert_eq!(web.destinations().count(), 2);
/// # Ok::<(), ipvs::ParseKeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableService {
    // Private, because an entry has to stay under its own key.
    service: Service,
    destinations: BTreeMap<DestinationKey, Destination>,
}

impl TableService {
    /// A virtual service without real servers.
    pub fn new(service: Service) -> Self {
        Self { service, destinations: BTreeMap::new() }
    }

    /// Adds a real server, or replaces the one with the same address and port.
    #[must_use]
    pub fn destination(mut self, destination: Destination) -> Self {
        self.insert(destination);
        self
    }

    /// Adds a real server, and returns the one with the same address and port that it replaces.
    pub fn insert(&mut self, destination: Destination) -> Option<Destination> {
        self.destinations.insert(destination.key(), destination)
    }

    /// Removes a real server, and returns it if it was there.
    pub fn remove(&mut self, key: &DestinationKey) -> Option<Destination> {
        self.destinations.remove(key)
    }

    /// The virtual service itself.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// The key that identifies the virtual service.
    pub fn key(&self) -> &ServiceKey {
        &self.service.key
    }

    /// The real server with that address and port.
    pub fn get(&self, key: &DestinationKey) -> Option<&Destination> {
        self.destinations.get(key)
    }

    /// The real server with that address and port, mutably. If its address or port is changed, it
    /// replaces the real server that had them.
    ///
    /// ```
    /// use ipvs::{Destination, Service, TableService};
    ///
    /// let mut web = TableService::new(Service::new("tcp/10.10.10.53:80".parse()?))
    ///     .destination(Destination::new("10.10.10.102:80".parse()?));
    /// if let Some(mut server) = web.get_mut(&"10.10.10.102:80".parse()?) {
    ///     server.weight = 0;
    /// }
    /// assert!(web.destinations().all(|server| server.weight == 0));
    /// # Ok::<(), ipvs::ParseKeyError>(())
    /// ```
    pub fn get_mut(&mut self, key: &DestinationKey) -> Option<DestinationMut<'_>> {
        let destination = *self.destinations.get(key)?;
        Some(DestinationMut { destinations: &mut self.destinations, key: *key, destination })
    }

    /// The real servers, in the order of their keys.
    pub fn destinations(&self) -> impl ExactSizeIterator<Item = &Destination> + Clone {
        self.destinations.values()
    }

    /// Its parts: the virtual service and its real servers, in the order of their keys.
    pub fn into_parts(self) -> (Service, impl ExactSizeIterator<Item = Destination>) {
        (self.service, self.destinations.into_values())
    }
}

/// A mutable real server of a [`TableService`]: [`TableService::get_mut`]. The change is in the
/// table once this is dropped.
#[derive(Debug)]
pub struct DestinationMut<'a> {
    destinations: &'a mut BTreeMap<DestinationKey, Destination>,
    /// The key it is stored under.
    key: DestinationKey,
    destination: Destination,
}

impl Deref for DestinationMut<'_> {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.destination
    }
}

impl DerefMut for DestinationMut<'_> {
    fn deref_mut(&mut self) -> &mut Destination {
        &mut self.destination
    }
}

impl Drop for DestinationMut<'_> {
    fn drop(&mut self) {
        let key = self.destination.key();
        if key != self.key {
            self.destinations.remove(&self.key);
        }
        self.destinations.insert(key, self.destination);
    }
}

impl<'a> IntoIterator for &'a TableService {
    type Item = &'a Destination;
    type IntoIter = btree_map::Values<'a, DestinationKey, Destination>;

    /// The real servers, in the order of their keys.
    fn into_iter(self) -> Self::IntoIter {
        self.destinations.values()
    }
}

impl From<Service> for TableService {
    fn from(service: Service) -> Self {
        Self::new(service)
    }
}

impl Extend<Destination> for TableService {
    fn extend<I: IntoIterator<Item = Destination>>(&mut self, destinations: I) {
        for destination in destinations {
            self.insert(destination);
        }
    }
}

/// A whole table of virtual services with their real servers: the state that a user wants, or
/// the one that a kernel has, without counters.
///
/// It is a map: each virtual service is in it once, and each real server once in its service.
/// Adding one again replaces the earlier one. (Reading a table with serde refuses duplicates
/// instead, because in a file they are mistakes.)
///
/// ```
/// use ipvs::{Destination, Service, ServiceKey, Table, TableService};
/// use std::net::SocketAddr;
///
/// let key = ServiceKey::tcp("10.10.10.53:80".parse()?);
/// let server = Destination::new("10.10.10.102:80".parse()?);
/// let table = Table::new().with(TableService::new(Service::new(key)).destination(server.clone()));
/// assert_eq!(table.get(&key).and_then(|web| web.get(&server.key())), Some(&server));
/// # Ok::<(), ipvs::ParseKeyError>(())
/// ```
#[cfg_attr(feature = "serde", doc = "", doc = include_str!("../serde/format.md"))]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    services: BTreeMap<ServiceKey, TableService>,
}

impl Table {
    /// A table without virtual services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a virtual service with its real servers, or replaces the one with the same key,
    /// including its real servers.
    #[must_use]
    pub fn with(mut self, service: impl Into<TableService>) -> Self {
        self.insert(service);
        self
    }

    /// Adds a virtual service with its real servers, and returns what it replaces: the one with the
    /// same key, including its real servers.
    pub fn insert(&mut self, service: impl Into<TableService>) -> Option<TableService> {
        let service = service.into();
        self.services.insert(*service.key(), service)
    }

    /// Replaces the configuration of a virtual service and keeps its real servers, or adds it
    /// without any. Returns the configuration that it replaces.
    pub fn insert_service(&mut self, service: Service) -> Option<Service> {
        match self.services.entry(service.key) {
            btree_map::Entry::Occupied(mut entry) => {
                Some(std::mem::replace(&mut entry.get_mut().service, service))
            }
            btree_map::Entry::Vacant(entry) => {
                entry.insert(TableService::new(service));
                None
            }
        }
    }

    /// Removes a virtual service with its real servers, and returns them if they were there.
    pub fn remove(&mut self, key: &ServiceKey) -> Option<TableService> {
        self.services.remove(key)
    }

    /// A virtual service with its real servers.
    pub fn get(&self, key: &ServiceKey) -> Option<&TableService> {
        self.services.get(key)
    }

    /// A virtual service, to change its real servers.
    pub fn get_mut(&mut self, key: &ServiceKey) -> Option<&mut TableService> {
        self.services.get_mut(key)
    }

    /// Whether it has no virtual services.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The number of virtual services.
    pub fn len(&self) -> usize {
        self.services.len()
    }

    /// The virtual services with their real servers, in the order of their keys.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &TableService> + Clone {
        self.services.values()
    }
}

impl Extend<TableService> for Table {
    fn extend<I: IntoIterator<Item = TableService>>(&mut self, services: I) {
        for service in services {
            self.insert(service);
        }
    }
}

impl FromIterator<TableService> for Table {
    fn from_iter<I: IntoIterator<Item = TableService>>(services: I) -> Self {
        let mut table = Self::new();
        table.extend(services);
        table
    }
}

impl IntoIterator for Table {
    type Item = TableService;
    type IntoIter = btree_map::IntoValues<ServiceKey, TableService>;

    /// The virtual services with their real servers, in the order of their keys.
    fn into_iter(self) -> Self::IntoIter {
        self.services.into_values()
    }
}

impl<'a> IntoIterator for &'a Table {
    type Item = &'a TableService;
    type IntoIter = btree_map::Values<'a, ServiceKey, TableService>;

    /// The virtual services with their real servers, in the order of their keys.
    fn into_iter(self) -> Self::IntoIter {
        self.services.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::name::Scheduler;

    fn key() -> ServiceKey {
        "tcp/192.0.2.53:80".parse().unwrap()
    }

    fn server() -> Destination {
        Destination::new("192.0.2.1:80".parse().unwrap())
    }

    #[test]
    fn what_is_inserted_again_is_replaced() {
        let first = TableService::new(Service::new(key())).destination(server());
        let mut table = Table::new().with(first.clone());
        assert_eq!(table.insert(Service::new(key())), Some(first));
        assert_eq!((table.len(), table.services().next().unwrap().destinations().len()), (1, 0));

        let entry = table.get_mut(&key()).unwrap();
        assert_eq!(entry.insert(server()), None);
        assert_eq!(entry.insert(server().weight(7)), Some(server()));
        assert_eq!(entry.get(&server().key()).map(|server| server.weight), Some(7));
    }

    #[test]
    fn a_real_server_that_is_changed_stays_filed_under_its_key() {
        let other: DestinationKey = "192.0.2.2:80".parse().unwrap();
        let mut service = TableService::new(Service::new(key()))
            .destination(server())
            .destination(Destination::new(other).weight(9));
        service.get_mut(&server().key()).unwrap().weight = 5;
        assert_eq!(service.get(&server().key()), Some(&server().weight(5)));
        service.get_mut(&server().key()).unwrap().addr = other.addr;
        assert_eq!(service.get(&server().key()), None);
        assert_eq!(service.into_iter().collect::<Vec<_>>(), [&Destination::new(other).weight(5)]);
        assert!(service.get_mut(&server().key()).is_none());
    }

    #[test]
    fn a_service_is_reconfigured_without_its_servers() {
        let mut table =
            Table::new().with(TableService::new(Service::new(key())).destination(server()));
        let round_robin = Service::new(key()).scheduler(Scheduler::RR);
        assert_eq!(table.insert_service(round_robin.clone()), Some(Service::new(key())));
        let expected = TableService::new(round_robin).destination(server());
        assert_eq!(table, Table::new().with(expected));
    }
}
