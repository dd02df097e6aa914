//! A network namespace for each measurement.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs_benches::floor::{self, Floor};
use nix::sched::{CloneFlags, unshare};

/// How long the kernel may take to remove the old namespace. On a machine that is never idle, this
/// can't be observed, and measuring continues.
const TIMEOUT: Duration = Duration::from_secs(2);

const LOOK: Duration = Duration::from_millis(50);

/// Moves this process to a new network namespace, whose table is empty.
///
/// Emptying the table isn't enough. The kernel keeps deleted real servers for minutes, and searches
/// all of them linearly for each one that is added (`ip_vs_trash_get_dest` in `ip_vs_ctl.c`). The
/// more had been measured, the longer a restore would take.
pub(crate) fn fresh(family: u16) -> Result<()> {
    // Do this now, not while something else is measured.
    Floor::open()?.play(&floor::clear(family))?;
    unshare(CloneFlags::CLONE_NEWNET).context("can't make a network namespace")?;
    // Without loopback, the kernel has no table of local addresses and takes every address for a
    // broadcast address.
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    ensure!(status.context("can't run ip")?.success(), "`ip link set lo up` failed");
    wait_until_idle()
}

/// Waits until the processors have been idle for a moment.
fn wait_until_idle() -> Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    let mut before = busy_ticks()?;
    loop {
        thread::sleep(LOOK);
        let now = busy_ticks()?;
        if now.saturating_sub(before) <= 1 || Instant::now() >= deadline {
            return Ok(());
        }
        before = now;
    }
}

/// How long all processors together have worked since the kernel started: the sum of all times in
/// the first line of `/proc/stat` except `idle` and `iowait`, which are its fourth and fifth.
fn busy_ticks() -> Result<u64> {
    let text = fs::read_to_string("/proc/stat").context("can't read /proc/stat")?;
    let ticks = text.lines().next().unwrap_or_default().split_ascii_whitespace().skip(1);
    let busy = ticks.enumerate().filter(|(at, _)| !matches!(at, 3 | 4));
    busy.map(|(_, ticks)| ticks.parse::<u64>().context("/proc/stat has no numbers")).sum()
}
