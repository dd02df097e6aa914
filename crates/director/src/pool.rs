//! One virtual service and its real servers: which ones take traffic, and the table that follows.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use ipvs::{Destination, DestinationEntry, DestinationKey, Service, ServiceSnapshot, TableService};
use probe::{Probe, Thresholds};
use serde::{Deserialize, Serialize};

/// The desired state of a virtual service when all is well, from the configuration.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Pool {
    /// The virtual service.
    pub service: Service,
    /// Its real servers.
    pub members: BTreeMap<DestinationKey, Member>,
    /// Where traffic goes if none of them is up.
    pub fallback: Option<Destination>,
    /// What happens to the entry of a real server that goes down.
    pub when_down: WhenDown,
    /// Whether the virtual service is deleted when the program stops for good.
    pub clean_stop: bool,
}

/// A real server of a pool.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Its entry in the table when it is up.
    pub destination: Destination,
    /// How to check it. Checks, their healths and the engine share it.
    pub probe: Arc<Probe>,
    /// How many verdicts change its state.
    pub thresholds: Thresholds,
    /// The time from the start of one check to the start of the next. If several pools share the
    /// check, the shortest counts.
    pub interval: Duration,
}

impl Member {
    /// A real server that is checked every 10 seconds, and of which every verdict counts.
    pub fn new(destination: Destination, probe: impl Into<Arc<Probe>>) -> Self {
        let interval = Duration::from_secs(10);
        Self { destination, probe: probe.into(), thresholds: Thresholds::default(), interval }
    }

    /// Sets how many verdicts change its state.
    #[must_use]
    pub fn thresholds(mut self, thresholds: Thresholds) -> Self {
        self.thresholds = thresholds;
        self
    }

    /// Sets the time between two checks.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }
}

/// What happens to the entry of a real server that goes down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum WhenDown {
    /// It is deleted, and its connections are lost.
    #[default]
    Remove,
    /// It gets weight 0, and is added with weight 0 if it is missing. Its connections live on, and
    /// persistent clients keep coming back to it.
    Quiesce,
}

/// What an operator has decided about a real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Override {
    /// No new connections: weight 0.
    Drain,
    /// No traffic: as if it were down.
    Disable,
}

impl Override {
    /// The decision as one word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Disable => "disable",
        }
    }
}

impl Pool {
    /// A virtual service without real servers.
    pub fn new(service: Service) -> Self {
        Self {
            service,
            members: BTreeMap::new(),
            fallback: None,
            when_down: WhenDown::default(),
            clean_stop: true,
        }
    }

    /// Adds a real server, replacing any with the same address and port.
    #[must_use]
    pub fn member(mut self, member: Member) -> Self {
        self.members.insert(member.destination.key(), member);
        self
    }

    /// Sets where traffic goes if no real server is up.
    #[must_use]
    pub fn fallback(mut self, fallback: Destination) -> Self {
        self.fallback = Some(fallback);
        self
    }

    /// Sets what happens to the entry of a real server that goes down.
    #[must_use]
    pub fn when_down(mut self, when_down: WhenDown) -> Self {
        self.when_down = when_down;
        self
    }

    /// Sets whether the virtual service is deleted when the program stops for good.
    #[must_use]
    pub fn clean_stop(mut self, clean_stop: bool) -> Self {
        self.clean_stop = clean_stop;
        self
    }
}

/// The running state of a pool.
#[derive(Clone, Debug)]
pub(crate) struct Active {
    pub(crate) pool: Arc<Pool>,
    states: BTreeMap<DestinationKey, MemberState>,
    /// How many of them take traffic.
    taking: usize,
    /// How many of them have had no verdict.
    unjudged: usize,
    /// The fallback is in use.
    pub(crate) on_fallback: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MemberState {
    /// Its checks say that it takes traffic. Only a verdict changes this.
    pub(crate) admitted: bool,
    /// Its check has had a verdict.
    pub(crate) judged: bool,
    /// What an operator has decided.
    pub(crate) decision: Option<Override>,
    /// It is in maintenance.
    pub(crate) maintained: bool,
}

impl MemberState {
    pub(crate) fn takes_traffic(self) -> bool {
        self.admitted && self.overridden().is_none()
    }

