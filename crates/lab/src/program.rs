//! The program `lab`, from which our processes are started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

/// This program, even if its file is moved or replaced.
const OWN: &str = "/proc/self/exe";

/// The program `lab`, which all processes of a guest run, except its kernel.
///
/// A caller that uses the library from another program has to give its path.
#[derive(Debug, Clone)]
pub struct Program(PathBuf);

impl Program {
    /// The program at `path`, which must be from the same build as the caller.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The running program.
    pub(crate) fn own() -> Self {
        Self(PathBuf::from(OWN))
    }

    /// A command that runs one of the program's hidden tasks.
    pub(crate) fn task(&self, name: &str) -> Command {
        let mut command = Command::new(&self.0);
        command.arg(name);
        command
    }

    /// Keeps the program as `copy`, because a build may replace its file.
    pub(crate) fn keep(&self, copy: &Path) -> Result<()> {
        // A link in /proc leads to the file; any other path is the file itself.
        let file = fs::read_link(&self.0).unwrap_or_else(|_| self.0.clone());
        if fs::hard_link(file, copy).is_err() {
            fs::copy(&self.0, copy)
                .with_context(|| format!("can't copy lab to {}", copy.display()))?;
        }
        Ok(())
    }
}
