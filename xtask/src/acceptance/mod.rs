//! `cargo xtask acceptance`: plays acceptance scenarios with ours and with the programs it is compared
//! with.

mod director;
mod failover;
mod report;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;
use lab::paths;
use serde::de::DeserializeOwned;

#[derive(Debug, Subcommand)]
pub(crate) enum Acceptance {
    /// The health checker, beside ldirectord in Perl and keepalived
    Director(director::Director),
    /// Addresses that move: what has to hold, and the gaps beside those of keepalived
    Failover(failover::Failover),
}

impl Acceptance {
    pub(crate) fn run(self) -> Result<u8> {
        match self {
            Self::Director(director) => director.run(),
            Self::Failover(failover) => failover.run(),
        }
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no report", path.display()))
}

/// Creates the folder for the results.
fn folder() -> Result<PathBuf> {
    let folder = paths::root().join("target/reports/acceptance");
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}
