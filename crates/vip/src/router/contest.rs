//! When to give in to something else that removes addresses.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How many removals of an address within [`WINDOW`] are put right at once. A network manager that
/// restarts or reads its files again removes an address once; nobody does it for a fourth time within
/// seconds unless it does so whenever it sees the address.
pub(super) const TOLERATED: usize = 3;
/// See [`TOLERATED`].
pub(super) const WINDOW: Duration = Duration::from_secs(10);

/// The first pause, in which another router may have the addresses. Each pause is twice as long as the
/// one before, until there has been peace for [`LONGEST`].
const FIRST: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(300);

/// An address that something else has removed too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Defeat {
    pub(super) ip: IpAddr,
    /// For how long the addresses stay away.
    pub(super) pause: Duration,
    end: Instant,
}

/// What is known of removals of a table's addresses.
#[derive(Debug, Default)]
pub(super) struct Contest {
    /// The last removals of each address, [`TOLERATED`] at most.
    removals: BTreeMap<IpAddr, VecDeque<Instant>>,
    /// The last defeat, which is over once its pause has ended.
    last: Option<Defeat>,
    is_paused: bool,
}

impl Contest {
    /// Something else has removed this address. True if it is to be put back; otherwise there is a
    /// pause from now on.
    pub(super) fn removed(&mut self, ip: IpAddr, now: Instant) -> bool {
        let recent = self.removals.entry(ip).or_default();
        recent.retain(|at| now.saturating_duration_since(*at) < WINDOW);
        if recent.len() < TOLERATED {
            recent.push_back(now);
            return true;
        }
        self.removals.clear();
        let is_recent = |it: &Defeat| now.saturating_duration_since(it.end) < LONGEST;
        let last = self.last.filter(is_recent).map(|it| it.pause);
        let pause = last.map_or(FIRST, |last| (2 * last).min(LONGEST));
        self.last = Some(Defeat { ip, pause, end: now + pause });
        self.is_paused = true;
        false
    }

    /// The defeat after which there is a pause now.
    pub(super) fn defeat(&self) -> Option<Defeat> {
        self.last.filter(|_| self.is_paused)
    }

    /// When the pause ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.defeat().map(|it| it.end)
    }

    /// Ends the pause if it is time. True if that has changed something.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let ends = self.deadline().is_some_and(|end| end <= now);
        if ends {
            self.is_paused = false;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 9, 0, last])
    }

    /// Removes an address as often as is tolerated, and once more; returns the pause.
    fn lose(contest: &mut Contest, now: Instant) -> Duration {
        for _ in 0..TOLERATED {
            assert!(contest.removed(ip(100), now));
        }
        assert!(!contest.removed(ip(100), now));
        let defeat = contest.defeat().expect("it is lost");
        assert_eq!(contest.deadline(), Some(now + defeat.pause));
        defeat.pause
    }

    #[test]
    fn three_removals_within_ten_seconds_are_put_right() {
        let mut contest = Contest::default();
        let start = Instant::now();
        for second in [0, 4, 8, 10, 14, 18, 20] {
            assert!(contest.removed(ip(100), start + second * SECOND), "after {second} s");
        }
        assert!(!contest.removed(ip(100), start + 23 * SECOND), "14, 18, 20, and now");
    }

    /// A network manager that starts removes all there are, one after the other.
    #[test]
    fn each_address_counts_for_itself() {
        let mut contest = Contest::default();
        let now = Instant::now();
        assert!((0..100).all(|last| contest.removed(ip(last), now)));
        assert_eq!(contest.defeat(), None);
    }

    #[test]
    fn pauses_double_up_to_five_minutes_and_are_short_again_after_peace() {
        let mut contest = Contest::default();
        let mut now = Instant::now();
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let pause = lose(&mut contest, now);
            pauses.push(pause.as_secs());
            assert!(!contest.handle_timeout(now + pause - Duration::from_nanos(1)));
            now += pause;
            assert!(contest.handle_timeout(now));
            assert_eq!((contest.defeat(), contest.deadline()), (None, None));
            now += SECOND;
        }
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(lose(&mut contest, now + LONGEST), FIRST);
    }
}
