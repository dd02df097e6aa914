//! The instructions for the guest's PID 1.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The variable that names the spec's file. The kernel passes unknown words of its command line to
/// PID 1 as environment variables.
pub(crate) const VARIABLE: &str = "IPVS_GUEST_SPEC";

/// The standard exit statuses of programs that run other commands.
pub(crate) mod status {
    /// The command exists but can't be executed.
    pub(crate) const NOT_EXECUTABLE: u8 = 126;
    /// There is no such command.
    pub(crate) const NOT_FOUND: u8 = 127;
    /// Signal `n` killed the command: 128 + n.
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
    /// Host folders that the command may change. All other changes stay in the guest's memory.
    pub writable: Vec<PathBuf>,
    /// The folder that contains the kernel's modules, in a subfolder named after the release.
    pub modules: PathBuf,
    /// The size of the command's terminal (rows, columns). With `None`, the command gets three
    /// pipes instead.
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
