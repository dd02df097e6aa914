//! `cargo xtask deny`: what may be depended on, by the rules of deny.toml.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cargo::{self, cargo};
use crate::places::{self, Lock};
use crate::progress;

/// The release of cargo-deny that is built.
const VERSION: &str = "0.20.2";

/// What is looked at: the workspace, and the fuzz targets, which are one of their own.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// Leave out the list of known vulnerabilities, which is fetched
    #[arg(long)]
    offline: bool,
}

impl Deny {
    pub(crate) fn run(self) -> Result<u8> {
        let program = install()?;
        let mut checks = vec!["bans", "licenses", "sources"];
        if self.offline {
            progress::note("the list of known vulnerabilities is left out, as --offline wants it");
        } else {
            checks.push("advisories");
        }
        for manifest in MANIFESTS {
            progress::note(&format!("{} of {manifest}", checks.join(", ")));
            let mut command = std::process::Command::new(&program);
            command.current_dir(places::root());
            command.args(["--manifest-path", manifest, "--config", "deny.toml", "check"]);
            let held = cargo::watch(command.args(&checks), |line| println!("{line}"))?;
            ensure!(held, "{manifest} has what deny.toml forbids, or it couldn't be looked at");
        }
        Ok(0)
    }
}

/// Builds cargo-deny, if it isn't there: it takes a few minutes.
fn install() -> Result<PathBuf> {
    let folder = places::root().join("target/cargo-deny").join(VERSION);
    let _lock = Lock::folder(&folder)?;
    let program = folder.join("bin/cargo-deny");
    if !program.is_file() {
        progress::note("building cargo-deny");
        let mut command = cargo();
        command.args(["install", "cargo-deny", "--locked", "--debug", "--version", VERSION]);
        let built = cargo::watch(command.arg("--root").arg(&folder), |line| println!("{line}"))?;
        ensure!(built, "cargo-deny {VERSION} couldn't be built");
    }
    Ok(program)
}
