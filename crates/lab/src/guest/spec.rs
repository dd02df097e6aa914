//! What the guest's PID 1 is told to do.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The kernel hands words of its command line that it doesn't know to PID 1 as environment: this
/// one names the spec's file.
pub(crate) const VARIABLE: &str = "IPVS_GUEST_SPEC";

/// Standard exit statuses of those who run commands for others.
pub(crate) mod status {
    /// The command exists but can't be executed.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// There is no such command.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// A signal `n` ended the command: 128 + n.
    pub(crate) const SIGNAL_BASE: i32 = 128;
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where the command starts.
    pub directory: PathBuf,
    /// Folders of the host that the command may change. All other changes stay in the guest's
    /// memory.
    pub writable: Vec<PathBuf>,
    /// The folder that holds the kernel's modules, in a folder named for its release.
    pub modules: PathBuf,
    /// The size of the terminal that the command gets (rows, columns), or none: then it gets three
    /// pipes.
    pub terminal: Option<(u16, u16)>,
}

impl Spec {
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text =
            serde_json::to_vec_pretty(self).context("the guest's spec can't be written as JSON")?;
        std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no spec", path.display()))
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&OsString> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}
