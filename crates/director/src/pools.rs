//! All pools, and the checks they share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ipvs::{DestinationKey, ServiceKey, ServiceSnapshot, Snapshot, TableService};
use probe::{Health, Probe, State, Verdict};

use crate::checks::{CheckId, Checks};
use crate::decisions::{DecideError, Decision, Decisions, Selector};
use crate::event::Event;
use crate::pool::{Active, Member, MemberState, Override, Pool};

/// Real servers in maintenance, and why each of them is: the name of a file, say.
pub type Maintained = BTreeMap<(ServiceKey, DestinationKey), String>;

/// The pools of a configuration: verdicts, operators' decisions and time in, desired tables out.
///
/// It has no I/O and no clock. Calls, by kind:
///
/// - **configuration:** [`new`](Self::new) once, with the current table; [`reload`](Self::reload)
///   for another configuration;
/// - **input:** [`observe`](Self::observe) for each verdict, [`decide`](Self::decide) for an
///   operator, [`maintain`](Self::maintain) for maintenance, [`tick`](Self::tick) when
///   [`deadline`](Self::deadline) has come;
/// - **output:** each of these calls returns events and marks services as touched;
///   [`take_touched`](Self::take_touched) returns the touched services, [`desired`](Self::desired)
///   what each should be.
///
/// **Only a verdict, an operator, maintenance, or removal from the configuration changes whether a
/// real server takes traffic.** A real server that the kernel has with a weight above 0 counts as
/// up, and leaves after as many failures as its check requires. One that the kernel lacks or has at
/// weight 0 comes in with its first success. So a start or a reload neither takes out a healthy
/// server nor lets in a dead one. The fallback comes in when no real server is up, but not before
/// each has had its first verdict or the longest timeout has passed.
#[derive(Clone, Debug)]
pub struct Pools {
    pools: BTreeMap<ServiceKey, Active>,
    /// The services by the numbers that [`Checks`] has for them.
    numbered: Vec<ServiceKey>,
    /// Pools that check a server in the same way share a check.
    checks: Checks,
    decisions: Decisions,
    maintained: Maintained,
    touched: BTreeSet<ServiceKey>,
    /// Before this time, a pool doesn't fall back unless all its real servers have been judged.
    first_round: Instant,
    first_round_pending: bool,
    /// Services without a real server when the program last ran.
    fell_back: BTreeSet<ServiceKey>,
}

impl Pools {
    /// The pools of a configuration, starting from the current table.
    pub fn new(pools: impl IntoIterator<Item = Pool>, current: &Snapshot, now: Instant) -> Self {
        let mut all = Self {
            pools: BTreeMap::new(),
            numbered: Vec::new(),
            checks: Checks::default(),
            decisions: Decisions::default(),
            maintained: Maintained::new(),
            touched: BTreeSet::new(),
            first_round: now,
            first_round_pending: true,
            fell_back: BTreeSet::new(),
        };
        all.reload(pools, current, now);
        all
    }

    /// Applies another configuration. Services that it lacks no longer belong to these pools.
    ///
    /// A real server that existed before keeps its state, even if its check changes. A check that
    /// existed before keeps its health, even for new services.
    pub fn reload(
        &mut self,
        pools: impl IntoIterator<Item = Pool>,
        current: &Snapshot,
        now: Instant,
    ) -> Vec<Event> {
        let former = std::mem::take(&mut self.pools);
        let before_checks = std::mem::take(&mut self.checks);
        self.checks = Checks::after(&before_checks);
        self.numbered.clear();
        let mut longest = Duration::ZERO;
        for pool in pools {
            let key = pool.service.key;
            // There is no memory for 2^32 services.
            let number = u32::try_from(self.numbered.len()).unwrap_or(u32::MAX);
            self.numbered.push(key);
            let before = former.get(&key);
            let there = current.service(&key);
            let mut states = Vec::with_capacity(pool.members.len());
            for (server, member) in &pool.members {
                longest = longest.max(member.probe.timeout);
                let health = before_checks.known(&member.probe, member.thresholds);
                let mut state = before.and_then(|it| it.state(server)).unwrap_or_else(|| {
                    let up = health.is_some_and(|health| health.state() == State::Up);
                    MemberState {
                        admitted: up || is_in_use(there, server),
                        ..MemberState::default()
                    }
                });
                state.judged = health.is_some();
                state.decision = self.decisions.of(&key, server).map(|it| it.decision);
                state.maintained = self.maintained.contains_key(&(key, *server));
                states.push((*server, state));
                let follower = (number, *server);
                self.checks.join(&before_checks, follower, member, health, state.admitted);
            }
            // A fallback that is already in the table stays until a real server is up.
            let fallback = pool.fallback.map(|it| it.key());
            // As one of the real servers, it is there for another reason.
            let fallback = fallback.filter(|key| !pool.members.contains_key(key));
            let has_fallback = there.is_some_and(|service| {
                service.destinations.iter().any(|entry| Some(entry.key()) == fallback)
            });
            let on_fallback = match before {
                Some(before) => before.on_fallback,
                None => has_fallback || self.fell_back.remove(&key),
            };
            self.touched.insert(key);
            let states = states.into_iter().collect();
            self.pools.insert(key, Active::new(pool, states, on_fallback));
        }
        self.checks.complete(&before_checks);
        self.fell_back.clear();
        self.first_round = now + longest;
        self.first_round_pending = true;
        let gone =
            former.iter().filter(|(key, it)| it.on_fallback && !self.pools.contains_key(key));
        let mut events: Vec<Event> =
            gone.map(|(service, _)| Event::FallbackOut { service: *service }).collect();
        events.extend(self.fall_back_all(now));
        events
    }

