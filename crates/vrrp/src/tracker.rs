//! From the state of what a router depends on to its priority.

use std::collections::BTreeMap;

use crate::{OWNER, RELEASE};

/// Computes a priority from what is up and what is down: other interfaces, services, scripts.
///
/// Each thing has a weight, as in keepalived: a positive one is added while the thing is up, a
/// negative one while it is down, and with 0 the router leaves while it is down. The result stays
/// within 1 to 254; an owner's is always 255, unless it leaves.
///
/// ```
/// use vrrp::Tracker;
///
/// let mut tracker = Tracker::new(150);
/// tracker.track("web", -60, true);
/// tracker.track("eth1", 0, true);
/// assert_eq!(tracker.priority(), 150);
/// tracker.set(&"web", false);
/// assert_eq!(tracker.priority(), 90);
/// tracker.set(&"eth1", false);
/// assert_eq!(tracker.priority(), 0);
/// ```
///
/// Pass the result to [`Input::Priority`](crate::Input::Priority).
#[doc(alias = "track_script")]
#[derive(Clone, Debug)]
pub struct Tracker<Id> {
    base: u8,
    things: BTreeMap<Id, (i16, bool)>,
}

impl<Id: Ord> Tracker<Id> {
    /// Nothing is tracked: the priority is `base`.
    pub const fn new(base: u8) -> Self {
        Self { base, things: BTreeMap::new() }
    }

    /// Tracks a thing, or replaces what was tracked under this name.
    pub fn track(&mut self, id: Id, weight: i16, up: bool) {
        self.things.insert(id, (weight, up));
    }

    /// A thing went up or down. False if it isn't tracked.
    pub fn set(&mut self, id: &Id, up: bool) -> bool {
        self.things.get_mut(id).map(|thing| thing.1 = up).is_some()
    }

    /// Whether it is up. None if it isn't tracked.
    pub fn get(&self, id: &Id) -> Option<bool> {
        self.things.get(id).map(|thing| thing.1)
    }

    /// Tracks it no longer.
    pub fn forget(&mut self, id: &Id) {
        self.things.remove(id);
    }

    /// The priority that follows: 0 to leave.
    pub fn priority(&self) -> u8 {
        if self.things.values().any(|thing| *thing == (0, false)) {
            return RELEASE;
        }
        if self.base == OWNER {
            return OWNER;
        }
        let counts = |(weight, up): &&(i16, bool)| (*weight > 0) == *up;
        let weights = self.things.values().filter(counts).map(|(weight, _)| i64::from(*weight));
        let sum = i64::from(self.base) + weights.sum::<i64>();
        sum.clamp(1, i64::from(OWNER) - 1) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// keepalived.conf(5), "weight": positive adds on success, negative subtracts on failure.
    #[test]
    fn weights_count_as_in_keepalived() {
        let mut tracker = Tracker::new(100);
        tracker.track(1, 20, true);
        tracker.track(2, -30, true);
        assert_eq!(tracker.priority(), 120);
        assert!(tracker.set(&1, false));
        assert_eq!(tracker.priority(), 100);
        assert!(tracker.set(&2, false));
        assert_eq!(tracker.priority(), 70);
        assert!(!tracker.set(&3, false));
        assert_eq!([1, 2, 3].map(|it| tracker.get(&it)), [Some(false), Some(false), None]);
        tracker.forget(&2);
        assert_eq!(tracker.priority(), 100);
    }

    #[test]
    fn priorities_stay_within_their_range() {
        let mut tracker = Tracker::new(200);
        tracker.track("a", i16::MAX, true);
        assert_eq!(tracker.priority(), 254);
        tracker.track("b", i16::MIN, false);
        tracker.set(&"a", false);
        assert_eq!(tracker.priority(), 1);
        let mut owner = Tracker::new(255);
        owner.track("a", -100, false);
        assert_eq!(owner.priority(), 255);
        owner.track("b", 0, false);
        assert_eq!(owner.priority(), 0);
    }
}
