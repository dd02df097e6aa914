//! The whole table, read so that concurrent changes don't tear it.

use crate::{DestinationEntry, ServiceEntry, ServiceKey, Table, TableService};

/// All virtual services of a network namespace with their real servers, as they were together at
/// one time: what [`Client::snapshot`](crate::Client::snapshot) reads.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The virtual services, in the kernel's order.
    pub services: Vec<ServiceSnapshot>,
    /// How many times the table was read until it was the same often enough.
    pub passes: u32,
}

impl Snapshot {
    /// A snapshot of these services.
    pub fn new(services: impl IntoIterator<Item = ServiceSnapshot>) -> Self {
        Self { services: services.into_iter().collect(), passes: 0 }
    }

    /// The virtual service of that key, if it is there.
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceSnapshot> {
        self.services.iter().find(|service| service.entry.service.key == *key)
    }

    /// What is configured, without what was counted: to be compared with the table that is wanted.
    pub fn table(&self) -> Table {
        self.clone().into_table()
    }

    /// As [`table`](Self::table), without copying.
    pub fn into_table(self) -> Table {
        let services = self.services.into_iter().map(|ServiceSnapshot { entry, destinations }| {
            let mut service = TableService::new(entry.service);
            service.extend(destinations.into_iter().map(|entry| entry.destination));
            service
        });
        services.collect()
    }

    /// Whether both have the same configuration in the same order, whatever was counted. The kernel
    /// puts what is added first, so an entry that was deleted and added again meanwhile often shows.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        let same = |(a, b): (&ServiceSnapshot, &ServiceSnapshot)| {
            a.entry.service == b.entry.service
                && a.destinations.len() == b.destinations.len()
                && (a.destinations.iter().zip(&b.destinations))
                    .all(|(a, b)| a.destination == b.destination)
        };
        self.services.len() == other.services.len()
            && self.services.iter().zip(&other.services).all(same)
    }
}

/// A virtual service in a [`Snapshot`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServiceSnapshot {
    /// The virtual service.
    pub entry: ServiceEntry,
    /// Its real servers, in the kernel's order.
    pub destinations: Vec<DestinationEntry>,
}

impl ServiceSnapshot {
    /// A virtual service without real servers.
    pub fn new(entry: ServiceEntry) -> Self {
        Self { entry, destinations: Vec::new() }
    }

    /// Sets the real servers.
    #[must_use]
    pub fn destinations(
        mut self,
        destinations: impl IntoIterator<Item = DestinationEntry>,
    ) -> Self {
        self.destinations = destinations.into_iter().collect();
        self
    }
}

/// How hard to try for a [`Snapshot`].
///
/// ```
/// use ipvs::SnapshotOptions;
///
/// let thorough = SnapshotOptions::default().agreeing(3).max_passes(20);
/// assert_eq!(SnapshotOptions::default().agreeing, 2);
/// # let _ = thorough;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// How many passes in a row have to agree: 2 by default. 1 is a single pass that may lack
    /// entries which nobody touched; 0 counts as 1.
    pub agreeing: u32,
    /// How many times to read the table at most: 10 by default. Less than `agreeing` counts as
    /// `agreeing`.
    pub max_passes: u32,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self { agreeing: 2, max_passes: 10 }
    }
}

impl SnapshotOptions {
    /// Sets how many passes in a row have to agree.
    #[must_use]
    pub fn agreeing(mut self, passes: u32) -> Self {
        self.agreeing = passes;
        self
    }

    /// Sets how many times to read the table at most.
    #[must_use]
    pub fn max_passes(mut self, passes: u32) -> Self {
        self.max_passes = passes;
        self
    }
}
