//! Whether systemd is stopping a unit or restarting it.
//!
//! To a service both look the same: it is told to stop. The job tells them apart, because systemd
//! turns the job of a restart into that of a start only once the unit has stopped.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long systemctl may take. Then the unit counts as being stopped.
const TIMEOUT: Duration = Duration::from_secs(5);

const POLL: Duration = Duration::from_millis(5);

/// Whether the running job of this unit is a restart.
pub(super) fn is_restarting(unit: &str) -> bool {
    jobs(unit).is_some_and(|jobs| is_restart(&jobs, unit))
}

/// What `systemctl list-jobs` prints about the unit.
fn jobs(unit: &str) -> Option<String> {
    let mut child = Command::new("systemctl")
        .args(["list-jobs", "--no-legend", "--no-pager", "--plain", "--full", "--", unit])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + TIMEOUT;
    // A line or two fit into the pipe, so it doesn't wait for a reader.
    while child.try_wait().ok()?.is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        thread::sleep(POLL);
    }
    let mut text = String::new();
    child.stdout?.take(64 << 10).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Looks for the unit's job in lines of number, unit, type and state.
fn is_restart(jobs: &str, unit: &str) -> bool {
    jobs.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        matches!(words[..], [_, name, kind, ..] if name == unit && kind == "restart")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The columns are those of `systemctl list-jobs` (systemctl(1)); its types those of
    /// `job_type_table` in systemd's source.
    #[test]
    fn only_a_restart_job_of_the_unit_is_a_restart() {
        let unit = "ldirectord@web.cf.service";
        assert!(is_restart("  3120 ldirectord@web.cf.service restart running\n", unit));
        assert!(!is_restart("3120 ldirectord@web.cf.service stop running\n", unit));
        assert!(!is_restart("3121 ldirectord@mail.cf.service restart waiting\n", unit));
        assert!(!is_restart("", unit));
        assert!(!is_restart("No jobs running.\n", unit));
    }
}
