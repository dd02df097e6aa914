//! The system's clocks.

use std::mem::MaybeUninit;
use std::time::Duration;

/// The time of `CLOCK_MONOTONIC`: since some moment before this process began. Other processes of the
/// same time namespace have the same clock, so it can be told to them, unlike an
/// [`Instant`](std::time::Instant).
///
/// The C library reads it, because rustix panics on kernels whose vDSO lacks some of its functions.
/// See [clock_gettime(2)](https://man7.org/linux/man-pages/man2/clock_gettime.2.html).
#[doc(alias = "clock_gettime")]
pub fn monotonic_time() -> Duration {
    time(libc::CLOCK_MONOTONIC)
}

/// The time of `CLOCK_BOOTTIME`: as [`monotonic_time`], with the time for which the machine was
/// suspended.
#[doc(alias = "clock_gettime")]
pub fn boot_time() -> Duration {
    time(libc::CLOCK_BOOTTIME)
}

fn time(clock: libc::clockid_t) -> Duration {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the pointer is to a timespec, which the call fills if it succeeds.
    let result = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    if result != 0 {
        // Not with these clocks and a valid pointer.
        return Duration::ZERO;
    }
    // SAFETY: the call has succeeded.
    let time = unsafe { time.assume_init() };
    // Neither is ever negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Since a boot: no machine has been running for 20 years, and the epoch was more than 50 ago.
    #[test]
    fn it_is_the_time_since_the_boot_and_goes_on() {
        for time in [monotonic_time, boot_time] {
            let before = time();
            assert!(!before.is_zero() && before.as_secs() < 20 * 366 * 86_400, "{before:?}");
            std::thread::sleep(Duration::from_millis(2));
            assert!(time() - before >= Duration::from_millis(2));
        }
    }
}
