//! Checks, pools and the table as one state machine: which check starts when, what to write, what
//! was found out.

mod check;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipvs::plan::{Outcome, Step};
use ipvs::{DestinationKey, ServiceKey, Snapshot};
use probe::{Probe, Schedule, Verdict};

use self::check::{CheckState, Nanos};
use crate::checks::CheckId;
use crate::decisions::{DecideError, Decision, Selector};
use crate::event::Event;
use crate::pool::{Override, Pool};
use crate::pools::{Maintained, Pools};
use crate::reconcile::{Look, Object, Order, Refusals, Written};
use crate::state::{Saved, SavedDecision};

/// The first starts of checks are spread over half a millisecond for each, so that a start doesn't
/// make a burst of connections.
const WARM_UP_OF_EACH: Duration = Duration::from_micros(500);

/// At most this many checks are in flight; further ones are late.
pub(crate) const IN_FLIGHT: usize = 4096;

/// The table is compared with what it should be at least this often while checks are less frequent.
const LOOK: Duration = Duration::from_secs(5);

/// While real servers drain, their connections are counted this often.
const DRAIN_LOOK: Duration = Duration::from_secs(1);

/// For so many events room is kept.
const FEW_EVENTS: usize = 64;

/// What to do about changes that others have made to this program's services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Drift {
    /// Take them back.
    #[default]
    Repair,
    /// Only report them.
    Report,
}

/// What a program is to look after.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Setup {
    /// The virtual services with their real servers.
    pub pools: Vec<Pool>,
    /// What to do about changes that others make.
    pub drift: Drift,
    /// Real servers in [maintenance](Pools::maintain).
    pub maintained: Maintained,
}

impl Setup {
    /// These virtual services, without maintenance. What others change is repaired.
    pub fn new(pools: Vec<Pool>) -> Self {
        Self { pools, ..Self::default() }
    }

    /// Sets what to do about changes that others make.
    #[must_use]
    pub fn drift(mut self, drift: Drift) -> Self {
        self.drift = drift;
        self
    }

    /// Sets which real servers are in [maintenance](Pools::maintain).
    #[must_use]
    pub fn maintained(mut self, servers: Maintained) -> Self {
        self.maintained = servers;
        self
    }
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) writes: u64,
    pub(crate) refused: u64,
    pub(crate) drift: u64,
    pub(crate) latest: Duration,
}

/// A running configuration, without sockets and without a clock. [`run`](crate::run) drives it.
///
/// - **configuration:** [`load`](Self::load), [`maintain`](Self::maintain);
/// - **checks:** [`due`](Self::due) says which to start, [`finished`](Self::finished) takes their
///   outcomes;
/// - **table:** [`orders`](Self::orders) says what to write, [`written`](Self::written) takes the
///   result; [`look_orders`](Self::look_orders) and [`looked`](Self::looked) likewise for a look;
/// - **time:** [`tick`](Self::tick) when [`deadline`](Self::deadline) has come;
/// - **output:** [`poll_event`](Self::poll_event), and [`poll_saved`](Self::poll_saved) for what a
///   restart needs.
#[derive(Debug)]
pub(crate) struct Engine {
    pools: Pools,
    drift: Drift,
    schedule: Schedule<CheckId>,
    started: Instant,
    /// By their slots.
    checks: Vec<Option<CheckState>>,
    in_flight: usize,
    refusals: Refusals,
    /// Services of this program: those of the configuration, and former ones that are to go.
    own: BTreeSet<ServiceKey>,
    /// Connections that are open to real servers with weight 0, at the last look.
    connections: BTreeMap<(ServiceKey, DestinationKey), u32>,
    writing: bool,
    looking: bool,
    /// What was touched while the look was under way, which it therefore may not judge.
    touched_since: BTreeSet<ServiceKey>,
    next_look: Option<Instant>,
    counts: Counts,
    events: VecDeque<Event>,
    save: bool,
}

impl Engine {
    /// Nothing to do yet. `saved` is from an earlier run.
    pub(crate) fn new(saved: &Saved, now: Instant, clock: SystemTime) -> Self {
        let current = Snapshot::default();
        let mut pools = Pools::new([], &current, now);
        pools.restore(saved.decisions.iter().filter_map(|it| {
            let selector = Selector { service: it.service, address: it.address, port: it.port };
            let until = match it.until {
                None => None,
                Some(until) => {
                    let at = UNIX_EPOCH.checked_add(Duration::from_secs(until))?;
                    Some(now.checked_add(at.duration_since(clock).ok()?)?)
                }
            };
            Some(Decision { selector, decision: it.decision, until })
        }));
        pools.remember_fallbacks(saved.on_fallback.iter().copied());
        Self {
            pools,
            drift: Drift::default(),
            schedule: Schedule::new(now),
            started: now,
            checks: Vec::new(),
            in_flight: 0,
            refusals: Refusals::default(),
            own: saved.services.clone(),
            connections: BTreeMap::new(),
            writing: false,
            looking: false,
            touched_since: BTreeSet::new(),
            next_look: None,
            counts: Counts::default(),
            events: VecDeque::new(),
            save: false,
        }
    }

