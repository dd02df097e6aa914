//! Paths in the checkout.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::progress;

/// The path of this package's manifest, relative to the root.
const THIS_PACKAGE: &str = "crates/lab/Cargo.toml";

/// How long another process may keep a folder locked.
const LOCK_TIMEOUT: Duration = Duration::from_secs(900);

/// The root of the workspace. Cargo tells where the package it runs is; a binary that was moved
/// elsewhere remembers where it was built.
pub fn root() -> PathBuf {
    let built = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let is_root = |folder: &&Path| folder.join(THIS_PACKAGE).is_file();
    let roots = [package.as_deref(), Some(built.as_path())].into_iter().flatten();
    let root = roots.flat_map(Path::ancestors).find(is_root).map(Path::to_owned);
    root.unwrap_or(built)
}

/// The folder of fetched kernels. It isn't in Cargo's target directory if the user moved that:
/// kernels and tools don't depend on a build, so all builds of this checkout share them.
pub(crate) fn kernels() -> PathBuf {
    root().join("target/kernels")
}

/// The folder of fetched programs, in the same place for the same reason.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// The folder of fetched userlands.
pub(crate) fn userlands() -> PathBuf {
    root().join("target/userlands")
}

/// Where guests find their PID 1.
pub(crate) fn guests() -> PathBuf {
    root().join("target/guests")
}

/// A folder that only this process may change until this is dropped.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "closing the file is what releases the lock")] File);

impl Lock {
    /// Creates the folder if it is missing, and waits for its lock.
    ///
    /// # Errors
    ///
    /// The folder can't be created or locked, or another process has held the lock for 15 minutes.
    pub fn folder(folder: &Path) -> Result<Self> {
        let lock = || format!("can't lock {}", folder.display());
        std::fs::create_dir_all(folder).with_context(|| {
            format!("can't make {}; what is fetched is kept there", folder.display())
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
                "another process has kept {} for {} s; end it and try again",
                folder.display(),
                LOCK_TIMEOUT.as_secs()
            );
            if !std::mem::replace(&mut waiting, true) {
                progress::now("waiting for another process that is fetching");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}
