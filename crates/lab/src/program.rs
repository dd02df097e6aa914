//! The program `lab`, as what processes of ours are started from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// This program, whatever has become of its file.
const OWN: &str = "/proc/self/exe";

/// The program `lab`: all processes of a guest but its kernel run it.
///
/// Whoever uses the library from another program says where it is.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

impl Program {
    /// The one at `path`, of the same build as the caller.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The program that runs now.
    pub(crate) fn own() -> Self {
        Self(PathBuf::from(OWN))
    }

    /// A process that does one of the program's hidden tasks.
    pub(crate) fn task(&self, name: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.arg(name);
        command
    }

    /// Keeps the program as `copy`, whatever becomes of its file: a build may replace it.
    pub(crate) fn keep(&self, copy: &Path) -> Result<()> {
        // A link in /proc leads to the file; another path is one already.
        let file = fs::read_link(&self.0).unwrap_or_else(|_| self.0.clone());
        if fs::hard_link(file, copy).is_err() {
            fs::copy(&self.0, copy)
                .with_context(|| format!("can't copy lab to {}", copy.display()))?;
        }
        Ok(())
    }
}
