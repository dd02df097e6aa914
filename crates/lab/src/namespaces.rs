//! Namespaces that an ordinary user may make.

use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

/// Enters a mount namespace, and a user namespace to be allowed to.
///
/// # Errors
///
/// If this machine forbids it.
pub fn enter_own() -> Result<()> {
    if geteuid().is_root() {
        return unshare(CloneFlags::CLONE_NEWNS).context("can't make a mount namespace");
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .context("can't make a user namespace")?;
    // user_namespaces(7): a group can be mapped without privilege only where setgroups is denied.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("{user} {user} 1")),
        ("gid_map", format!("{group} {group} 1")),
    ] {
        let path = Path::new("/proc/self").join(file);
        std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok(())
}
