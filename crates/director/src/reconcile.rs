//! From the pools to the kernel's table: what to write, what was refused, and when to try again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant};

use ipvs::plan::{Options, Outcome, Plan, Prune, Scope, Step};
use ipvs::{
    Client, DestinationKey, Error, ServiceKey, ServiceSnapshot, Snapshot, TableService, Transport,
};

use crate::pool::Active;

/// How long a refused object is left alone, at first and at most. The time doubles with each try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the kernel may refuse by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    /// A virtual service.
    Service(ServiceKey),
    /// A real server of a virtual service.
    Server(ServiceKey, DestinationKey),
}

impl Object {
    /// What a step is about.
    pub(crate) fn of(step: &Step) -> Self {
        let server = match step {
            Step::AddDestination { destination, .. }
            | Step::DrainDestination { destination, .. }
            | Step::DeleteDestination { destination, .. } => Some(destination.key()),
            Step::SetDestination { to, .. } => Some(to.key()),
            _ => None,
        };
        match server {
            Some(server) => Self::Server(*step.service(), server),
            None => Self::Service(*step.service()),
        }
    }

    /// The virtual service that it is or belongs to.
    pub const fn service(&self) -> &ServiceKey {
        match self {
            Self::Service(service) | Self::Server(service, _) => service,
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(service) => service.fmt(f),
            Self::Server(service, server) => write!(f, "{server} of {service}"),
        }
    }
}

/// An object that the kernel has refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) error: String,
    /// How many times in a row it was refused.
    pub(crate) attempts: u32,
    pub(crate) retry_at: Instant,
}

/// What is refused at the moment, each with its next try.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusals {
    all: BTreeMap<Object, Refusal>,
}

impl Refusals {
    /// Records a refusal.
    pub(crate) fn refused(&mut self, object: Object, error: String, now: Instant) {
        let attempts = self.all.get(&object).map_or(0, |it| it.attempts).saturating_add(1);
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(attempts.min(10) - 1);
        let retry_at = now + pause.min(LONGEST_PAUSE);
        self.all.insert(object, Refusal { error, attempts, retry_at });
    }

    /// Records that the kernel has accepted an object; returns whether it was refused before.
    pub(crate) fn accepted(&mut self, object: &Object) -> bool {
        self.all.remove(object).is_some()
    }

    /// Forgets what isn't wanted any more, or is wanted in another form.
    pub(crate) fn clear(&mut self) {
        self.all.clear();
    }

    /// The services with something to try again.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = ServiceKey> {
        let due = self.all.iter().filter(move |(_, it)| it.retry_at <= now);
        due.map(|(object, _)| *object.service())
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.all.values().map(|it| it.retry_at).min()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Object, &Refusal)> {
        self.all.iter()
    }

    /// The objects of a service that aren't to be tried yet.
    fn held_back(&self, service: &ServiceKey, now: Instant) -> BTreeSet<Object> {
        let mut held = BTreeSet::new();
        let first = Object::Service(*service);
        // `Object::Service` comes before all real servers; those of one service stand together.
        if self.all.get(&first).is_some_and(|it| it.retry_at > now) {
            held.insert(first);
        }
        let servers = self.all.iter().filter(|(object, it)| {
            object.service() == service && **object != first && it.retry_at > now
        });
        held.extend(servers.map(|(object, _)| *object));
        held
    }

    /// What to make of a service.
    pub(crate) fn order(
        &self,
        service: ServiceKey,
        active: Option<&Active>,
        now: Instant,
    ) -> Order {
        Order { service, active: active.cloned(), held: self.held_back(&service, now) }
    }
}

/// What to make of one virtual service. It is a value, so the thread that owns the client can carry
/// it out.
#[derive(Clone, Debug)]
pub(crate) struct Order {
    pub(crate) service: ServiceKey,
    /// None to delete it.
    active: Option<Active>,
    held: BTreeSet<Object>,
}

impl Order {
    /// Whether nothing is missing, as it is in nearly every look at the table. If this can't tell, it
    /// returns false, and the plan has no steps.
    fn is_met(&self, current: Option<&ServiceSnapshot>) -> bool {
        match (&self.active, current) {
            (Some(active), Some(current)) if self.held.is_empty() => active.is_met(current),
            (active, current) => active.is_none() && current.is_none(),
        }
    }

    /// The steps that are missing.
    pub(crate) fn plan(&self, current: Option<&ServiceSnapshot>) -> Plan {
        let options = Options::new().prune(Prune::Everything, Scope::services([self.service]));
        let desired = self.active.as_ref().map(|active| active.desired(current));
        let current = current.map(TableService::from);
        let desired = match desired {
            Some(desired) => self.without_held(desired, current.as_ref()),
            None if self.held.contains(&Object::Service(self.service)) => current.clone(),
            None => None,
        };
        Plan::diff_service(current.as_ref(), desired.as_ref(), &options)
    }

    /// Leaves what is held back as it is.
    fn without_held(
        &self,
        desired: TableService,
        current: Option<&TableService>,
    ) -> Option<TableService> {
        let mut desired = desired;
        if self.held.contains(&Object::Service(self.service)) {
            let mut same = TableService::new(current?.service().clone());
            same.extend(desired.destinations().copied());
            desired = same;
        }
        for object in &self.held {
            let Object::Server(_, server) = object else { continue };
            match current.and_then(|current| current.get(server)) {
                Some(there) => desired.insert(*there),
                None => desired.remove(server),
            };
        }
        Some(desired)
    }
}

/// What became of orders.
#[derive(Debug)]
pub(crate) struct Written {
    /// Each step of the plan.
    pub(crate) steps: Vec<(Step, Outcome)>,
    /// Services that couldn't be read.
    pub(crate) unread: Vec<(ServiceKey, Error)>,
}

/// Executes orders: reads the services, plans, and applies all plans together.
pub(crate) fn execute<T: Transport>(client: &mut Client<T>, orders: &[Order]) -> Written {
    let mut unread = Vec::new();
    let mut plans = Vec::new();
    for order in orders {
        match client.service_snapshot(&order.service) {
            Ok(current) => plans.push(order.plan(current.as_ref())),
            Err(error) => unread.push((order.service, error)),
        }
    }
    let plan: Plan = plans.into_iter().collect();
    let steps = match client.apply(&plan) {
        Ok(()) => plan.steps().iter().map(|step| (step.clone(), Outcome::Done)).collect(),
        Err(error) => error.into_steps().collect(),
    };
    Written { steps, unread }
}

/// What a look at the whole table has found.
#[derive(Debug)]
pub(crate) struct Look {
    /// Services that aren't as they should be, and the steps that are missing.
    pub(crate) drift: Vec<(ServiceKey, Plan)>,
    /// Connections that are open to real servers with weight 0.
    pub(crate) connections: BTreeMap<(ServiceKey, DestinationKey), u32>,
}

/// Looks whether the table is what the orders ask for, and changes nothing.
pub(crate) fn look(snapshot: &Snapshot, orders: &[Order]) -> Look {
    let mut drift = Vec::new();
    let mut connections = BTreeMap::new();
    for order in orders {
        let current = snapshot.service(&order.service);
        if !order.is_met(current) {
            let plan = order.plan(current);
            if !plan.is_empty() {
                drift.push((order.service, plan));
            }
        }
        for entry in current.iter().flat_map(|it| &it.destinations) {
            if entry.destination.weight == 0 {
                connections.insert((order.service, entry.key()), entry.active_connections);
            }
        }
    }
    Look { drift, connections }
}