    /// Records the verdict of a check at `now`, for all services that use that check.
    pub fn observe(&mut self, probe: &Probe, verdict: &Verdict, now: Instant) -> Vec<Event> {
        let id = self.checks.id(probe);
        id.map_or_else(Vec::new, |id| self.observe_check(id, verdict, now))
    }

    /// The same for the check of this number.
    pub(crate) fn observe_check(
        &mut self,
        id: CheckId,
        verdict: &Verdict,
        now: Instant,
    ) -> Vec<Event> {
        if matches!(verdict, Verdict::Inconclusive(_)) {
            return Vec::new();
        }
        let news = self.checks.observe(id, verdict, now).into_iter();
        let key = |number: u32| self.numbered.get(number as usize).copied();
        let mut changed: Vec<_> = news
            .filter_map(|((service, server), state)| Some((key(service)?, server, state)))
            .collect();
        changed.sort_unstable_by_key(|(service, server, _)| (*service, *server));
        let mut events = Vec::new();
        for (service, server, state) in changed {
            let Some(pool) = self.pools.get_mut(&service) else { continue };
            let Some(mut member) = pool.state(&server) else { continue };
            let before = member.takes_traffic();
            // The state of a check that was assumed up didn't come from a verdict: a failure that
            // doesn't count yet must not admit a server.
            member.admitted = match state {
                State::Up => member.admitted || verdict.is_up(),
                State::Down | State::Unknown => false,
            };
            let first = !std::mem::replace(&mut member.judged, true);
            let after = member.takes_traffic();
            pool.set(&server, member);
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

    /// Records an operator's decision about real servers, which replaces what was decided about them
    /// before. None returns to what their checks say. With `until`, the decision expires by itself.
    ///
    /// It stays in force when the configuration changes.
    ///
    /// # Errors
    ///
    /// If no service has such a real server, or if a decision is to end that covers more than was
    /// named.
    pub fn decide(
        &mut self,
        selector: &Selector,
        decision: Option<Override>,
        until: Option<Instant>,
        now: Instant,
    ) -> Result<Vec<Event>, DecideError> {
        let known = self
            .pools
            .iter()
            .flat_map(|(key, it)| it.states().map(move |(server, _)| (key, server)))
            .any(|(service, server)| selector.names(service, server));
        match decision {
            Some(decision) if known => {
                self.decisions.put(Decision { selector: *selector, decision, until });
            }
            // It may be about something that the configuration lacks at the moment.
            None if known || self.decisions.iter().any(|it| it.selector == *selector) => {
                self.decisions.end(selector)?;
            }
            _ => return Err(DecideError::NotFound(*selector)),
        }
        Ok(self.follow_overrides(now))
    }

    /// Records which real servers are in maintenance, in place of those that were. They take no
    /// traffic, as if they were down, whatever their checks say and whatever an operator has decided.
    /// Their checks go on, so afterwards they come back as soon as they are up.
    ///
    /// It stays in force when the configuration changes. What no service has is ignored.
    pub fn maintain(&mut self, servers: Maintained, now: Instant) -> Vec<Event> {
        self.maintained = servers;
        self.follow_overrides(now)
    }

    /// Why a real server is in maintenance. None if it isn't.
    pub(crate) fn maintenance(&self, service: ServiceKey, server: DestinationKey) -> Option<&str> {
        self.maintained.get(&(service, server)).map(String::as_str)
    }

    /// Lets every real server follow what overrides its checks now.
    fn follow_overrides(&mut self, now: Instant) -> Vec<Event> {
        let mut events = Vec::new();
        let mut changed = Vec::new();
        for (service, pool) in &mut self.pools {
            let members: Vec<_> = pool.states().map(|(server, state)| (*server, *state)).collect();
            for (server, mut state) in members {
                let decision = self.decisions.of(service, &server).map(|it| it.decision);
                let maintained = self.maintained.contains_key(&(*service, server));
                if (state.decision, state.maintained) == (decision, maintained) {
                    continue;
                }
                let before = state.takes_traffic();
                (state.decision, state.maintained) = (decision, maintained);
                pool.set(&server, state);
                let service = *service;
                match (before, state.takes_traffic()) {
                    (false, true) => events.push(Event::Up { service, server }),
                    (true, false) => events.push(Event::Down { service, server, reason: None }),
                    _ => {}
                }
                changed.push(service);
            }
        }
        changed.dedup();
        for service in changed {
            self.touched.insert(service);
            events.extend(self.fall_back(service, now));
        }
        events
    }

    /// When [`tick`](Self::tick) has something to do next.
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = |it: &Active| !it.on_fallback && !it.any_takes_traffic();
        let waits = self.first_round_pending && self.pools.values().any(waiting);
        let waits = waits.then_some(self.first_round);
        self.decisions.deadline().into_iter().chain(waits).min()
    }

    /// Handles the passing of time: decisions expire, and pools that have waited long enough for
    /// first verdicts fall back.
    pub fn tick(&mut self, now: Instant) -> Vec<Event> {
        let mut events =
            if self.decisions.expire(now) { self.follow_overrides(now) } else { Vec::new() };
        // What has no deadline has nothing to wait for.
        if self.first_round_pending && now >= self.first_round {
            self.first_round_pending = false;
            events.extend(self.fall_back_all(now));
        }
        events
    }

    /// Records that this program did not run for `time`: nobody had the chance to be judged then.
    pub fn slept(&mut self, time: Duration) {
        self.first_round += time;
    }

    /// Whether there are touched services.
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// The services touched since the last call: the kernel's table for them may differ from the
    /// desired one.
    pub fn take_touched(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.touched)
    }

