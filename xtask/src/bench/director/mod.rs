//! `cargo xtask bench director`: the speed of health checks beside keepalived and a bare client.
//!
//! What a check costs is measured on this machine's own kernel, because User-Mode Linux can't tell
//! the processor time of a process; IPVS is a model there, and keepalived's requests to it are taken
//! by a stand-in. How soon the table is complete, and how many checks fit, is measured in a guest,
//! with IPVS.

mod summary;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ipvs_benches::director::report::{Guest, Native, Report};
use ipvs_benches::director::settings::Settings;
use lab::userland::RIVALS;
use lab::{Job, KernelOption, Processors, paths, process, progress, tools};
use serde::Serialize;

use super::read;
use crate::cargo;
use crate::docs::{Part, today};

pub(super) use summary::summary;
pub(super) use table::{figures, megabytes, page};

/// All measurements together take about half an hour.
const TIMEOUT: Duration = Duration::from_secs(3 * 60 * 60);

/// How long a compiler may take.
const SHORT: Duration = Duration::from_secs(60);

/// All measurements.
pub(super) const TABLES: Part = Part {
    file: "docs/benchmarks.md",
    name: "tables of health checks",
    start: "<!-- bench-director:begin (cargo xtask bench director --into-docs) -->\n",
    end: "<!-- bench-director:end -->\n",
};

/// The comparison with keepalived, in short.
pub(super) const SUMMARY: Part = Part {
    file: "README.md",
    name: "table of health checks",
    start: "<!-- bench-director:begin (cargo xtask bench director --into-docs) -->\n",
    end: "<!-- bench-director:end -->\n",
};

#[derive(Debug, Args)]
pub(super) struct Director {
    #[command(flatten)]
    kernel: KernelOption,
    /// Rounds of each measurement of a cost or a start
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How often to search how many checks fit; a search takes four minutes for each program
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    searches: u32,
    /// How long each program is watched in each round, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    window: u64,
    /// Measure only what has this in its name, such as `native keepalived 1000`, `native`, `start` or
    /// `capacity ldirectord`
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Write the measurements as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the tables into docs/benchmarks.md and README.md
    #[arg(long, conflicts_with = "filter")]
    into_docs: bool,
}

impl Director {
    pub(super) fn run(self) -> Result<u8> {
        if self.into_docs {
            // Fail now, not after all measurements.
            TABLES.recorded()?;
            SUMMARY.recorded()?;
        }
        let kernel = self.kernel.prepare(&cargo::lab()?)?;
        let folder = paths::root().join("target/bench/director");
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let rivals = RIVALS.ensure()?;
        progress::now("building what is measured");
        let bench =
            |name| cargo::build(&["build", "--release", "-p", "ipvs-benches", "--bin", name], name);
        let measure = bench("checkers")?;
        let model = bench("ldirectord-model")?;
        let ldirectord = cargo::build(&["build", "--release", "-p", "ldirectord"], "ldirectord")?;
        let guest = Settings {
            farm: bench("farm")?,
            bare: bench("bare-checker")?,
            runner: bench("runner")?,
            ours: vec![ldirectord],
            keepalived: keepalived(&rivals),
            stand_in: None,
            rounds: self.rounds as usize,
            searches: self.searches as usize,
            window: self.window,
            filter: self.filter.clone().unwrap_or_default(),
            folder: folder.clone(),
        };
        let native =
            Settings { ours: vec![model], stand_in: Some(stand_in(&folder)?), ..guest.clone() };
        let native = match self.wants("native") {
            true => measure_natively(&measure, &native)?,
            false => Native::default(),
        };
        let guest = match self.wants("start") || self.wants("capacity") {
            true => measure_in_guest(&measure, &guest, &kernel)?,
            false => Guest::default(),
        };
        let report =
            Report { date: today()?, keepalived: RIVALS.version("keepalived")?, native, guest };
        progress::done();
        let text = page(&report);
        print!("{text}");
        if let Some(file) = &self.json {
            write(file, &report)?;
        }
        if self.into_docs {
            SUMMARY.write(&summary(&report))?;
            super::record(|measured| measured.director = Some(report))?;
            TABLES.write(&text)?;
        }
        Ok(0)
    }

    /// Whether anything of this kind may have the filter in its name.
    fn wants(&self, kind: &str) -> bool {
        let kinds = ["native", "start", "capacity"];
        let word = self.filter.as_deref().unwrap_or_default().split(' ').next().unwrap_or_default();
        !kinds.contains(&word) || word == kind
    }
}

fn measure_natively(measure: &Path, settings: &Settings) -> Result<Native> {
    progress::now("measuring what a check costs");
    let mut command = Command::new(measure);
    command.arg("native").arg(settings_file(settings)?);
    let own = std::env::var_os("PATH").unwrap_or_default();
    let folders = tools::ensure(&["ip"])?.into_iter().chain(std::env::split_paths(&own));
    command.env("PATH", std::env::join_paths(folders)?);
    let status = process::watch(&mut command, TIMEOUT, progress::note)?;
    ensure!(status.success(), "measuring ended with {status}");
    read(&settings.folder.join("report.json"))
}

fn measure_in_guest(
    measure: &Path,
    settings: &Settings,
    kernel: &lab::ReadyKernel,
) -> Result<Guest> {
    let job = Job {
        command: vec![measure.into(), "guest".into(), settings_file(settings)?.into()],
        tools: &["ip", "modprobe"],
        writable: vec![settings.folder.clone()],
        timeout: Some(TIMEOUT),
        ..Job::default()
    };
    let processors = if kernel.is_fetched() { Processors::One } else { Processors::Any };
    let status = job.run(&kernel.on(processors))?;
    ensure!(status == 0, "measuring ended with status {status}");
    read(&settings.folder.join("report.json"))
}

/// Where the program that measures finds what to measure.
fn settings_file(settings: &Settings) -> Result<PathBuf> {
    let file = settings.folder.join("settings.json");
    write(&file, settings)?;
    Ok(file)
}

/// keepalived, started by its own release's loader with its own libraries.
pub(super) fn keepalived(root: &Path) -> Vec<PathBuf> {
    let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"];
    let libraries = libraries.map(|folder| root.join(folder).display().to_string()).join(":");
    vec![
        root.join("lib64/ld-linux-x86-64.so.2"),
        "--library-path".into(),
        libraries.into(),
        root.join("usr/sbin/keepalived"),
    ]
}

/// Compiles the library that takes keepalived's requests to IPVS.
fn stand_in(folder: &Path) -> Result<PathBuf> {
    let library = folder.join("stand_in.so");
    let mut command = Command::new("cc");
    command.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library);
    command.arg(paths::root().join("benches/src/director/stand_in.c"));
    process::succeed(&mut command, SHORT).context("no stand-in for IPVS")?;
    Ok(library)
}

pub(super) fn write(file: &Path, value: &impl Serialize) -> Result<()> {
    fs::write(file, serde_json::to_vec_pretty(value)?)
        .with_context(|| format!("can't write {}", file.display()))
}
