//! Builds programs from the registry for xtask's own use, below `target`.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use lab::paths::{self, Lock};
use lab::progress;

use crate::cargo::{self, cargo};

/// A release of a program, and how to build it.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Further arguments for `cargo install`, such as features.
    pub(crate) arguments: &'static [&'static str],
}

impl Program {
    /// Returns the path of the program. Builds it first if it is missing, which takes a few
    /// minutes.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        let Self { name, version, arguments } = self;
        let folder = paths::root().join("target").join(name).join(version);
        let _lock = Lock::folder(&folder)?;
        let program = folder.join("bin").join(name);
        if !program.is_file() {
            progress::note(&format!("building {name}"));
            let mut command = cargo();
            command.args(["install", name, "--locked", "--debug", "--version", version]);
            command.args(*arguments).arg("--root").arg(&folder);
            let built = cargo::watch(&mut command, |line| println!("{line}"))?;
            ensure!(built, "{name} {version} couldn't be built");
        }
        Ok(program)
    }
}
