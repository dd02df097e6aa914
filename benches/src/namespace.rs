//! A network namespace for each measurement, and folders that programs write to.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

/// Moves this process to a new network namespace: all addresses and ports are free, and with IPVS the
/// table is empty. The kernel keeps deleted real servers for minutes and searches them for each that
/// is added, so deleting them isn't enough.
///
/// `/run` is empty and its own as well: a daemon of this machine keeps its files.
///
/// # Errors
///
/// Without the rights for that.
pub fn fresh() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNS).context("can't make a mount namespace")?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .context("can't keep mounts to this process")?;
    mount("tmpfs", "/run", "tmpfs", MountFlags::empty(), None).context("can't mount /run")?;
    unshare(CloneFlags::CLONE_NEWNET).context("can't make a network namespace")?;
    let status = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    ensure!(status.context("can't run ip")?.success(), "`ip link set lo up` failed");
    Ok(())
}
