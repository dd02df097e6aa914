//! A network namespace for each measurement.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};

/// Moves this process to a new network namespace: all addresses and ports are free, and with IPVS the
/// table is empty. The kernel keeps deleted real servers for minutes and searches them for each that
/// is added, so deleting them isn't enough.
pub(crate) fn fresh() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("can't make a network namespace")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    ensure!(status.context("can't run ip")?.success(), "`ip link set lo up` failed");
    Ok(())
}
