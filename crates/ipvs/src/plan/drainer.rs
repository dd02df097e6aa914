//! The memory of a controller that drains real servers.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::{Options, Plan};
use crate::{DestinationKey, ServiceKey, Snapshot, Table};

/// Makes plans that drain what is to go, and remembers since when each real server has done so.
///
/// A real server drains from the first [`plan`](Self::plan) on that finds it unwanted and of
/// weight 0, and may go once it has no connections, neither active nor inactive, or has drained
/// for the whole timeout. Clients that persistence remembers count as connections only while they
/// have some: they may come back to a real server of weight 0, unless the sysctl
/// `net.ipv4.vs.expire_quiescent_template` is set.
///
/// Losing the memory is no harm: the timeout starts again.
#[derive(Clone, Debug)]
pub struct Drainer {
    timeout: Duration,
    since: BTreeMap<(ServiceKey, DestinationKey), Instant>,
}

impl Drainer {
    /// A drainer that lets no real server drain for longer than `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, since: BTreeMap::new() }
    }

    /// [`Plan::diff`] with draining, from what the kernel had at the time `now`.
    ///
    /// What `options` say about draining is replaced.
    ///
    /// ```
    /// use std::thread::sleep;
    /// use std::time::{Duration, Instant};
    /// use ipvs::plan::{Drainer, Options, Prune};
    /// use ipvs::Table;
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let desired = Table::new();
    /// let mut drainer = Drainer::new(Duration::from_secs(300));
    /// let options = Options::new().prune(Prune::Everything);
    /// loop {
    ///     let snapshot = client.snapshot()?;
    ///     let plan = drainer.plan(&snapshot, &desired, &options, Instant::now());
    ///     client.apply(&plan)?;
    ///     if plan.draining().is_empty() {
    ///         break;
    ///     }
    ///     sleep(Duration::from_secs(1));
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn plan(
        &mut self,
        current: &Snapshot,
        desired: &Table,
        options: &Options,
        now: Instant,
    ) -> Plan {
        let mut since = BTreeMap::new();
        let mut drained = Vec::new();
        for service in &current.services {
            let key = service.entry.service.key;
            let wanted = desired.get(&key);
            for entry in &service.destinations {
                let destination = &entry.destination;
                let is_wanted = wanted.is_some_and(|it| it.get(&destination.key()).is_some());
                if destination.weight > 0 || is_wanted {
                    continue;
                }
                let id = (key, destination.key());
                let start = *self.since.get(&id).unwrap_or(&now);
                since.insert(id, start);
                let idle = entry.active_connections == 0 && entry.inactive_connections == 0;
                if idle || now.saturating_duration_since(start) >= self.timeout {
                    drained.push(id);
                }
            }
        }
        // What is gone, or wanted again, is forgotten.
        self.since = since;
        Plan::diff(&current.table(), desired, &options.clone().drained(drained))
    }
}
