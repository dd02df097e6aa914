//! All pools, and the checks that they share.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use ipvs::{DestinationKey, ServiceKey, ServiceSnapshot, Snapshot, TableService};
use probe::{Health, Probe, State, Thresholds, Verdict};

use crate::event::Event;
use crate::pool::{Active, Member, MemberState, Override, Pool};

/// The pools of a configuration: verdicts, operators and time in, desired tables out.
///
/// It has no I/O and no clock. Calls, by kind:
///
/// - **what is to be:** [`new`](Self::new) once, with the table that is there;
///   [`reload`](Self::reload) for another configuration;
/// - **what happens:** [`observe`](Self::observe) for each verdict, [`decide`](Self::decide) for an
///   operator, [`tick`](Self::tick) when [`deadline`](Self::deadline) has come;
/// - **what follows:** each of these returns events and marks services as touched;
///   [`take_touched`](Self::take_touched) says which, [`desired`](Self::desired) what they're to be.
///
/// **Whether a real server takes traffic changes only by a verdict, an operator, or its leaving the
/// configuration.** What the kernel has with a weight above 0 counts as up and leaves after as many
/// failures as its check asks for; what it lacks or has at 0 comes in by its first success. So a
/// start or a reload neither takes out a healthy server nor lets in a dead one. The fallback comes
/// when no real server is up, and not before each has had its first verdict or the longest timeout
/// has passed.
#[derive(Clone, Debug)]
pub struct Pools {
    pools: BTreeMap<ServiceKey, Active>,
    /// Each check once, with a health for each way to count its verdicts. Pools that check a server
    /// alike share it.
    checks: HashMap<Probe, Vec<Check>>,
    touched: BTreeSet<ServiceKey>,
    /// Until then a pool whose real servers haven't all been judged isn't without one.
    first_round: Instant,
}

#[derive(Clone, Debug)]
struct Check {
    thresholds: Thresholds,
    health: Health,
    members: BTreeSet<(ServiceKey, DestinationKey)>,
}

/// There is no such real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFound;

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no virtual service has this real server")
    }
}

impl std::error::Error for NotFound {}

impl Pools {
    /// The pools of a configuration, on a table that is there already.
    pub fn new(pools: impl IntoIterator<Item = Pool>, current: &Snapshot, now: Instant) -> Self {
        let mut all = Self {
            pools: BTreeMap::new(),
            checks: HashMap::new(),
            touched: BTreeSet::new(),
            first_round: now,
        };
        all.reload(pools, current, now);
        all
    }

    /// Takes over another configuration. Services that it lacks are no longer these pools'.
    ///
    /// A real server that was there keeps its state, also if it is checked in another way from now
    /// on; a check that was there keeps its health, also for services that are new.
    pub fn reload(
        &mut self,
        pools: impl IntoIterator<Item = Pool>,
        current: &Snapshot,
        now: Instant,
    ) -> Vec<Event> {
        let former = std::mem::take(&mut self.pools);
        let healths = std::mem::take(&mut self.checks);
        let known = |probe: &Probe, thresholds: Thresholds| {
            let checks = healths.get(probe)?;
            let check = checks.iter().find(|it| it.thresholds == thresholds).or(checks.first())?;
            check.health.last().is_some().then_some(&check.health)
        };
        let mut longest = Duration::ZERO;
        for pool in pools {
            let key = pool.service.key;
            let before = former.get(&key);
            let there = current.service(&key);
            let mut states = BTreeMap::new();
            for (server, member) in &pool.members {
                longest = longest.max(member.probe.timeout);
                let health = known(&member.probe, member.thresholds);
                let mut state =
                    before.and_then(|it| it.states.get(server)).copied().unwrap_or_else(|| {
                        let up = health.is_some_and(|health| health.state() == State::Up);
                        MemberState {
                            admitted: up || is_in_use(there, server),
                            ..MemberState::default()
                        }
                    });
                state.judged = health.is_some();
                states.insert(*server, state);
                self.join((key, *server), member, health, state.admitted);
            }
            // A fallback that is there stays until a real server is up.
            let fallback = pool.fallback.map(|it| it.key());
            let has_fallback = there.is_some_and(|service| {
                service.destinations.iter().any(|entry| Some(entry.key()) == fallback)
            });
            let on_fallback = before.map_or(has_fallback, |before| before.on_fallback);
            self.touched.insert(key);
            self.pools.insert(key, Active { pool, states, on_fallback });
        }
        self.first_round = now + longest;
        let keys: Vec<ServiceKey> = self.pools.keys().copied().collect();
        keys.into_iter().flat_map(|key| self.fall_back(key, now)).collect()
    }