    /// Records that this program has written services in vain: it is about to stop.
    pub(crate) fn own(&mut self, services: impl IntoIterator<Item = ServiceKey>) {
        self.own.extend(services);
        self.save = true;
    }

    /// Records what was written to try the schedulers of the next configuration.
    pub(crate) fn tried(&mut self, written: Vec<Step>) {
        for step in written {
            self.counts.writes += 1;
            self.events.push_back(Event::Written { step });
        }
    }

    /// Applies a configuration. `foreign` are services that belong to others by now.
    pub(crate) fn load(
        &mut self,
        setup: Setup,
        current: &Snapshot,
        foreign: &BTreeSet<ServiceKey>,
        now: Instant,
    ) {
        self.drift = setup.drift;
        self.refusals.clear();
        let events = self.pools.maintain(setup.maintained, now);
        self.events.extend(events);
        let events = self.pools.reload(setup.pools, current, now);
        self.events.extend(events);
        // Former services go if they are still there. What somebody else has by now stays.
        self.own.retain(|key| current.service(key).is_some() && !foreign.contains(key));
        let former = self.own.iter().filter(|key| self.pools.active(key).is_none());
        self.pools.touch(former.copied().collect::<Vec<_>>());
        self.own.extend(self.pools.services().copied());
        self.schedule_checks(now);
        self.next_look = Some(now + self.look_interval());
        self.save = true;
    }

    /// Follows the checks of the pools.
    fn schedule_checks(&mut self, now: Instant) {
        let wanted = self.pools.checks();
        for place in &mut self.checks {
            let Some(gone) = place.take_if(|it| wanted.probe(it.id).is_none()) else { continue };
            self.schedule.remove(gone.id);
            self.in_flight -= usize::from(gone.in_flight);
        }
        self.checks.resize_with(wanted.slots(), || None);
        self.checks.shrink_to_fit();
        let mut new: Vec<(CheckId, &Arc<Probe>, Duration)> = Vec::new();
        for (id, probe, interval) in wanted.iter() {
            match self.checks.get(id.slot()) {
                Some(Some(_)) => self.schedule.insert(id, interval, Duration::ZERO, now),
                _ => new.push((id, probe, interval)),
            }
        }
        // The same file should start in the same way, whatever was in force before.
        new.sort_by_key(|(_, probe, _)| probe.target);
        let warm_up = WARM_UP_OF_EACH * u32::try_from(new.len()).unwrap_or(u32::MAX);
        for (id, probe, interval) in new {
            self.schedule.insert(id, interval, warm_up, now);
            let Some(place) = self.checks.get_mut(id.slot()) else { continue };
            *place = Some(CheckState::new(id, probe));
        }
    }

