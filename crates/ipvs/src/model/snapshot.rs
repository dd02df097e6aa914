//! The whole table, as it was at one time in spite of concurrent changes.

use std::time::Duration;
use std::{iter, slice, vec};

use crate::model::destination::DestinationEntry;
use crate::model::key::ServiceKey;
use crate::model::service::ServiceEntry;
use crate::model::stats::Stats;
use crate::model::table::{Table, TableService};

/// All virtual services of a network namespace with their real servers, as they were together at
/// one time: what [`Client::snapshot`](crate::Client::snapshot) reads.
///
/// ```
/// use ipvs::ServiceKey;
///
/// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
/// let snapshot = client.snapshot()?;
/// for service in &snapshot {
///     println!("{} has {} real servers", service.key(), service.destinations.len());
/// }
/// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
/// assert!(snapshot.service(&vip).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    // Private, because `by_key` has to fit.
    services: Vec<ServiceSnapshot>,
    /// The indexes of the services, in the order of their keys.
    by_key: Vec<usize>,
    /// How many times the table was read until it was the same often enough; the last time perhaps
    /// only in part.
    pub passes: u32,
    /// Whether these are all virtual services. If not, there may be others, too.
    pub is_whole: bool,
}

impl Snapshot {
    /// A snapshot of these services, and perhaps not of all.
    pub fn new(services: impl IntoIterator<Item = ServiceSnapshot>) -> Self {
        let services: Vec<_> = services.into_iter().collect();
        let mut by_key: Vec<_> = (0..services.len()).collect();
        by_key.sort_by_key(|&place| *services[place].key());
        Self { services, by_key, passes: 0, is_whole: false }
    }

    /// The whole table, after so many passes.
    pub(crate) fn read(services: Vec<ServiceSnapshot>, passes: u32) -> Self {
        Self { passes, ..Self::new(services) }.whole(true)
    }

    /// Sets whether these are all virtual services.
    #[must_use]
    pub fn whole(mut self, whole: bool) -> Self {
        self.is_whole = whole;
        self
    }

    /// The virtual services, in the kernel's order.
    pub fn services(&self) -> &[ServiceSnapshot] {
        &self.services
    }

    /// As [`services`](Self::services), without copying.
    pub fn into_services(self) -> Vec<ServiceSnapshot> {
        self.services
    }

    /// The virtual service of that key, if it is there. It is found by halving: among `n` services
    /// in about log2(n) steps.
    pub fn service(&self, key: &ServiceKey) -> Option<&ServiceSnapshot> {
        let found = self.by_key.binary_search_by_key(key, |&place| *self.services[place].key());
        found.ok().map(|at| &self.services[self.by_key[at]])
    }

    /// The counters, mutably.
    pub(crate) fn stats_mut(&mut self) -> impl Iterator<Item = &mut Stats> {
        self.services.iter_mut().flat_map(|service| {
            let servers = service.destinations.iter_mut().map(|server| &mut server.stats);
            servers.chain([&mut service.entry.stats])
        })
    }

    /// The configuration, without counters: for a comparison with the desired table.
    pub fn table(&self) -> Table {
        self.services.iter().map(TableService::from).collect()
    }

    /// As [`table`](Self::table), without copying.
    pub fn into_table(self) -> Table {
        self.services.into_iter().map(TableService::from).collect()
    }
}

impl IntoIterator for Snapshot {
    type Item = ServiceSnapshot;
    type IntoIter = vec::IntoIter<ServiceSnapshot>;

    /// The virtual services, in the kernel's order.
    fn into_iter(self) -> Self::IntoIter {
        self.services.into_iter()
    }
}

impl<'a> IntoIterator for &'a Snapshot {
    type Item = &'a ServiceSnapshot;
    type IntoIter = slice::Iter<'a, ServiceSnapshot>;

    /// The virtual services, in the kernel's order.
    fn into_iter(self) -> Self::IntoIter {
        self.services.iter()
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

    /// What identifies the virtual service.
    pub fn key(&self) -> &ServiceKey {
        &self.entry.service.key
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

impl From<ServiceSnapshot> for TableService {
    fn from(ServiceSnapshot { entry, destinations }: ServiceSnapshot) -> Self {
        let mut service = Self::new(entry.service);
        service.extend(destinations.into_iter().map(|entry| entry.destination));
        service
    }
}

impl From<&ServiceSnapshot> for TableService {
    fn from(snapshot: &ServiceSnapshot) -> Self {
        let mut service = Self::new(snapshot.entry.service.clone());
        let servers = snapshot.destinations.iter().map(|entry| entry.destination);
        service.extend(servers);
        service
    }
}

/// How consistent a [`Snapshot`] has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Consistency {
    /// The whole table is as it was at one time. A plan needs that: it may move a real server from
    /// one service to another. With thousands of services, a program that changes one every few
    /// milliseconds may prevent such a snapshot.
    #[default]
    Table,
    /// Each list (that of the services and those of their real servers) is as it was at some moment
    /// of its own. This is enough for metrics, and works while the table keeps changing: it fails
    /// ([`Inconsistent`](crate::ErrorKind::Inconsistent)) only if a single list changes faster than
    /// it can be read twice. A service that nobody touched is missing only if every list of the
    /// services skipped it; the last of those is read after everything else.
    Lists,
}

/// How hard to try for a [`Snapshot`].
///
/// ```
/// use ipvs::SnapshotOptions;
///
/// let thorough = SnapshotOptions::default().agreeing(3).max_passes(20);
/// let impatient = SnapshotOptions::default().max_passes(4).pause(std::time::Duration::ZERO);
/// assert_eq!(SnapshotOptions::default().agreeing, 2);
/// # let _ = (thorough, impatient);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotOptions {
    /// What has to be consistent: the whole table by default.
    pub consistency: Consistency,
    /// How many passes in a row have to agree: 2 by default. A single pass (1) may lack entries
    /// that nobody touched; 0 counts as 1.
    pub agreeing: u32,
    /// How many times to read the table, or with [`Consistency::Lists`] each list, at most: 10 by
    /// default. Less than `agreeing` counts as `agreeing`.
    pub max_passes: u32,
    /// How long to sleep before the fourth pass if the third disagreed: 1 ms by default; 0 means no
    /// pause. It doubles with each pass that disagrees, up to 16 times as long; with the other
    /// defaults all pauses add up to at most 63 ms.
    pub pause: Duration,
}

impl Default for SnapshotOptions {
    fn default() -> Self {
        Self {
            consistency: Consistency::Table,
            agreeing: 2,
            max_passes: 10,
            pause: Duration::from_millis(1),
        }
    }
}

impl SnapshotOptions {
    /// Sets what has to be consistent.
    #[must_use]
    pub fn consistency(mut self, consistency: Consistency) -> Self {
        self.consistency = consistency;
        self
    }

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

    /// Sets the length of the first pause between passes that disagree.
    #[must_use]
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    pub(crate) fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        let longest = self.pause.saturating_mul(16);
        iter::successors(Some(self.pause), move |last| Some(longest.min(last.saturating_mul(2))))
    }
}
