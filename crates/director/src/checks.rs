//! The checks of all pools: each once, with what its verdicts mean to the real servers that share it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipvs::DestinationKey;
use probe::{Health, Probe, State, Thresholds, Verdict};

use crate::pool::Member;
use crate::quick_hash::QuickHash;

/// The number of a check. It stays the same as long as the configuration has the check, and no other
/// check gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct CheckId {
    slot: u32,
    /// How many checks had the slot before.
    life: u32,
}

impl CheckId {
    /// Its place in a list of what is known of each check.
    pub(crate) const fn slot(self) -> usize {
        self.slot as usize
    }
}

/// A real server of a service, which has this number among the services.
pub(crate) type Follower = (u32, DestinationKey);

/// Checks by number and by probe. There may be tens of thousands, so each is one entry of a vector and
/// one of a map, and nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Checks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_probe: HashMap<Arc<Probe>, u32, QuickHash>,
}

#[derive(Clone, Debug)]
struct Slot {
    life: u32,
    check: Option<Check>,
}

#[derive(Clone, Debug)]
struct Check {
    probe: Arc<Probe>,
    /// Nearly all checks have one pair of thresholds.
    first: Judge,
    others: Vec<Judge>,
}

/// The health of a real server by one pair of thresholds.
#[derive(Clone, Debug)]
struct Judge {
    thresholds: Thresholds,
    /// The shortest of its followers'.
    interval: Duration,
    health: Health,
    /// The state and the verdict that all followers know.
    followed: Option<(State, bool)>,
    /// Nearly all have one follower. In no particular order.
    first: Follower,
    others: Vec<Follower>,
}

impl Checks {
    /// No checks, in the place of `former` ones: those that come again get their numbers back.
    pub(crate) fn after(former: &Self) -> Self {
        Self {
            slots: former.slots.iter().map(|it| Slot { life: it.life, check: None }).collect(),
            free: former.free.clone(),
            by_probe: HashMap::with_capacity_and_hasher(former.by_probe.len(), QuickHash::new()),
        }
    }

    /// Adds a real server to those that share its check. The health is a `known` one, or that of a
    /// real server in use.
    pub(crate) fn join(
        &mut self,
        former: &Self,
        follower: Follower,
        member: &Member,
        known: Option<&Health>,
        in_use: bool,
    ) {
        let judge = || Judge {
            thresholds: member.thresholds,
            interval: member.interval,
            health: known.cloned().unwrap_or_default(),
            followed: None,
            first: follower,
            others: Vec::new(),
        };
        let slot = self.by_probe.get(&member.probe).copied();
        let slot = slot.unwrap_or_else(|| self.slot(&member.probe, former));
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        let check = match &mut place.check {
            Some(check) => {
                let same = check.all_mut().find(|it| it.thresholds == member.thresholds);
                match same {
                    Some(judge) => judge.others.push(follower),
                    None => check.others.push(judge()),
                }
                check
            }
            none => {
                let probe = Arc::clone(&member.probe);
                none.insert(Check { probe, first: judge(), others: Vec::new() })
            }
        };
        for judge in check.all_mut().filter(|it| it.thresholds == member.thresholds) {
            // Another service may have found it in use.
            if in_use && judge.health.state() == State::Unknown {
                judge.health = Health::assumed_up();
            }
            judge.interval = judge.interval.min(member.interval);
        }
    }

