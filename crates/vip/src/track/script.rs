//! A command that is run again and again: when, and what its results mean.

use std::time::{Duration, Instant};

/// When a command is started, and whether it counts as up.
///
/// Start it when [`is_due`](Self::is_due), and say how it ended in [`ended`](Self::ended). Starts are
/// `every` apart, but there is never more than one under way: while one takes longer, starts are left
/// out.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    every: Duration,
    rise: u16,
    fall: u16,
    next: Instant,
    is_running: bool,
    up: Option<bool>,
    /// How many results in a row have contradicted `up`.
    streak: u16,
}

impl Script {
    /// A command that is due at once.
    pub(crate) const fn new(every: Duration, rise: u16, fall: u16, now: Instant) -> Self {
        Self { every, rise, fall, next: now, is_running: false, up: None, streak: 0 }
    }

    /// When to ask whether it [`is_due`](Self::is_due). None while it runs.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        (!self.is_running).then_some(self.next)
    }

    /// Whether to start it now. If so, it counts as running.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        if self.is_running || now < self.next {
            return false;
        }
        self.is_running = true;
        self.next += self.every;
        if self.next <= now {
            self.next = now + self.every;
        }
        true
    }

    /// It ended, or couldn't be started. Returns whether it is up if that has changed; the first result
    /// decides alone.
    pub(crate) fn ended(&mut self, is_success: bool, now: Instant) -> Option<bool> {
        self.is_running = false;
        // Starts that were left out aren't made up for.
        while self.next <= now {
            self.next += self.every;
        }
        let needed = match self.up {
            None => 1,
            Some(up) if up == is_success => {
                self.streak = 0;
                return None;
            }
            Some(true) => self.fall,
            Some(false) => self.rise,
        };
        self.streak += 1;
        if self.streak < needed {
            return None;
        }
        (self.up, self.streak) = (Some(is_success), 0);
        self.up
    }

    /// Whether it is up. None before the first result.
    pub(crate) const fn is_up(&self) -> Option<bool> {
        self.up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn rise_and_fall_count_results_in_a_row() {
        let now = Instant::now();
        let mut script = Script::new(SECOND, 2, 3, now);
        let mut results = |results: &[bool]| -> Vec<Option<bool>> {
            results.iter().map(|it| script.ended(*it, now)).collect()
        };
        assert_eq!(results(&[true]), [Some(true)], "the first decides");
        assert_eq!(results(&[false, false, true]), [None, None, None]);
        assert_eq!(results(&[false, false, false]), [None, None, Some(false)]);
        assert_eq!(results(&[true, false, true, true]), [None, None, None, Some(true)]);
        assert_eq!(script.is_up(), Some(true));
    }

    #[test]
    fn it_starts_on_a_grid_and_never_twice_at_once() {
        let start = Instant::now();
        let mut script = Script::new(SECOND, 1, 1, start);
        assert!(script.is_due(start) && !script.is_due(start + 10 * SECOND), "it runs");
        assert_eq!(script.deadline(), None);
        // It took a while: the next start is where it would have been.
        script.ended(true, start + SECOND / 2);
        assert_eq!(script.deadline(), Some(start + SECOND));
        assert!(!script.is_due(start + SECOND / 2) && script.is_due(start + SECOND));
        // It took longer than a period.
        script.ended(true, start + 5 * SECOND / 2);
        assert_eq!(script.deadline(), Some(start + 3 * SECOND));
        // The loop was late.
        assert!(script.is_due(start + 10 * SECOND));
        script.ended(true, start + 10 * SECOND);
        assert_eq!(script.deadline(), Some(start + 11 * SECOND));
    }
}
