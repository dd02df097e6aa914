//! Programs of Debian's userlands, started in network namespaces.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use lab::userland;
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};

use crate::namespace::Namespace;

/// The roots that are ready for programs.
static MOUNTED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A small Debian below a folder, whose programs a test runs. They see its files as theirs, the
/// test's temporary directory, and their own `/run`.
///
/// `cargo xtask` fetches it and names the folder in an environment variable.
#[derive(Clone, Debug)]
pub struct Userland {
    root: PathBuf,
}

impl Userland {
    /// The userland with the real servers.
    ///
    /// # Errors
    ///
    /// If its variable isn't set, or the kernel refuses to mount what its programs need.
    pub fn servers() -> Result<Self> {
        Self::open(userland::SERVERS)
    }

    /// The userland with other health checkers.
    ///
    /// # Errors
    ///
    /// See [`Userland::servers`].
    pub fn rivals() -> Result<Self> {
        Self::open(userland::RIVALS)
    }

    fn open(which: userland::Userland) -> Result<Self> {
        let root = root(which)?;
        let mut mounted = MOUNTED.lock().unwrap_or_else(PoisonError::into_inner);
        if !mounted.contains(&root) {
            prepare(&root).with_context(|| format!("cannot prepare {root:?} for its programs"))?;
            mounted.insert(root.clone());
        }
        Ok(Self { root })
    }

    /// A command that runs `program`, by its path in the userland, inside `netns`.
    pub fn command(&self, netns: &Namespace, program: impl AsRef<OsStr>) -> Command {
        self.command_by(&[], netns, program)
    }

    /// The same, executed by a command outside, which the words `by` begin.
    pub fn command_by(
        &self,
        by: &[&str],
        netns: &Namespace,
        program: impl AsRef<OsStr>,
    ) -> Command {
        let mut command = netns.command_by(by, "chroot");
        command.arg(&self.root).arg(program);
        // The test's own variables are about the files outside.
        // PATH is for `ip` and `chroot`; it ends in the system's folders, the userland's too.
        command.env_clear().envs([("LC_ALL", "C"), ("HOME", "/root")]);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// A file of the userland, as seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

/// Where the files of a userland are.
pub(crate) fn root(which: userland::Userland) -> Result<PathBuf> {
    let variable = which.variable();
    let root = std::env::var_os(variable).map(PathBuf::from);
    root.with_context(|| format!("{variable} doesn't name a userland"))
}

/// Mounts what programs expect beside the files of their packages. The mounts go with the guest, or
/// with the mount namespace that tests run in on a kernel that is shared.
fn prepare(root: &Path) -> Result<()> {
    for place in ["/proc", "/dev"] {
        mount_bind_recursive(place, root.join(place.trim_start_matches('/')))
            .with_context(|| format!("cannot mount {place}"))?;
    }
    mount("tmpfs", root.join("run"), "tmpfs", MountFlags::empty(), None)
        .context("cannot mount /run")?;
    // Servers and their tests share files here.
    let temporary = std::env::temp_dir();
    let inside = root.join(temporary.strip_prefix("/").unwrap_or(&temporary));
    fs::create_dir_all(&inside).with_context(|| format!("cannot make {inside:?}"))?;
    mount_bind(&temporary, &inside).with_context(|| format!("cannot mount {temporary:?}"))
}
