//! `cargo xtask bench vipd`: what virtual routers cost that are Active, beside keepalived and a loop that
//! only sends. It is measured on this machine's own kernel, because User-Mode Linux can't tell the
//! processor time of a process; IPVS isn't needed.

mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ipvs_benches::vipd::report::{Native, Report};
use ipvs_benches::vipd::settings::Settings;
use lab::userland::RIVALS;
use lab::{paths, process, progress, tools};

use super::director::{keepalived, write};
use super::read;
use crate::cargo;
use crate::docs::{Part, today};

pub(super) use table::page;

/// All measurements together take less than half an hour.
const TIMEOUT: Duration = Duration::from_secs(2 * 60 * 60);

/// All measurements.
pub(super) const TABLE: Part = Part {
    file: "docs/benchmarks.md",
    name: "table of adverts",
    start: "<!-- bench-vipd:begin (cargo xtask bench vipd --into-docs) -->\n",
    end: "<!-- bench-vipd:end -->\n",
};

#[derive(Debug, Args)]
pub(super) struct Vipd {
    /// How often each program is watched
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How long each program is watched in each round, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Measure only what has this in its name, such as `keepalived 1` or `255 spread`
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Write the measurements as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into docs/benchmarks.md
    #[arg(long, conflicts_with = "filter")]
    into_docs: bool,
}

impl Vipd {
    pub(super) fn run(self) -> Result<u8> {
        if self.into_docs {
            // Fail now, not after all measurements.
            TABLE.recorded()?;
        }
        let folder = paths::root().join("target/bench/vipd");
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let rivals = RIVALS.ensure()?;
        progress::now("building what is measured");
        let settings = Settings {
            vipd: cargo::build(&["build", "--release", "-p", "vip"], "vipd")?,
            keepalived: keepalived(&rivals),
            rounds: self.rounds as usize,
            window: self.window,
            filter: self.filter.unwrap_or_default(),
            folder,
        };
        let bench = ["build", "--release", "-p", "ipvs-benches", "--bin", "adverts"];
        let report = Report {
            date: today()?,
            keepalived: RIVALS.version("keepalived")?,
            native: measure(&cargo::build(&bench, "adverts")?, &settings)?,
        };
        progress::done();
        let text = page(&report);
        print!("{text}");
        if let Some(file) = &self.json {
            write(file, &report)?;
        }
        if self.into_docs {
            super::record(|measured| measured.vipd = Some(report))?;
            TABLE.write(&text)?;
        }
        Ok(0)
    }
}

fn measure(program: &Path, settings: &Settings) -> Result<Native> {
    progress::now("measuring");
    let file = settings.folder.join("settings.json");
    write(&file, settings)?;
    let mut command = Command::new(program);
    command.arg("measure").arg(file);
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = tools::ensure(&["ip"])?.into_iter().chain(std::env::split_paths(&own));
    command.env("PATH", std::env::join_paths(folders)?);
    let status = process::watch(&mut command, TIMEOUT, progress::note)?;
    ensure!(status.success(), "measuring ended with {status}");
    read(&settings.folder.join("report.json"))
}