    /// A slot for a new check.
    fn slot(&mut self, probe: &Arc<Probe>, former: &Self) -> u32 {
        let slot = former.by_probe.get(probe).copied().or_else(|| self.free.pop());
        let slot = slot.unwrap_or_else(|| {
            self.slots.push(Slot { life: 0, check: None });
            // Each takes more than a hundred bytes, so there is no memory for 2^32.
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        self.by_probe.insert(Arc::clone(probe), slot);
        slot
    }

    /// No more will join: what hasn't come again is gone, and others may have its slot from now on.
    pub(crate) fn complete(&mut self, former: &Self) {
        for (number, (slot, before)) in (0..).zip(self.slots.iter_mut().zip(&former.slots)) {
            if slot.check.is_none() && before.check.is_some() {
                slot.life = slot.life.wrapping_add(1);
                self.free.push(number);
            }
        }
        self.slots.shrink_to_fit();
        self.by_probe.shrink_to_fit();
    }

    /// Records a verdict; returns the followers that it is news for, and the state.
    pub(crate) fn observe(
        &mut self,
        id: CheckId,
        verdict: &Verdict,
        now: Instant,
    ) -> Vec<(Follower, State)> {
        let mut news = Vec::new();
        for judge in self.get_mut(id).into_iter().flat_map(Check::all_mut) {
            judge.health.observe(verdict, judge.thresholds, now);
            let state = judge.health.state();
            // Nearly all verdicts say what the one before has said.
            let told = (state, verdict.is_up());
            if judge.followed.replace(told) != Some(told) {
                let followers = std::iter::once(&judge.first).chain(&judge.others);
                news.extend(followers.map(|it| (*it, state)));
            }
        }
        news
    }

    /// The health that a check has found by these thresholds, or else by others.
    pub(crate) fn known(&self, probe: &Probe, thresholds: Thresholds) -> Option<&Health> {
        let check = self.get(self.id(probe)?)?;
        let same = check.all().find(|it| it.thresholds == thresholds);
        let health = &same.unwrap_or(&check.first).health;
        health.is_judged().then_some(health)
    }

    /// The health of a real server.
    pub(crate) fn health(&self, member: &Member) -> Option<&Health> {
        let check = self.get(self.id(&member.probe)?)?;
        check.all().find(|it| it.thresholds == member.thresholds).map(|it| &it.health)
    }

    pub(crate) fn id(&self, probe: &Probe) -> Option<CheckId> {
        let slot = *self.by_probe.get(probe)?;
        let life = self.slots.get(slot as usize)?.life;
        Some(CheckId { slot, life })
    }

    /// What is checked under this number. None if it isn't any more.
    pub(crate) fn probe(&self, id: CheckId) -> Option<&Arc<Probe>> {
        self.get(id).map(|it| &it.probe)
    }

    /// All checks, and how often to make them.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (CheckId, &Arc<Probe>, Duration)> {
        (0..).zip(&self.slots).filter_map(|(slot, Slot { life, check })| {
            let check = check.as_ref()?;
            let others = check.others.iter().map(|it| it.interval);
            let interval = others.fold(check.first.interval, Duration::min);
            Some((CheckId { slot, life: *life }, &check.probe, interval))
        })
    }

    /// How many slots there are.
    pub(crate) fn slots(&self) -> usize {
        self.slots.len()
    }

    fn get(&self, id: CheckId) -> Option<&Check> {
        self.slots.get(id.slot()).filter(|it| it.life == id.life)?.check.as_ref()
    }

    fn get_mut(&mut self, id: CheckId) -> Option<&mut Check> {
        self.slots.get_mut(id.slot()).filter(|it| it.life == id.life)?.check.as_mut()
    }
}

impl Check {
    fn all(&self) -> impl Iterator<Item = &Judge> {
        std::iter::once(&self.first).chain(&self.others)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Judge> {
        std::iter::once(&mut self.first).chain(&mut self.others)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipvs::Destination;
    use probe::{Check, ReasonKind, Stage};

    use super::*;

    fn member(last: u8) -> Member {
        let target = (Ipv4Addr::new(10, 0, 0, last), 80);
        let probe = Probe::new(target.into(), Check::Connect, Duration::from_secs(1));
        Member::new(Destination::new(target.into()), probe)
    }

    fn with(former: &Checks, members: &[u8]) -> Checks {
        let mut checks = Checks::after(former);
        for last in members {
            let member = member(*last);
            let known = former.known(&member.probe, member.thresholds);
            checks.join(former, (0, member.destination.key()), &member, known, false);
        }
        checks.complete(former);
        checks
    }

    fn id(checks: &Checks, last: u8) -> CheckId {
        checks.id(&member(last).probe).unwrap()
    }

    #[test]
    fn a_number_stays_with_its_check_and_goes_with_it() {
        let first = with(&Checks::default(), &[1, 2, 3]);
        let second = with(&first, &[3, 1, 4]);
        for kept in [1, 3] {
            assert_eq!(id(&first, kept), id(&second, kept));
        }
        let gone = id(&first, 2);
        assert_eq!((second.probe(gone), second.id(&member(2).probe)), (None, None));
        // It takes the slot that is free from now on, and not its number.
        let third = with(&second, &[1, 3, 4, 5]);
        let new = id(&third, 5);
        assert_eq!((new.slot(), new == gone), (gone.slot(), false));
        assert_eq!(third.probe(gone), None);
        assert_eq!((third.slots(), third.iter().count()), (4, 4));
        let none = with(&third, &[]);
        assert_eq!((none.slots(), none.iter().count(), none.free.len()), (4, 0, 4));
        assert_eq!(with(&none, &[6, 7, 8, 9]).slots(), 4);
    }

    #[test]
    fn a_verdict_on_a_check_that_is_gone_reaches_nobody() {
        let now = Instant::now();
        let first = with(&Checks::default(), &[1]);
        let gone = id(&first, 1);
        let mut second = with(&with(&first, &[]), &[2]);
        assert_eq!(id(&second, 2).slot(), gone.slot());
        assert_eq!(second.observe(gone, &Verdict::Up, now), []);
        assert!(!second.health(&member(2)).unwrap().is_judged());
    }

    #[test]
    fn each_follower_hears_each_change_once() {
        let now = Instant::now();
        let (one, mut other) = (member(1), member(1));
        other.thresholds.fall = 2.try_into().unwrap();
        let none = Checks::default();
        let mut checks = Checks::after(&none);
        let key = one.destination.key();
        for (service, member) in [(0, &one), (1, &other), (2, &one)] {
            checks.join(&none, (service, key), member, None, true);
        }
        checks.complete(&none);
        assert_eq!(checks.slots(), 1);
        let id = id(&checks, 1);
        let mut heard = |verdict: &Verdict| {
            let mut news = checks.observe(id, verdict, now);
            news.sort_unstable_by_key(|((service, _), _)| *service);
            news.into_iter().map(|((service, _), state)| (service, state)).collect::<Vec<_>>()
        };
        let up = [0, 1, 2].map(|service| (service, State::Up));
        assert_eq!(heard(&Verdict::Up), up);
        assert_eq!(heard(&Verdict::Up), []);
        let down = Verdict::down(ReasonKind::Refused, Stage::Connect, "refused");
        // The state of one is the same, but not the verdict.
        assert_eq!(heard(&down), [(0, State::Down), (1, State::Up), (2, State::Down)]);
        assert_eq!(heard(&down), [(1, State::Down)]);
        assert_eq!(heard(&down), []);
    }
}
