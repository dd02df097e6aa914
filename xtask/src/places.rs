//! Where things are in the checkout.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::progress;

/// How long another xtask may keep what this one wants to use.
const LOCK_TIMEOUT: Duration = Duration::from_secs(900);

/// The root of the workspace. Cargo says where this package is; a binary that was moved elsewhere
/// knows where it was built.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_owned)
}

/// What xtask fetches. Not in Cargo's target directory if the user moved that one: kernels and
/// tools don't depend on a build, so every build of this checkout shares them.
pub(crate) fn kernels() -> PathBuf {
    root().join("target/kernels")
}

/// See [`kernels`].
pub(crate) fn tools() -> PathBuf {
    root().join("target/tools")
}

/// Where guests find their PID 1.
pub(crate) fn guests() -> PathBuf {
    root().join("target/guests")
}

/// A folder that only this process changes, until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock(
    #[expect(dead_code, reason = "closing the file is what releases the lock")] File,
);

impl Lock {
    /// Makes the folder if need be, and waits its turn.
    pub(crate) fn folder(folder: &Path) -> Result<Self> {
        let lock = || format!("can't lock {}", folder.display());
        std::fs::create_dir_all(folder).with_context(|| {
            format!("can't make {}; xtask keeps what it fetches there", folder.display())
        })?;
        let file = File::create(folder.join(".lock")).with_context(lock)?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        let mut waiting = false;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self(file)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).with_context(lock),
            }
            ensure!(
                Instant::now() < deadline,
                "another xtask has kept {} for {} s; end it and try again",
                folder.display(),
                LOCK_TIMEOUT.as_secs()
            );
            if !std::mem::replace(&mut waiting, true) {
                progress::now("waiting for another xtask that is fetching");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