    /// What holds instead of what its checks say. One in maintenance is out, even if it drains.
    fn overridden(self) -> Option<Override> {
        if self.maintained { Some(Override::Disable) } else { self.decision }
    }
}

impl Active {
    pub(crate) fn new(
        mut pool: Pool,
        states: BTreeMap<DestinationKey, MemberState>,
        on_fallback: bool,
    ) -> Self {
        // A map that is collected in order takes half the memory of one that has grown so.
        pool.members = pool.members.into_iter().collect();
        let taking = states.values().filter(|state| state.takes_traffic()).count();
        let unjudged = states.values().filter(|state| !state.judged).count();
        Self { pool: Arc::new(pool), states, taking, unjudged, on_fallback }
    }

    pub(crate) fn states(&self) -> impl Iterator<Item = (&DestinationKey, &MemberState)> {
        self.states.iter()
    }

    pub(crate) fn state(&self, server: &DestinationKey) -> Option<MemberState> {
        self.states.get(server).copied()
    }

    /// Replaces the state of a real server that exists.
    pub(crate) fn set(&mut self, server: &DestinationKey, state: MemberState) {
        let Some(place) = self.states.get_mut(server) else { return };
        let before = std::mem::replace(place, state);
        self.taking =
            self.taking + usize::from(state.takes_traffic()) - usize::from(before.takes_traffic());
        self.unjudged = self.unjudged + usize::from(!state.judged) - usize::from(!before.judged);
    }

    /// The desired kernel table for this service, given the current one.
    pub(crate) fn desired(&self, current: Option<&ServiceSnapshot>) -> TableService {
        // A look asks for thousands at a time, so only what is asked of the table is kept.
        let current: HashSet<DestinationKey> =
            current.iter().flat_map(|it| &it.destinations).map(DestinationEntry::key).collect();
        let mut desired = TableService::new(self.pool.service.clone());
        let entries = self
            .pool
            .members
            .iter()
            .filter_map(|(key, member)| self.desired_entry(key, member, current.contains(key)));
        desired.extend(entries);
        // The fallback may also be one of the real servers; then this entry wins.
        desired.extend(self.fallback());
        desired
    }

    /// Whether the kernel's table for this service is the desired one. For the usual case it answers
    /// that without the tables that a comparison in both directions needs.
    pub(crate) fn is_met(&self, current: &ServiceSnapshot) -> bool {
        let fallback = self.fallback();
        let desired = |key: &DestinationKey, there| match fallback {
            Some(fallback) if fallback.key() == *key => Some(fallback),
            _ => self.desired_entry(key, self.pool.members.get(key)?, there),
        };
        // The table has no entry twice, so what is there and what is missing are numbers.
        let required = |key: &&DestinationKey| desired(key, false).is_some();
        let others = fallback.map(|it| it.key());
        let others = others.filter(|key| !self.pool.members.contains_key(key));
        let missing = self.pool.members.keys().chain(&others).filter(required).count();
        let there = current.destinations.iter().map(DestinationEntry::key);
        let found = there.filter(|key| required(&key)).count();
        current.entry.service == self.pool.service
            && missing == found
            && current
                .destinations
                .iter()
                .all(|it| desired(&it.key(), true) == Some(it.destination))
    }

    /// The desired entry of a real server, given whether it has one.
    fn desired_entry(
        &self,
        key: &DestinationKey,
        member: &Member,
        there: bool,
    ) -> Option<Destination> {
        let state = self.states.get(key).copied().unwrap_or_default();
        let quiesced = Some(member.destination.weight(0));
        match (state.overridden(), self.pool.when_down) {
            (None, _) if state.admitted => Some(member.destination),
            (Some(Override::Drain), _) if there || state.admitted => quiesced,
            // Not in use and not known to be down: the entry in the table stays.
            (None, _) if !state.judged && there => quiesced,
            (_, WhenDown::Quiesce) if there || state.judged => quiesced,
            _ => None,
        }
    }

    /// The fallback, if it is in use.
    fn fallback(&self) -> Option<Destination> {
        self.pool.fallback.filter(|_| self.on_fallback)
    }

    pub(crate) fn any_takes_traffic(&self) -> bool {
        self.taking > 0
    }

    pub(crate) fn all_judged(&self) -> bool {
        self.unjudged == 0
    }
}

#[cfg(test)]
mod tests;