    /// Adds a real server to those that share its check.
    fn join(
        &mut self,
        name: (ServiceKey, DestinationKey),
        member: &Member,
        known: Option<&Health>,
        admitted: bool,
    ) {
        let checks = self.checks.entry(member.probe.clone()).or_default();
        let at = checks.iter().position(|it| it.thresholds == member.thresholds);
        let at = at.unwrap_or_else(|| {
            let health = known.cloned().unwrap_or_default();
            let thresholds = member.thresholds;
            checks.push(Check { thresholds, health, members: BTreeSet::new() });
            checks.len() - 1
        });
        let check = &mut checks[at];
        // Another service may have found it in use.
        if admitted && check.health.state() == State::Unknown {
            check.health = Health::assumed_up();
        }
        check.members.insert(name);
    }

    /// Takes in what a check found out at `now`, for all services that make it.
    pub fn observe(&mut self, probe: &Probe, verdict: &Verdict, now: Instant) -> Vec<Event> {
        if matches!(verdict, Verdict::Inconclusive(_)) {
            return Vec::new();
        }
        let mut changed = Vec::new();
        for check in self.checks.get_mut(probe).into_iter().flatten() {
            check.health.observe(verdict, check.thresholds, now);
            let state = check.health.state();
            changed.extend(check.members.iter().map(|member| (*member, state)));
        }
        changed.sort_unstable_by_key(|(member, _)| *member);
        let mut events = Vec::new();
        for ((service, server), state) in changed {
            let Some(pool) = self.pools.get_mut(&service) else { continue };
            let Some(member) = pool.states.get_mut(&server) else { continue };
            let before = member.takes_traffic();
            // The state of a check that was assumed up isn't the verdict's: a failure that doesn't
            // count yet brings nobody in.
            member.admitted = match state {
                State::Up => member.admitted || verdict.is_up(),
                State::Down | State::Unknown => false,
            };
            let first = !std::mem::replace(&mut member.judged, true);
            let after = member.takes_traffic();
            if before != after || first {
                self.touched.insert(service);
            }
            match (before, after) {
                (false, true) => events.push(Event::Up { service, server }),
                (true, false) => {
                    let reason = verdict.reason().cloned();
                    events.push(Event::Down { service, server, reason });
                }
                _ => {}
            }
            events.extend(self.fall_back(service, now));
        }
        events
    }

    /// Takes in what an operator decides about a real server, in all services that have it: None for
    /// what its checks say. With `until`, the decision ends by itself.
    ///
    /// # Errors
    ///
    /// [`NotFound`] if no service has it.
    pub fn decide(
        &mut self,
        server: (IpAddr, Option<u16>),
        decision: Option<Override>,
        until: Option<Instant>,
        now: Instant,
    ) -> Result<Vec<Event>, NotFound> {
        let (address, port) = server;
        let is_meant =
            |key: &DestinationKey| key.addr == address && port.is_none_or(|port| key.port == port);
        let meant: Vec<(ServiceKey, DestinationKey)> = self
            .pools
            .iter()
            .flat_map(|(key, it)| it.states.keys().map(|server| (*key, *server)))
            .filter(|(_, server)| is_meant(server))
            .collect();
        if meant.is_empty() {
            return Err(NotFound);
        }
        let decision = decision.map(|decision| (decision, until));
        Ok(meant
            .into_iter()
            .flat_map(|(key, server)| self.set(key, server, decision, now))
            .collect())
    }

