//! Enters the other system: a process makes that system's folder its root, mounts the checkout
//! there, and executes one of its programs.
//!
//! An ordinary user may do so in a user namespace. There the process keeps the user's identity, so
//! the files it writes belong to the user. It may mount and change its root, and loses those rights
//! when it executes the program.

use std::convert::Infallible;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use lab::namespaces;
use lab::paths;
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change,
};
use rustix::process::{Signal, chroot, geteuid, set_parent_process_death_signal};

use super::root::{CHECKOUT_INSIDE, FOLDER_INSIDE, system};

/// Executes `command`, an absolute path and arguments, in the system below `folder`, replacing this
/// process.
pub(crate) fn enter(folder: &Path, command: &[OsString]) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("can't tie Cargo to xtask")?;
    let (program, arguments) = command.split_first().context("no program to start")?;
    change_root(folder).with_context(|| {
        if geteuid().is_root() {
            "can't change the root; in a container that takes the right to mount (CAP_SYS_ADMIN, --privileged)"
        } else {
            "this machine doesn't let ordinary users change the root in a namespace of their own (sysctls \
             user.max_user_namespaces, kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns); \
             as root it works"
        }
    })?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| {
        format!("can't start {} of the other system", Path::new(program).display())
    })
}

fn change_root(folder: &Path) -> Result<()> {
    let root = system(folder);
    namespaces::enter_own()?;
    // The following mounts must not propagate to the machine's own.
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("can't keep the mounts apart")?;
    let inside = |place: &str| root.join(place.trim_start_matches('/'));
    for place in ["/dev", "/proc"] {
        mount_bind_recursive(place, inside(place))
            .with_context(|| format!("can't mount {place}"))?;
    }
    mount("tmpfs", inside("/tmp"), "tmpfs", MountFlags::empty(), None)
        .context("can't mount /tmp")?;
    for (source, place) in [(paths::root().as_path(), CHECKOUT_INSIDE), (folder, FOLDER_INSIDE)] {
        mount_bind(source, inside(place))
            .with_context(|| format!("can't mount {} on {place}", source.display()))?;
    }
    chroot(&root).with_context(|| format!("can't make {} the root", root.display()))?;
    std::env::set_current_dir(CHECKOUT_INSIDE).context("can't enter the checkout")
}
