//! What has changed in a kernel's table between two snapshots.

use std::collections::BTreeMap;

use crate::model::destination::{Destination, DestinationEntry};
use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::service::Service;
use crate::model::snapshot::{ServiceSnapshot, Snapshot, SnapshotOptions};
use crate::model::stats::Stats;
use crate::trace;

/// A change in a kernel's table, as [`Watch`] sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TableChange {
    /// A virtual service was added. Its real servers follow.
    ServiceAdded(Service),
    /// The configuration of a virtual service changed.
    ServiceChanged {
        /// As it was.
        from: Service,
        /// As it is.
        to: Service,
    },
    /// A virtual service was deleted, after its real servers.
    ServiceRemoved(Service),
    /// A real server was added.
    DestinationAdded {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        destination: Destination,
    },
    /// The configuration of a real server changed.
    DestinationChanged {
        /// The virtual service.
        service: ServiceKey,
        /// As it was.
        from: Destination,
        /// As it is.
        to: Destination,
    },
    /// A real server was deleted.
    DestinationRemoved {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        destination: Destination,
    },
    /// There was traffic since the last look: see [`Watch::counters`].
    Carried {
        /// The virtual service.
        service: ServiceKey,
        /// The real server, or `None` for all of the service's traffic.
        destination: Option<DestinationKey>,
        /// The traffic since the last look, with current rates. Counters that were zeroed since
        /// then, or that are 32 bits wide and overflowed, count from 0.
        carried: Stats,
    },
}

/// Watches a kernel's table by polling, because IPVS has no notifications. What comes and goes
/// between two looks isn't seen.
///
/// [`poll`](Self::poll) and [`changes`](Self::changes) read the table; [`update`](Self::update)
/// does no I/O and takes a snapshot.
///
/// ```no_run
/// use std::time::Duration;
/// use ipvs::{Client, TableChange, Watch};
///
/// let mut client = Client::connect()?;
/// for change in Watch::new().changes(&mut client, Duration::from_secs(1)) {
///     if let TableChange::DestinationRemoved { service, destination } = change? {
///         println!("{service} lost {}", destination.key());
///     }
/// }
/// # Ok::<(), ipvs::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Watch {
    counters: bool,
    pub(crate) options: SnapshotOptions,
    last: Snapshot,
}

impl Watch {
    /// A watch that has seen nothing yet: the first look reports everything as added.
    pub fn new() -> Self {
        Self::default()
    }

    /// A watch that reports what has changed since `snapshot`.
    pub fn since(snapshot: Snapshot) -> Self {
        Self { last: snapshot, ..Self::default() }
    }

    /// Sets whether traffic is reported too, as [`TableChange::Carried`]. Off by default.
    ///
    /// What is new to the watch counts from 0: the first look of [`Watch::new`] reports all that
    /// the kernel has counted so far, and so does the look that finds a real server added. To get
    /// only new traffic, start with [`Watch::since`]. Before Linux 6.2 counters lag by up to 2
    /// seconds ([`Stats`]), so looking more often than that mostly finds nothing.
    #[must_use]
    pub fn counters(mut self, on: bool) -> Self {
        self.counters = on;
        self
    }

    /// Sets how the table is read, such as [`Consistency::Lists`](crate::Consistency::Lists) for a
    /// table that keeps changing.
    #[must_use]
    pub fn options(mut self, options: SnapshotOptions) -> Self {
        self.options = options;
        self
    }

    /// Uses an existing snapshot as the next look, and returns what has changed.
    #[must_use = "changes are reported once"]
    pub fn update(&mut self, snapshot: Snapshot) -> Vec<TableChange> {
        let mut comparison = Comparison { counters: self.counters, changes: Vec::new() };
        comparison.snapshots(&self.last, &snapshot);
        trace::looked(comparison.changes.len());
        self.last = snapshot;
        comparison.changes
    }
}

struct Comparison {
    counters: bool,
    changes: Vec<TableChange>,
}

impl Comparison {
    fn snapshots(&mut self, old: &Snapshot, new: &Snapshot) {
        let (old, new) = (by_key(old), by_key(new));
        for (key, old) in &old {
            if !new.contains_key(key) {
                self.destinations(*key, &old.destinations, &[]);
                self.changes.push(TableChange::ServiceRemoved(old.entry.service.clone()));
            }
        }
        for (key, new) in new {
            let to = &new.entry.service;
            let old = old.get(&key);
            match old.map(|old| &old.entry.service) {
                None => self.changes.push(TableChange::ServiceAdded(to.clone())),
                Some(from) if from != to => {
                    let (from, to) = (from.clone(), to.clone());
                    self.changes.push(TableChange::ServiceChanged { from, to });
                }
                Some(_) => {}
            }
            let before = old.map_or_else(Stats::default, |old| old.entry.stats);
            self.carried(key, None, &before, &new.entry.stats);
            let before = old.map_or(&[][..], |old| &old.destinations);
            self.destinations(key, before, &new.destinations);
        }
    }

    fn destinations(
        &mut self,
        service: ServiceKey,
        old: &[DestinationEntry],
        new: &[DestinationEntry],
    ) {
        let (old, new) = (destinations_by_key(old), destinations_by_key(new));
        for (key, old) in &old {
            if !new.contains_key(key) {
                let destination = old.destination;
                self.changes.push(TableChange::DestinationRemoved { service, destination });
            }
        }
        for (key, new) in new {
            let destination = new.destination;
            let old = old.get(&key);
            match old.map(|old| &old.destination) {
                None => {
                    self.changes.push(TableChange::DestinationAdded { service, destination });
                }
                Some(from) if *from != destination => {
                    let (from, to) = (*from, destination);
                    self.changes.push(TableChange::DestinationChanged { service, from, to });
                }
                Some(_) => {}
            }
            let before = old.map_or_else(Stats::default, |old| old.stats);
            self.carried(service, Some(key), &before, &new.stats);
        }
    }

    fn carried(
        &mut self,
        service: ServiceKey,
        destination: Option<DestinationKey>,
        old: &Stats,
        new: &Stats,
    ) {
        let carried = new.since(old);
        if self.counters && !carried.is_zero() {
            self.changes.push(TableChange::Carried { service, destination, carried });
        }
    }
}

fn by_key(snapshot: &Snapshot) -> BTreeMap<ServiceKey, &ServiceSnapshot> {
    snapshot.into_iter().map(|service| (*service.key(), service)).collect()
}

fn destinations_by_key(
    entries: &[DestinationEntry],
) -> BTreeMap<DestinationKey, &DestinationEntry> {
    entries.iter().map(|entry| (entry.destination.key(), entry)).collect()
}
