//! When a worker that died, or that is stuck, is replaced.

use std::time::{Duration, Instant};

/// The pause before the first attempt; each further one takes twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

/// A worker that has lived so long died of something new.
const HEALTHY: Duration = Duration::from_secs(60);

/// After so many seconds without a sign of life a worker is stuck.
const STUCK: u32 = 30;

/// How long to wait before the next worker starts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Respawn {
    pause: Duration,
}

impl Default for Respawn {
    fn default() -> Self {
        Self { pause: FIRST }
    }
}

impl Respawn {
    /// The pause after a worker that lived from `started` to `now`.
    pub(super) fn pause(&mut self, started: Instant, now: Instant) -> Duration {
        if now.saturating_duration_since(started) >= HEALTHY {
            self.pause = FIRST;
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST);
        pause
    }
}

/// Counts the seconds since a worker's last sign of life.
///
/// These are seconds in which this process ran, too: a machine that was paused makes no worker
/// stuck.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulse(u32);

impl Pulse {
    /// It is alive.
    pub(super) fn beat(&mut self) {
        self.0 = 0;
    }

    /// A second has passed. Whether the worker is stuck.
    pub(super) fn second(&mut self) -> bool {
        self.0 += 1;
        self.0 >= STUCK
    }

    /// Whether there was a sign of life within the last seconds.
    pub(super) fn is_recent(self) -> bool {
        self.0 <= 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_start_over_after_a_long_life() {
        let mut respawn = Respawn::default();
        let start = Instant::now();
        let pauses: Vec<u128> = (0..12).map(|_| respawn.pause(start, start).as_millis()).collect();
        assert_eq!(pauses[..4], [100, 200, 400, 800]);
        assert_eq!(pauses[10..], [30_000, 30_000]);
        assert_eq!(respawn.pause(start, start + HEALTHY), FIRST);
        assert_eq!(respawn.pause(start, start), FIRST * 2);
    }

    #[test]
    fn a_silent_worker_is_stuck_after_thirty_seconds() {
        let mut pulse = Pulse::default();
        assert!((0..29).all(|_| !pulse.second()));
        assert!(pulse.second() && !pulse.is_recent());
        pulse.beat();
        assert!(!pulse.second() && pulse.is_recent());
    }
}
