//! The memory of a controller that drains real servers. No I/O and no clock.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::model::key::{DestinationKey, Protocol, ServiceKey};
use crate::model::snapshot::{ServiceSnapshot, Snapshot};
use crate::model::table::{Table, TableService};
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::options::Ready;
use crate::reconcile::plan::options::{Options, Removal};

/// How a [`Drainer`] lets real servers go.
///
/// ```
/// use std::time::Duration;
/// use ipvs::plan::DrainPolicy;
///
/// let policy = DrainPolicy::new(Duration::from_secs(300)).udp_at_once(true);
/// assert!(!policy.active_only);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainPolicy {
    /// How long a real server may drain.
    pub timeout: Duration,
    /// Whether a real server may be deleted once it has no *active* connections. By default it
    /// waits for inactive ones, too: a TCP connection is inactive for two minutes after it was
    /// closed.
    pub active_only: bool,
    /// Whether to delete real servers of UDP services at once instead of draining them. IPVS can't
    /// tell when a UDP client has finished: its connection is inactive from the start, and
    /// remembered for five minutes after its last packet.
    pub udp_at_once: bool,
}

impl DrainPolicy {
    /// Waits for all connections to end, but no longer than `timeout`.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, active_only: false, udp_at_once: false }
    }

    /// Sets whether only active connections are waited for.
    #[must_use]
    pub fn active_only(mut self, only: bool) -> Self {
        self.active_only = only;
        self
    }

    /// Sets whether real servers of UDP services go at once.
    #[must_use]
    pub fn udp_at_once(mut self, at_once: bool) -> Self {
        self.udp_at_once = at_once;
        self
    }
}

impl From<Duration> for DrainPolicy {
    fn from(timeout: Duration) -> Self {
        Self::new(timeout)
    }
}

/// Makes plans that drain unwanted real servers, and remembers since when each has been draining.
///
/// Call [`plan`](Self::plan) (or [`plan_service`](Self::plan_service)) with a snapshot in every
/// round of a controller, and apply what it returns; [`services`](Self::services) says which
/// services to look at again.
///
/// A real server drains from the first plan on that finds it unwanted and with weight 0. It may be
/// deleted once its connections have ended or its time is up, as the [`DrainPolicy`] says. Clients
/// that persistence remembers count only while they have connections: they may come back to a real
/// server with weight 0, unless the sysctl `net.ipv4.vs.expire_quiescent_template` is set.
///
/// A real server is forgotten once a plan finds it gone or wanted again. Those that a plan doesn't
/// look at stay remembered, so services can be planned one by one.
///
/// Losing this memory does no harm: the time starts again.
#[derive(Clone, Debug)]
pub struct Drainer {
    policy: DrainPolicy,
    policies: BTreeMap<ServiceKey, DrainPolicy>,
    /// Since when each has had weight 0; `None` if it still had weight when it was looked at. No
    /// service is without an entry.
    since: BTreeMap<ServiceKey, BTreeMap<DestinationKey, Option<Instant>>>,
}

impl Drainer {
    /// A drainer with a policy, or just a timeout, for all services that don't have
    /// [their own](Self::set_policy).
    pub fn new(policy: impl Into<DrainPolicy>) -> Self {
        Self { policy: policy.into(), policies: BTreeMap::new(), since: BTreeMap::new() }
    }

    /// Sets the policy for one virtual service; `None` reverts to the general one.
    pub fn set_policy(&mut self, service: ServiceKey, policy: impl Into<Option<DrainPolicy>>) {
        match policy.into() {
            Some(policy) => self.policies.insert(service, policy),
            None => self.policies.remove(&service),
        };
    }

    /// The virtual services with real servers that are draining, or that the last plan makes drain:
    /// those to look at again.
    pub fn services(&self) -> impl ExactSizeIterator<Item = &ServiceKey> {
        self.since.keys()
    }

    /// [`Plan::diff`] with draining, from the kernel's table at the time `now`.
    ///
    /// Replaces what `options` say about draining.
    ///
    /// ```
    /// use std::thread::sleep;
    /// use std::time::{Duration, Instant};
    /// use ipvs::plan::{Drainer, Options, Prune, Scope};
    /// use ipvs::Table;
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let desired = Table::new();
    /// let mut drainer = Drainer::new(Duration::from_secs(300));
    /// let mine = Scope::nothing().or_addresses("10.10.0.0/16".parse()?, .., None);
    /// let options = Options::new().prune(Prune::Everything, mine);
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
    #[must_use = "a plan changes nothing until it is applied"]
    pub fn plan(
        &mut self,
        current: &Snapshot,
        desired: &Table,
        options: &Options,
        now: Instant,
    ) -> Plan {
        let mut ready = Ready::new();
        for service in current {
            let key = *service.key();
            self.look(key, Some(service), desired.get(&key), options, now, &mut ready);
        }
        if current.is_whole && !self.since.is_empty() {
            self.since.retain(|key, _| current.service(key).is_some());
        }
        Plan::diff_draining(&current.table(), desired, options, Some(&ready))
    }

    /// As [`plan`](Self::plan), for one virtual service: `current` is what
    /// [`Client::service_snapshot`](crate::Client::service_snapshot) read, and either is `None` if
    /// there is no such service, or none is wanted.
    #[must_use = "a plan changes nothing until it is applied"]
    pub fn plan_service(
        &mut self,
        service: &ServiceKey,
        current: Option<&ServiceSnapshot>,
        desired: Option<&TableService>,
        options: &Options,
        now: Instant,
    ) -> Plan {
        let mut ready = Ready::new();
        self.look(*service, current, desired, options, now, &mut ready);
        let current = current.map(TableService::from);
        Plan::diff_service_draining(current.as_ref(), desired, options, Some(&ready))
    }

    /// Looks at the real servers of a service, and says which may go.
    fn look(
        &mut self,
        key: ServiceKey,
        current: Option<&ServiceSnapshot>,
        desired: Option<&TableService>,
        options: &Options,
        now: Instant,
        ready: &mut Ready,
    ) {
        let before = self.since.remove(&key).unwrap_or_default();
        let Some(current) = current.filter(|_| options.prunes(&key, desired.is_some())) else {
            return;
        };
        let policy = *self.policies.get(&key).unwrap_or(&self.policy);
        let is_udp = matches!(key, ServiceKey::Addr { protocol: Protocol::Udp, .. });
        let mut since = BTreeMap::new();
        for entry in &current.destinations {
            let server = entry.destination.key();
            if desired.is_some_and(|it| it.get(&server).is_some()) {
                continue;
            }
            if is_udp && policy.udp_at_once {
                ready.insert((key, server), Removal::AtOnce);
                continue;
            }
            if entry.destination.weight > 0 {
                since.insert(server, None);
                continue;
            }
            let start = before.get(&server).copied().flatten().unwrap_or(now);
            since.insert(server, Some(start));
            let inactive = if policy.active_only { 0 } else { entry.inactive_connections };
            if (entry.active_connections, inactive) == (0, 0) {
                ready.insert((key, server), Removal::Empty);
            } else if now.saturating_duration_since(start) >= policy.timeout {
                ready.insert((key, server), Removal::Deadline);
            }
        }
        if !since.is_empty() {
            self.since.insert(key, since);
        }
    }
}
