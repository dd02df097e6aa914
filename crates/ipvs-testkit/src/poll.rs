//! Polling for what the kernel does asynchronously.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How long to sleep between attempts.
const PAUSE: Duration = Duration::from_millis(20);

/// Tries `attempt` until it succeeds, for at most `limit`; an error means "not yet".
///
/// Use it for statistics, which kernels before Linux 6.2 refresh every 2 seconds; for connection
/// synchronization; and for anything that depends on a process that has just started.
///
/// # Errors
///
/// Returns the last attempt's error if none succeeded in time. At least one attempt is made, and an
/// attempt in progress is not interrupted: give blocking attempts a deadline of their own.
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
        // Whether there is time for a second attempt depends on the machine.
        assert_eq!(result.unwrap_err().root_cause().to_string(), format!("try {tries}"));
    }
}
