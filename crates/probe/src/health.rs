//! Whether a server counts as up: verdicts, dampened by rise and fall.

use std::num::NonZeroU16;
use std::time::Instant;

use crate::verdict::Verdict;

/// Whether a server counts as up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Nothing is known yet.
    Unknown,
    /// It counts as up.
    Up,
    /// It counts as down.
    Down,
}

/// How many verdicts in a row change a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Thresholds {
    /// This many successes in a row bring up a server that is down.
    pub rise: NonZeroU16,
    /// This many failures in a row take down a server that is up.
    pub fall: NonZeroU16,
}

impl Default for Thresholds {
    /// One of each: every verdict counts.
    fn default() -> Self {
        Self { rise: NonZeroU16::MIN, fall: NonZeroU16::MIN }
    }
}

/// The health of one server as one check sees it.
///
/// Call [`observe`](Self::observe) after each check; all other calls only read. It has no clock:
/// the caller passes in the time.
///
/// The first verdict decides the state of an unknown server, whatever the thresholds: a new server
/// gets traffic without waiting for a second success. A server that was already in use, because the
/// table had it, is [assumed up](Self::assumed_up): it goes down only after as many failures as any
/// other.
///
/// ```
/// use std::num::NonZeroU16;
/// use std::time::Instant;
/// use probe::{Health, ReasonKind, Stage, State, Thresholds, Verdict};
///
/// let thresholds = Thresholds { fall: NonZeroU16::new(2).unwrap(), ..Thresholds::default() };
/// let now = Instant::now();
/// let mut health = Health::new();
/// assert_eq!(health.observe(&Verdict::Up, thresholds, now), Some(State::Up));
///
/// let refused = Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused");
/// assert_eq!(health.observe(&refused, thresholds, now), None);
/// assert_eq!(health.observe(&refused, thresholds, now), Some(State::Down));
/// ```
#[derive(Clone, Debug)]
pub struct Health {
    state: State,
    since: Option<Instant>,
    /// Verdicts in a row that contradict the state.
    streak: u16,
    is_judged: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

impl Health {
    /// The health of a server about which nothing is known.
    pub const fn new() -> Self {
        Self { state: State::Unknown, since: None, streak: 0, is_judged: false }
    }

    /// The health of a server that was in use before it was first checked.
    pub const fn assumed_up() -> Self {
        Self { state: State::Up, since: None, streak: 0, is_judged: false }
    }

    /// Records the verdict of a check at `now`, and returns the new state if it changed.
    ///
    /// [`Verdict::Inconclusive`] changes nothing; it doesn't interrupt a run of verdicts either.
    pub fn observe(
        &mut self,
        verdict: &Verdict,
        thresholds: Thresholds,
        now: Instant,
    ) -> Option<State> {
        let (seen, needed) = match verdict {
            Verdict::Up => (State::Up, thresholds.rise),
            Verdict::Down(_) => (State::Down, thresholds.fall),
            Verdict::Inconclusive(_) => return None,
        };
        self.is_judged = true;
        if self.state == seen {
            self.streak = 0;
            return None;
        }
        self.streak = self.streak.saturating_add(1);
        if self.state != State::Unknown && self.streak < needed.get() {
            return None;
        }
        self.state = seen;
        self.since = Some(now);
        self.streak = 0;
        Some(seen)
    }

    /// Whether the server counts as up.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When it entered this state. None until a verdict has changed it.
    pub const fn since(&self) -> Option<Instant> {
        self.since
    }

    /// How many verdicts in a row have contradicted the state: the failures so far of a server that
    /// is up, or the successes so far of one that is down.
    pub const fn streak(&self) -> u16 {
        self.streak
    }

    /// Whether there was a verdict that counted.
    pub const fn is_judged(&self) -> bool {
        self.is_judged
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::verdict::{Reason, ReasonKind, Stage};

    fn thresholds(rise: u16, fall: u16) -> Thresholds {
        Thresholds { rise: NonZeroU16::new(rise).unwrap(), fall: NonZeroU16::new(fall).unwrap() }
    }

    fn down() -> Verdict {
        Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused")
    }

    fn inconclusive() -> Verdict {
        Verdict::Inconclusive(Reason::new(ReasonKind::Local, Stage::Connect, "no descriptor"))
    }

    #[test]
    fn the_first_verdict_decides_whatever_the_thresholds() {
        let now = Instant::now();
        let mut health = Health::new();
        assert_eq!(health.observe(&Verdict::Up, thresholds(9, 9), now), Some(State::Up));
        let mut health = Health::new();
        assert_eq!(health.observe(&down(), thresholds(9, 9), now), Some(State::Down));
        assert_eq!(health.since(), Some(now));
    }

    #[test]
    fn a_server_that_was_in_use_leaves_after_as_many_failures_as_any_other() {
        let now = Instant::now();
        let mut health = Health::assumed_up();
        assert_eq!((health.state(), health.is_judged(), health.since()), (State::Up, false, None));
        assert_eq!(health.observe(&down(), thresholds(1, 3), now), None);
        assert_eq!(health.observe(&down(), thresholds(1, 3), now), None);
        assert_eq!(health.streak(), 2);
        assert_eq!(health.observe(&down(), thresholds(1, 3), now), Some(State::Down));
    }

    #[test]
    fn what_says_nothing_about_the_server_changes_nothing() {
        let now = Instant::now();
        let mut health = Health::new();
        assert_eq!(health.observe(&inconclusive(), thresholds(1, 1), now), None);
        assert_eq!((health.state(), health.is_judged()), (State::Unknown, false));
        health.observe(&Verdict::Up, thresholds(1, 2), now);
        health.observe(&down(), thresholds(1, 2), now);
        health.observe(&inconclusive(), thresholds(1, 2), now);
        assert_eq!(health.observe(&down(), thresholds(1, 2), now), Some(State::Down));
    }

    proptest! {
        /// Checks the definition: once decided, the state matches the last run of equal verdicts
        /// that was long enough.
        #[test]
        fn the_state_is_that_of_the_last_run_that_was_long_enough(
            verdicts in prop::collection::vec(any::<bool>(), 1..60),
            rise in 1_u16..5,
            fall in 1_u16..5,
        ) {
            let start = Instant::now();
            let mut health = Health::new();
            for end in 1..=verdicts.len() {
                let now = start + Duration::from_secs(end as u64);
                let seen = &verdicts[..end];
                let verdict = if seen[end - 1] { Verdict::Up } else { down() };
                health.observe(&verdict, thresholds(rise, fall), now);

                let long_enough = (0..end).rev().find_map(|last| {
                    let run = seen[..=last].iter().rev().take_while(|it| **it == seen[last]).count();
                    let needed = usize::from(if seen[last] { rise } else { fall });
                    (run >= needed || last == 0).then_some(seen[last])
                });
                let expected = if long_enough == Some(true) { State::Up } else { State::Down };
                prop_assert_eq!(health.state(), expected, "after {:?}", seen);
            }
        }
    }
}