    /// The desired kernel table for a service, given the current one. None if it isn't one of these
    /// pools' services.
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

    /// The checks to make, each once, and how often. In no particular order.
    pub fn probes(&self) -> impl Iterator<Item = (&Probe, Duration)> {
        self.checks.iter().map(|(_, probe, interval)| (&**probe, interval))
    }

    /// The same with their numbers.
    pub(crate) const fn checks(&self) -> &Checks {
        &self.checks
    }

    /// The state of a service.
    pub(crate) fn active(&self, service: &ServiceKey) -> Option<&Active> {
        self.pools.get(service)
    }

    /// Each service's state, in the order of their keys.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&ServiceKey, &Active)> {
        self.pools.iter()
    }

    /// The health of a real server as its check sees it.
    pub(crate) fn health(&self, member: &Member) -> Option<&Health> {
        self.checks.health(member)
    }

    pub(crate) fn decisions(&self) -> &Decisions {
        &self.decisions
    }

    /// Takes over what an earlier run of the program has saved; call it before the first
    /// [`reload`](Self::reload).
    pub(crate) fn restore(&mut self, decisions: impl IntoIterator<Item = Decision>) {
        for decision in decisions {
            self.decisions.put(decision);
        }
    }

    /// Services that had no real server when the program last ran: that they fall back isn't news.
    /// Call it before the first [`reload`](Self::reload).
    pub(crate) fn remember_fallbacks(&mut self, services: impl IntoIterator<Item = ServiceKey>) {
        self.fell_back.extend(services);
    }

    /// Marks services as touched.
    pub(crate) fn touch(&mut self, services: impl IntoIterator<Item = ServiceKey>) {
        self.touched.extend(services);
    }

    /// Calls for the fallback, or sends it away, in every service.
    fn fall_back_all(&mut self, now: Instant) -> Vec<Event> {
        let keys: Vec<ServiceKey> = self.pools.keys().copied().collect();
        keys.into_iter().flat_map(|key| self.fall_back(key, now)).collect()
    }

    /// Brings the fallback in, or takes it out.
    fn fall_back(&mut self, service: ServiceKey, now: Instant) -> Option<Event> {
        let waited = !self.first_round_pending || now >= self.first_round;
        let pool = self.pools.get_mut(&service)?;
        let judged = pool.all_judged();
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
