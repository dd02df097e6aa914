//! Waiting for what the kernel does in its own time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How long to sleep between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries `attempt` until it succeeds, for at most `limit`; an error means "not yet".
///
/// What needs it: statistics, which kernels before Linux 6.2 refresh every 2 seconds; connection
/// synchronisation; anything a just started process does.
///
/// # Errors
///
/// The last attempt's error, if none succeeded in time. There is at least one attempt, and one
/// that is under way is waited for: give blocking attempts a deadline of their own.
///
/// ```
/// use std::time::Duration;
///
/// let mut tries = 0;
/// let third = ipvs_testkit::eventually(Duration::from_secs(5), || {
///     tries += 1;
///     anyhow::ensure!(tries == 3, "only {tries} so far");
///     Ok(tries)
/// })?;
/// assert_eq!(third, 3);
/// # Ok::<(), anyhow::Error>(())
/// ```
pub fn eventually<T>(limit: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => {
                return Err(error).context(format!("still so after {limit:?}"));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_comes_out() {
        let mut tries = 0;
        let result: Result<()> = eventually(Duration::from_millis(50), || {
            tries += 1;
            anyhow::bail!("try {tries}")
        });
        // Whether there is time for a second try is up to the machine.
        assert_eq!(result.unwrap_err().root_cause().to_string(), format!("try {tries}"));
    }
}
