//! When each check starts.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// The widest spacing of grid points, at which checks start.
const WIDEST_GRID: Duration = Duration::from_millis(20);

/// The minimum number of grid points in an interval, so the spacing is at most 1 % of an interval.
const GRID_POINTS: u32 = 100;

/// So many entries may always be there without holding.
const FEW: usize = 64;

/// Decides when each check starts.
///
/// - **Periods hold.** A check starts every interval, measured from start to start, however long it
///   takes and however late the last start was. If it takes longer than its interval, the missed
///   starts are skipped; a check never overlaps itself.
/// - **Starts are spread.** Checks with the same interval start evenly over it, however many there
///   are.
/// - **Starts lie on a grid** of 20 ms, or a hundredth of the interval if that is less. One wake-up
///   starts several checks, so each costs a fraction of a wake-up.
///
/// It has no clock: the caller passes in the time, which must not go backwards. Calls come in this
/// order:
///
/// 1. [`insert`](Self::insert), [`remove`](Self::remove) at any time.
/// 2. [`due`](Self::due) until it returns None, or until the caller has no room for more.
/// 3. For each check that was due, either [`finished`](Self::finished) or [`repeat`](Self::repeat)
///    when it has ended.
/// 4. [`next`](Self::next) says when to come back.
///
/// ```
/// use std::time::{Duration, Instant};
/// use probe::Schedule;
///
/// let start = Instant::now();
/// let second = Duration::from_secs(1);
/// let mut schedule = Schedule::new(start);
/// schedule.insert("web1", second, Duration::ZERO, start);
/// assert_eq!(schedule.next(), Some(start));
/// let due = schedule.due(start).unwrap();
/// assert_eq!(due.id, "web1");
///
/// // It takes 300 ms. The next start is a second after the last, not 1.3 seconds.
/// schedule.finished("web1", start + Duration::from_millis(300));
/// assert_eq!(schedule.next(), Some(start + second));
/// ```
#[derive(Clone, Debug)]
pub struct Schedule<Id> {
    /// Times are counted from here.
    epoch: Instant,
    /// The checks that are not in flight, by their next start, and perhaps entries that don't hold any
    /// more. The first one holds.
    waiting: BinaryHeap<Reverse<(Millis, Id)>>,
    /// How many entries don't hold any more.
    stale: usize,
    checks: HashMap<Id, Entry>,
    /// How many checks were ever inserted, used to spread them.
    inserted: u32,
}

/// Milliseconds since the schedule's epoch.
type Millis = u64;

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// In milliseconds, and so is the phase: 49 days at most, because there may be tens of thousands.
    interval: u32,
    /// Regular starts are this much after a multiple of the interval.
    phase: u32,
    /// The next start, or the last start if the check is in flight.
    start: Millis,
    under_way: bool,
}

/// A check that is due to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due<Id> {
    /// Which check.
    pub id: Id,
    /// How late it is.
    pub late: Duration,
}

impl<Id: Copy + Ord + Hash> Schedule<Id> {
    /// An empty schedule, starting at `now`.
    pub fn new(now: Instant) -> Self {
        Self {
            epoch: now,
            waiting: BinaryHeap::new(),
            stale: 0,
            checks: HashMap::new(),
            inserted: 0,
        }
    }

    /// Adds a check that starts every `interval`. The first start is within `warm_up` (at most an
    /// interval) from `now`, the second half an interval to one and a half later; from then on
    /// starts are regular.
    ///
    /// If the check already exists, it keeps its place; a new interval takes effect at its next
    /// start. An interval below 1 ms counts as 1 ms, and one above 2^32 ms (49 days) as that.
    pub fn insert(&mut self, id: Id, interval: Duration, warm_up: Duration, now: Instant) {
        let interval_ms = u32::try_from(millis(interval)).unwrap_or(u32::MAX).max(1);
        if let Some(entry) = self.checks.get(&id) {
            if entry.interval == interval_ms {
                return;
            }
            let entry = *entry;
            self.remove(id);
            let grid = grid(interval);
            let latest = align(self.at(now) + Millis::from(interval_ms), grid);
            let start = if entry.under_way { entry.start } else { entry.start.min(latest) };
            let phase = phase(start, interval_ms);
            self.put(id, Entry { interval: interval_ms, phase, start, ..entry });
            return;
        }
        let share = self.next_share();
        let grid = grid(interval);
        let now = self.at(now);
        let warm_up = millis(warm_up).min(interval_ms.into());
        let start = align(now + share_of(warm_up, share), grid);
        let phase = phase(align(now + share_of(interval_ms.into(), share), grid), interval_ms);
        self.put(id, Entry { interval: interval_ms, phase, start, under_way: false });
    }