    /// A check that has to start, as it is to be made this time.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(CheckId, Arc<Probe>)> {
        if self.in_flight >= IN_FLIGHT {
            return None;
        }
        let due = self.schedule.due(now)?;
        self.counts.latest = self.counts.latest.max(due.late);
        let check = state(&mut self.checks, due.id)?;
        let probe = self.pools.checks().probe(due.id)?;
        check.in_flight = true;
        self.in_flight += 1;
        let probe = match probe.at(&check.turn) {
            Cow::Borrowed(_) => Arc::clone(probe),
            Cow::Owned(part) => Arc::new(part),
        };
        Some((due.id, probe))
    }

    /// What is being checked under this number.
    pub(crate) fn probe(&self, id: CheckId) -> Option<&Probe> {
        let state = self.checks.get(id.slot())?.as_ref()?;
        let probe = self.pools.checks().probe(id)?;
        (state.id == id && state.in_flight).then_some(probe)
    }

    /// Records the verdict of a check that was due, and how long it took.
    pub(crate) fn finished(&mut self, id: CheckId, verdict: Verdict, took: Duration, now: Instant) {
        let Some(check) = state(&mut self.checks, id).filter(|it| it.in_flight) else { return };
        check.in_flight = false;
        self.in_flight -= 1;
        let verdict = check.after_stalls(verdict);
        check.turn.observe(&verdict);
        check.count(&verdict);
        if let Verdict::Inconclusive(_) = verdict {
            self.schedule.repeat(id, now);
        } else {
            check.took = Nanos(check.took.0.saturating_add(Nanos::from(took).0));
            self.schedule.finished(id, now);
        }
        let events = self.pools.observe_check(id, &verdict, now);
        let at = now.saturating_duration_since(self.started);
        check.last = Some((verdict, at.into(), took.into()));
        self.changed(events);
    }

    /// Records an operator's decision.
    ///
    /// # Errors
    ///
    /// As [`Pools::decide`].
    pub(crate) fn decide(
        &mut self,
        selector: &Selector,
        decision: Option<Override>,
        until: Option<Instant>,
        now: Instant,
    ) -> Result<(), DecideError> {
        let events = self.pools.decide(selector, decision, until, now)?;
        self.save = true;
        self.next_look = self.next_look.map(|at| at.min(now + self.look_interval()));
        self.changed(events);
        Ok(())
    }

    /// Records which real servers are in maintenance.
    pub(crate) fn maintain(&mut self, servers: Maintained, now: Instant) {
        let events = self.pools.maintain(servers, now);
        self.changed(events);
    }

    fn changed(&mut self, events: Vec<Event>) {
        let fallback =
            |it: &Event| matches!(it, Event::FallbackIn { .. } | Event::FallbackOut { .. });
        self.save |= events.iter().any(fallback);
        self.events.extend(events);
    }

    /// Handles the passing of time.
    pub(crate) fn tick(&mut self, now: Instant) {
        if self.pools.deadline().is_some_and(|at| at <= now) {
            let events = self.pools.tick(now);
            self.save = true;
            self.changed(events);
        }
        let due: Vec<ServiceKey> = self.refusals.due(now).collect();
        self.pools.touch(due);
    }

    /// Records that this program did not run for `time`.
    pub(crate) fn slept(&mut self, time: Duration) {
        self.pools.slept(time);
    }

    /// When [`tick`](Self::tick), [`due`](Self::due) or [`look_orders`](Self::look_orders) has
    /// something next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        // A check that ends makes room for the next, and a write that ends for a retry.
        let check = self.schedule.next().filter(|_| self.in_flight < IN_FLIGHT);
        let retry = self.refusals.deadline().filter(|_| !self.writing);
        let look = self.next_look.filter(|_| !self.looking && !self.writing);
        [check, retry, look, self.pools.deadline()].into_iter().flatten().min()
    }

    /// What has to be written now, if anything has and nothing is being written.
    pub(crate) fn orders(&mut self, now: Instant) -> Option<Vec<Order>> {
        if self.writing {
            return None;
        }
        let touched = self.pools.take_touched();
        self.touched_since.extend(touched.iter().copied());
        self.writing = !touched.is_empty();
        self.writing.then(|| touched.into_iter().map(|key| self.order(key, now)).collect())
    }

    fn order(&self, service: ServiceKey, now: Instant) -> Order {
        self.refusals.order(service, self.pools.active(&service), now)
    }

    /// Records what became of orders.
    pub(crate) fn written(&mut self, written: Written, now: Instant) {
        self.writing = false;
        for (service, error) in written.unread {
            self.refuse(Object::Service(service), format!("{error:#}"), now);
        }
        for (step, outcome) in written.steps {
            let object = Object::of(&step);
            match outcome {
                Outcome::Done => {
                    self.counts.writes += 1;
                    self.refusals.accepted(&object);
                    self.events.push_back(Event::Written { step });
                }
                // Others have done it, or the service has to be read again.
                Outcome::NotTried | Outcome::HeldBack(_) => {
                    self.refuse(object, outcome.to_string(), now);
                }
                Outcome::Failed(error) | Outcome::Unknown(error) => {
                    self.refuse(object, format!("{error:#}"), now);
                }
                _ => self.refuse(object, "the outcome isn't known".into(), now),
            }
        }
        // What is neither wanted nor there any more is forgotten.
        let gone: Vec<ServiceKey> = self
            .own
            .iter()
            .filter(|key| self.pools.active(key).is_none())
            .filter(|key| !self.refusals.iter().any(|(object, _)| object.service() == *key))
            .copied()
            .collect();
        for key in gone {
            self.own.remove(&key);
            self.save = true;
        }
    }

    fn refuse(&mut self, object: Object, error: String, now: Instant) {
        self.counts.refused += 1;
        self.refusals.refused(object, error.clone(), now);
        self.events.push_back(Event::Refused { object, error });
    }

    /// What the whole table has to be, if it is time to look and nothing is being written.
    pub(crate) fn look_orders(&mut self, now: Instant) -> Option<Vec<Order>> {
        if self.writing || self.looking || self.next_look.is_none_or(|at| at > now) {
            return None;
        }
        self.looking = true;
        self.touched_since.clear();
        Some(self.pools.services().map(|key| self.order(*key, now)).collect())
    }

    /// Records what a look has found; None if it failed.
    pub(crate) fn looked(&mut self, look: Option<Look>, now: Instant) {
        self.looking = false;
        self.next_look = Some(now + self.look_interval());
        let Some(look) = look else { return };
        self.connections = look.connections;
        let foreign =
            |key: &ServiceKey| self.touched_since.contains(key) || self.pools.active(key).is_none();
        let drift: Vec<_> = look.drift.into_iter().filter(|(key, _)| !foreign(key)).collect();
        for (service, plan) in drift {
            self.counts.drift += 1;
            let repair = self.drift == Drift::Repair;
            let steps = plan.steps().to_vec();
            self.events.push_back(Event::Drift { service, steps, repair });
            if repair {
                self.pools.touch([service]);
            }
        }
    }

    /// Changes by others are found within the longer of 5 s and the shortest interval of checks. A
    /// fifth of that is left for looking and writing.
    fn look_interval(&self) -> Duration {
        if self.pools.decisions().iter().next().is_some() {
            // Somebody is waiting for connections to end.
            return DRAIN_LOOK;
        }
        let shortest = self.pools.probes().map(|(_, interval)| interval).min();
        shortest.map_or(LOOK, |interval| interval.max(LOOK)) * 4 / 5
    }

    /// What to do when the program ends for good: services that are to be deleted then.
    pub(crate) fn stop_orders(&mut self, now: Instant) -> Vec<Order> {
        let clean = self.pools.all().filter(|(_, active)| active.pool.clean_stop);
        let former = self.own.iter().filter(|key| self.pools.active(key).is_none());
        let keys: BTreeSet<ServiceKey> =
            clean.map(|(key, _)| *key).chain(former.copied()).collect();
        self.own.retain(|key| !keys.contains(key));
        self.save = true;
        self.refusals.clear();
        keys.into_iter().map(|key| self.refusals.order(key, None, now)).collect()
    }

    /// The next event.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if event.is_none() && self.events.capacity() > FEW_EVENTS {
            // The first write of a large configuration makes tens of thousands.
            self.events = VecDeque::new();
        }
        event
    }

    /// What to save, if it has changed.
    pub(crate) fn poll_saved(&mut self, now: Instant, clock: SystemTime) -> Option<Saved> {
        std::mem::take(&mut self.save).then(|| self.saved(now, clock))
    }

    /// Has everything saved again, whether it has changed or not.
    pub(crate) fn save_again(&mut self) {
        self.save = true;
    }

    fn saved(&self, now: Instant, clock: SystemTime) -> Saved {
        let on_fallback =
            self.pools.all().filter(|(key, it)| it.on_fallback && self.own.contains(key));
        // A service that is deleted begins again.
        let on_fallback = on_fallback.map(|(key, _)| *key).collect();
        let seconds = |until: Instant| {
            let at = clock + until.saturating_duration_since(now);
            at.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
        };
        let decisions = self
            .pools
            .decisions()
            .iter()
            .map(|it| SavedDecision::new(&it.selector, it.decision, it.until.map(seconds)))
            .collect();
        Saved::new(self.own.clone(), on_fallback, decisions)
    }

    pub(crate) fn pools(&self) -> &Pools {
        &self.pools
    }

    pub(crate) fn check(&self, probe: &Probe) -> Option<&CheckState> {
        let id = self.pools.checks().id(probe)?;
        self.checks.get(id.slot())?.as_ref().filter(|it| it.id == id)
    }

    /// The last verdict of a check, how long ago it was, and how long the check took.
    pub(crate) fn last<'a>(
        &self,
        check: &'a CheckState,
        now: Instant,
    ) -> Option<(&'a Verdict, Duration, Duration)> {
        let (verdict, at, took) = check.last.as_ref()?;
        let ago = now.saturating_duration_since(self.started).saturating_sub((*at).into());
        Some((verdict, ago, (*took).into()))
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.writing
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Connections that were open to a real server with weight 0 at the last look.
    pub(crate) fn connections(&self, service: ServiceKey, server: DestinationKey) -> Option<u32> {
        self.connections.get(&(service, server)).copied()
    }
}

/// The state of a check that exists.
fn state(all: &mut [Option<CheckState>], id: CheckId) -> Option<&mut CheckState> {
    all.get_mut(id.slot())?.as_mut().filter(|it| it.id == id)
}

#[cfg(test)]
mod tests;