    fn set(
        &mut self,
        service: ServiceKey,
        server: DestinationKey,
        decision: Option<(Override, Option<Instant>)>,
        now: Instant,
    ) -> Vec<Event> {
        let mut events = Vec::new();
        let pool = self.pools.get_mut(&service);
        let Some(member) = pool.and_then(|pool| pool.states.get_mut(&server)) else {
            return events;
        };
        let before = member.takes_traffic();
        member.decision = decision;
        match (before, member.takes_traffic()) {
            (false, true) => events.push(Event::Up { service, server }),
            (true, false) => events.push(Event::Down { service, server, reason: None }),
            _ => {}
        }
        self.touched.insert(service);
        events.extend(self.fall_back(service, now));
        events
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        let decisions = self.pools.values().flat_map(|pool| pool.states.values());
        let ends = decisions.filter_map(|state| state.decision?.1);
        let waits = self.pools.values().any(|it| !it.on_fallback && !it.any_takes_traffic());
        ends.chain(waits.then_some(self.first_round)).min()
    }

    /// Time has passed: decisions end, and who has waited for first verdicts long enough falls back.
    pub fn tick(&mut self, now: Instant) -> Vec<Event> {
        let ended: Vec<(ServiceKey, DestinationKey)> = self
            .pools
            .iter()
            .flat_map(|(key, it)| {
                it.states.iter().map(move |(server, state)| (*key, *server, *state))
            })
            .filter(|(_, _, state)| {
                state.decision.is_some_and(|(_, until)| until.is_some_and(|it| it <= now))
            })
            .map(|(key, server, _)| (key, server))
            .collect();
        let mut events: Vec<Event> =
            ended.into_iter().flat_map(|(key, server)| self.set(key, server, None, now)).collect();
        let keys: Vec<ServiceKey> = self.pools.keys().copied().collect();
        events.extend(keys.into_iter().flat_map(|key| self.fall_back(key, now)));
        events
    }

    /// The services that may not be in the kernel what they're to be, since the last call.
    pub fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.touched)
    }

    /// What the kernel is to have for a service, given what it has. None if it isn't these pools'.
    pub fn desired(
        &self,
        service: &ServiceKey,
        current: Option<&ServiceSnapshot>,
    ) -> Option<TableService> {
        Some(self.pools.get(service)?.desired(current))
    }

    /// The services of these pools.
    pub fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.pools.keys()
    }

    /// The checks that are to be made, each once, in no order.
    pub fn probes(&self) -> HashSet<&Probe> {
        self.checks.keys().collect()
    }

    /// Calls for the fallback, or sends it away.
    fn fall_back(&mut self, service: ServiceKey, now: Instant) -> Option<Event> {
        let waited = now >= self.first_round;
        let pool = self.pools.get_mut(&service)?;
        let judged = pool.states.values().all(|state| state.judged);
        let event = match (pool.on_fallback, pool.any_takes_traffic()) {
            (false, false) if judged || waited => Event::FallbackIn { service },
            (true, true) => Event::FallbackOut { service },
            _ => return None,
        };
        pool.on_fallback = !pool.on_fallback;
        self.touched.insert(service);
        Some(event)
    }
}

/// Whether the kernel sends new connections to a real server.
fn is_in_use(service: Option<&ServiceSnapshot>, server: &DestinationKey) -> bool {
    service.is_some_and(|service| {
        let entries = &service.destinations;
        entries.iter().any(|it| it.key() == *server && it.destination.weight > 0)
    })
}

#[cfg(test)]
mod tests;