    /// Removes a check. If it is in flight, its end is ignored.
    pub fn remove(&mut self, id: Id) {
        if let Some(entry) = self.checks.remove(&id) {
            self.stale += usize::from(!entry.under_way);
            self.tidy();
        }
    }

    /// The most overdue check that should have started by `now`; from then on it counts as in
    /// flight. None if nothing is due.
    pub fn due(&mut self, now: Instant) -> Option<Due<Id>> {
        let Reverse((start, id)) = *self.waiting.peek()?;
        let now = self.at(now);
        if start > now {
            return None;
        }
        self.waiting.pop();
        if let Some(entry) = self.checks.get_mut(&id) {
            entry.under_way = true;
            entry.start = now;
        }
        self.tidy();
        Some(Due { id, late: Duration::from_millis(now - start) })
    }

    /// Records that a check that was due ended at `now`.
    pub fn finished(&mut self, id: Id, now: Instant) {
        let now = self.at(now);
        self.end(id, |entry| {
            // Not before half an interval after the last start, which may have been out of phase
            // because of the warm-up or because it was late.
            entry.regular_after(now.max(entry.start + Millis::from(entry.interval / 2)))
        });
    }

    /// Records that a check that was due ended at `now` without saying anything about the server.
    /// It starts again after a tenth of its interval, and then regularly.
    pub fn repeat(&mut self, id: Id, now: Instant) {
        let now = self.at(now);
        self.end(id, |entry| {
            let interval = Millis::from(entry.interval);
            let grid = grid(Duration::from_millis(interval));
            align(now + (interval / 10).max(1), grid).min(entry.regular_after(now))
        });
    }

    /// When [`due`](Self::due) has something next. None if no check is pending.
    pub fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|it| self.epoch + Duration::from_millis(it.0.0))
    }

    /// How many checks there are, including those in flight.
    pub fn len(&self) -> usize {
        self.checks.len()
    }

    /// Whether there are no checks.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    fn end(&mut self, id: Id, next: impl FnOnce(&Entry) -> Millis) {
        let Some(entry) = self.checks.get_mut(&id).filter(|entry| entry.under_way) else {
            return;
        };
        entry.start = next(entry);
        entry.under_way = false;
        self.waiting.push(Reverse((entry.start, id)));
    }

    fn put(&mut self, id: Id, entry: Entry) {
        if !entry.under_way {
            self.waiting.push(Reverse((entry.start, id)));
        }
        self.checks.insert(id, entry);
    }

    /// Removes entries that don't hold any more, from the front, or everywhere if they are most.
    fn tidy(&mut self) {
        let Self { waiting, checks, stale, .. } = self;
        let holds = |Reverse((start, id)): &Reverse<(Millis, Id)>| {
            checks.get(id).is_some_and(|it| !it.under_way && it.start == *start)
        };
        while *stale > 0 && waiting.peek().is_some_and(|first| !holds(first)) {
            waiting.pop();
            *stale -= 1;
        }
        if *stale > checks.len() + FEW {
            let mut all = std::mem::take(waiting).into_vec();
            all.retain(holds);
            // A check that was removed and has come again may start at the same time as before.
            all.sort_unstable();
            all.dedup();
            *waiting = all.into();
            *stale = 0;
        }
    }

    /// The point in an interval, in units of 2^-32, at which the next inserted check starts.
    /// Multiples of the golden ratio spread any number of points evenly (Knuth, TAOCP vol. 3, 6.4).
    fn next_share(&mut self) -> u32 {
        let share = self.inserted.wrapping_mul(0x9E37_79B9);
        self.inserted = self.inserted.wrapping_add(1);
        share
    }

    fn at(&self, now: Instant) -> Millis {
        millis(now.saturating_duration_since(self.epoch))
    }
}

impl Entry {
    /// The first regular start after `time`.
    fn regular_after(&self, time: Millis) -> Millis {
        let interval = Millis::from(self.interval);
        let before = (time + interval - Millis::from(self.phase) % interval) % interval;
        time + interval - before
    }
}

/// How long after a multiple of the interval this is.
fn phase(time: Millis, interval: u32) -> u32 {
    // It's less than the interval.
    u32::try_from(time % Millis::from(interval)).unwrap_or_default()
}

