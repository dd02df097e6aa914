//! How often the same thing is said.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The time after which it is worth saying again.
const PAUSE: Duration = Duration::from_secs(60);

/// The most things that are remembered. Whoever can send adverts can make up any number of them.
const MOST: usize = 256;

/// Remembers what was said lately.
#[derive(Debug, Default)]
pub(crate) struct Limiter(BTreeMap<String, Instant>);

impl Limiter {
    /// Whether to say this now.
    pub(crate) fn allows(&mut self, text: &str, now: Instant) -> bool {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < PAUSE;
        if self.0.get(text).is_some_and(is_recent) {
            return false;
        }
        if self.0.len() >= MOST {
            self.0.retain(|_, at| is_recent(at));
        }
        if self.0.len() >= MOST {
            return false;
        }
        self.0.insert(text.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_thing_is_said_once_a_minute() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert!(limiter.allows("a", start));
        assert!(!limiter.allows("a", start + PAUSE / 2));
        assert!(limiter.allows("b", start + PAUSE / 2));
        assert!(limiter.allows("a", start + PAUSE));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        for number in 0..10 * MOST {
            limiter.allows(&number.to_string(), start);
        }
        assert_eq!(limiter.0.len(), MOST);
        assert!(!limiter.allows("more", start));
        assert!(limiter.allows("more", start + PAUSE));
        assert_eq!(limiter.0.len(), 1);
    }
}
