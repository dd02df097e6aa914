//! Namespaces that an unprivileged user may create.

use std::path::Path;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

/// Enters a new mount namespace, and a new user namespace to get the right to do so.
///
/// # Errors
///
/// This machine forbids it.
pub fn enter_own() -> Result<()> {
    if geteuid().is_root() {
        return unshare(CloneFlags::CLONE_NEWNS).context("can't make a mount namespace");
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)
        .context("can't make a user namespace")?;
    // user_namespaces(7): an unprivileged process may map a group only after it has denied
    // setgroups.
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