/// The spacing of grid points for checks with this interval.
fn grid(interval: Duration) -> Millis {
    millis((interval / GRID_POINTS).min(WIDEST_GRID)).max(1)
}

/// The first grid point at or after `time`.
const fn align(time: Millis, grid: Millis) -> Millis {
    time.next_multiple_of(grid)
}

fn share_of(length: Millis, share: u32) -> Millis {
    // A length is an interval at most, so it is below 2^32.
    (length.min(u64::from(u32::MAX)) * u64::from(share)) >> 32
}

fn millis(duration: Duration) -> Millis {
    // Above 2^44 seconds there is no headroom left before an overflow.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 44)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    /// Plays `schedule` from `from` for `length`, with checks that take `took`; returns each start.
    fn play(
        schedule: &mut Schedule<usize>,
        from: Instant,
        length: Duration,
        took: impl Fn(usize) -> Duration,
    ) -> Vec<(usize, Duration)> {
        let mut starts = Vec::new();
        let mut ends: BTreeSet<(Instant, usize)> = BTreeSet::new();
        loop {
            let end = ends.first().map(|(end, _)| *end);
            let Some(now) = [schedule.next(), end].into_iter().flatten().min() else { break };
            if now > from + length {
                break;
            }
            while let Some((end, id)) = ends.first().copied().filter(|(end, _)| *end <= now) {
                ends.remove(&(end, id));
                schedule.finished(id, end);
            }
            while let Some(due) = schedule.due(now) {
                assert_eq!(due.late, Duration::ZERO);
                assert!(ends.iter().all(|(_, id)| *id != due.id), "{} is under way twice", due.id);
                starts.push((due.id, now - from));
                ends.insert((now + took(due.id), due.id));
            }
        }
        starts
    }

    #[test]
    fn periods_hold_whatever_a_check_takes() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, SECOND, Duration::ZERO, start);
        let took = |_| Duration::from_millis(900);
        let starts: Vec<_> =
            play(&mut schedule, start, 10 * SECOND, took).into_iter().map(|it| it.1).collect();
        assert_eq!(starts, (0..=10).map(|n| n * SECOND).collect::<Vec<_>>());
    }

    #[test]
    fn a_check_that_takes_longer_than_its_interval_skips_starts() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, SECOND, Duration::ZERO, start);
        let took = |_| Duration::from_millis(2300);
        let starts: Vec<_> =
            play(&mut schedule, start, 7 * SECOND, took).into_iter().map(|it| it.1).collect();
        assert_eq!(starts, [0, 3, 6].map(|n| n * SECOND));
    }

    #[test]
    fn a_thousand_checks_start_evenly_and_together() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        for id in 0..1000 {
            schedule.insert(id, 2 * SECOND, SECOND / 2, start);
        }
        let starts = play(&mut schedule, start, 10 * SECOND, |_| Duration::from_millis(3));
        let first: HashMap<_, _> = starts.iter().rev().copied().collect();
        assert_eq!(first.len(), 1000);
        assert!(first.values().all(|at| *at <= SECOND / 2), "all start within the warm-up");

        // Starts are regular by the third at the latest: 100 points in 2 s, 10 checks at each.
        let mut at = HashMap::new();
        for (_, time) in starts.iter().filter(|(_, at)| *at >= 4 * SECOND && *at < 6 * SECOND) {
            *at.entry(*time).or_insert(0) += 1;
        }
        assert_eq!(at.values().sum::<i32>(), 1000);
        assert_eq!(at.len(), 100, "one wake-up starts several");
        assert!(at.values().all(|count| (8..=12).contains(count)), "{at:?}");
    }

    #[test]
    fn what_is_late_starts_once_and_keeps_its_phase() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, SECOND, Duration::ZERO, start);
        schedule.due(start).unwrap();
        schedule.finished(0, after(start, 5));
        // Nobody polls the schedule for a minute.
        let late = after(start, 60_250);
        let due = schedule.due(late).unwrap();
        assert_eq!(due.late, Duration::from_millis(59_250));
        schedule.finished(0, after(start, 60_255));
        assert_eq!(schedule.due(late), None);
        assert_eq!(schedule.next(), Some(after(start, 61_000)));
    }

    #[test]
    fn a_check_that_said_nothing_is_repeated_soon() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, 10 * SECOND, Duration::ZERO, start);
        schedule.due(start).unwrap();
        schedule.repeat(0, after(start, 3000));
        assert_eq!(schedule.next(), Some(after(start, 4000)));
        schedule.due(after(start, 4000)).unwrap();
        schedule.finished(0, after(start, 4005));
        assert_eq!(schedule.next(), Some(after(start, 10_000)), "and then as before");
    }

    #[test]
    fn a_check_that_was_removed_does_not_come_back() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, SECOND, Duration::ZERO, start);
        schedule.due(start).unwrap();
        schedule.remove(0);
        schedule.finished(0, start);
        assert_eq!((schedule.next(), schedule.len()), (None, 0));
        schedule.insert(1, SECOND, Duration::ZERO, start);
        schedule.remove(1);
        assert_eq!(schedule.due(after(start, 5000)), None);
        assert!(schedule.is_empty());
    }

    #[test]
    fn a_new_interval_holds_from_the_next_start() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, 100 * SECOND, Duration::ZERO, start);
        schedule.due(start).unwrap();
        schedule.finished(0, after(start, 5));
        assert_eq!(schedule.next(), Some(after(start, 100_000)));
        schedule.insert(0, 2 * SECOND, Duration::ZERO, after(start, 1000));
        assert_eq!(schedule.next(), Some(after(start, 3000)), "within one of the new intervals");
        schedule.due(after(start, 3000)).unwrap();
        schedule.insert(0, 4 * SECOND, Duration::ZERO, after(start, 3500));
        assert_eq!(schedule.due(after(start, 3600)), None, "it is still under way");
        schedule.finished(0, after(start, 3700));
        assert_eq!(schedule.next(), Some(after(start, 7000)));
    }

    #[test]
    fn an_interval_of_nothing_is_a_millisecond() {
        let start = Instant::now();
        let mut schedule = Schedule::new(start);
        schedule.insert(0, Duration::ZERO, Duration::MAX, start);
        schedule.insert(1, Duration::MAX, Duration::MAX, start);
        assert_eq!(schedule.due(start).map(|due| due.id), Some(0));
        schedule.finished(0, start);
        assert_eq!(schedule.next(), Some(after(start, 1)));
    }

    proptest! {
        /// Whatever is inserted, changed, removed, due, finished or repeated.
        #[test]
        fn the_first_entry_holds_and_the_others_are_few(
            steps in prop::collection::vec((0_u8..6, 0_usize..8, 1_u64..5000), 1..400),
        ) {
            let mut now = Instant::now();
            let mut schedule = Schedule::new(now);
            for (step, id, time) in steps {
                match step {
                    0 => schedule.insert(id, Duration::from_millis(time), SECOND, now),
                    1 => schedule.remove(id),
                    2 => schedule.finished(id, now),
                    3 => schedule.repeat(id, now),
                    4 => drop(schedule.due(now)),
                    _ => now += Duration::from_millis(time),
                }
                let waiting = schedule.checks.values().filter(|it| !it.under_way);
                let first = waiting.map(|it| it.start).min();
                let first = first.map(|start| schedule.epoch + Duration::from_millis(start));
                prop_assert_eq!(schedule.next(), first);
                prop_assert!(schedule.waiting.len() <= 2 * schedule.len() + FEW);
            }
        }

        /// Whatever the checks take and whenever they are inserted: from the second start on, each
        /// starts at exact multiples of its interval, skipping a start only while it is in flight.
        #[test]
        fn starts_are_regular_and_none_is_left_out(
            checks in prop::collection::vec((1_u64..5000, 0_u64..12_000, 0_u64..3000), 1..20),
        ) {
            let start = Instant::now();
            let mut schedule = Schedule::new(start);
            let mut checks_ = checks.clone();
            checks_.sort_by_key(|check| check.2);
            for (id, (interval, _, _)) in checks_.iter().enumerate() {
                schedule.insert(id, Duration::from_millis(*interval), SECOND, start);
            }
            let took = |id: usize| Duration::from_millis(checks_[id].1);
            let starts = play(&mut schedule, start, 20 * SECOND, took);
            for (id, (interval, took, _)) in checks_.iter().enumerate() {
                let times: Vec<u128> =
                    starts.iter().filter(|it| it.0 == id).map(|it| it.1.as_millis()).collect();
                let (interval, took) = (u128::from(*interval), u128::from(*took));
                prop_assert!(times[0] <= interval.min(1000) + 20);
                for pair in times.windows(2).skip(1) {
                    let gap = pair[1] - pair[0];
                    prop_assert_eq!(gap % interval, 0);
                    prop_assert!(gap <= (took / interval + 1) * interval, "{} after {}", gap, took);
                }
            }
        }
    }
}
