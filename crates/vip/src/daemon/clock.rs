//! The time that the daemon goes by.

use std::time::{Duration, Instant};

use ipvs_os::boot_time;

/// A clock that also counts while the machine is suspended (`CLOCK_BOOTTIME`), as `Instant`s.
///
/// `Instant::now` stands still then (`CLOCK_MONOTONIC`). A router that has slept has to know: others
/// have taken over meanwhile, and it must not go on as the Active one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
    boot: Duration,
}

impl Clock {
    /// A clock that agrees with `Instant::now` until the machine is suspended.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now(), boot: boot_time() }
    }

    /// The time. It never goes backwards.
    pub(crate) fn now(&self) -> Instant {
        let passed = boot_time().saturating_sub(self.boot);
        self.start.checked_add(passed).unwrap_or(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_as_other_clocks_do() {
        let clock = Clock::start();
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        let passed = clock.now().saturating_duration_since(first);
        assert!(passed >= Duration::from_millis(5), "{passed:?}");
        assert!(first >= clock.start);
    }
}
