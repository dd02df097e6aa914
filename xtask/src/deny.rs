//! `cargo xtask deny`: checks the dependencies against the rules of deny.toml.

use anyhow::{Result, ensure};
use clap::Args;

use lab::{paths, progress};

use crate::cargo;
use crate::install::Program;

const CARGO_DENY: Program = Program { name: "cargo-deny", version: "0.20.2", arguments: &[] };

/// The workspaces to check: the main one, and that of the fuzz targets.
const MANIFESTS: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// Skip the list of known vulnerabilities, which has to be fetched
    #[arg(long)]
    offline: bool,
}

impl Deny {
    pub(crate) fn run(self) -> Result<u8> {
        let program = CARGO_DENY.path()?;
        let mut checks = vec!["bans", "licenses", "sources"];
        if self.offline {
            progress::note("skipping known vulnerabilities (--offline)");
        } else {
            checks.push("advisories");
        }
        for manifest in MANIFESTS {
            progress::note(&format!("{} of {manifest}", checks.join(", ")));
            let mut command = std::process::Command::new(&program);
            command.current_dir(paths::root());
            command.args(["--manifest-path", manifest, "--config", "deny.toml", "check"]);
            let held = cargo::watch(command.args(&checks), |line| println!("{line}"))?;
            ensure!(held, "{manifest} has what deny.toml forbids, or it couldn't be looked at");
        }
        Ok(0)
    }
}
