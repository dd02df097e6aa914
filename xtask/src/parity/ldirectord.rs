//! `cargo xtask parity ldirectord`: the original ldirectord and ours read the same files, and make
//! tables of them.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::process::Running;
use lab::userland::RIVALS;
use lab::{Job, KernelOption, Program, paths, progress};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{TOOLS, ldirectord_page as page, ldirectord_sample as sample, results};
use crate::cargo;
use crate::docs::today;

/// The timeout for a file that is read, in seconds: several times what it takes on a busy machine,
/// with those that a difference is reduced with.
const SECONDS_A_FILE: u64 = 10;

/// The timeout for a table, in seconds.
const SECONDS_A_TABLE: u64 = 120;

/// The timeout for the sample, which is read in seconds and started with in minutes.
const SAMPLE: Duration = Duration::from_secs(2400);

/// How many pairs of programs a guest runs at a time. Most of the time, both wait.
const AT_ONCE: u64 = 6;

#[derive(Debug, Args)]
pub(crate) struct Ldirectord {
    #[command(flatten)]
    pub(crate) kernel: KernelOption,
    /// The number of files that both read
    #[arg(long, value_name = "NUMBER", default_value_t = 5_000)]
    pub(crate) files: u64,
    /// The number of files of which both make a table, in a kernel
    #[arg(long, value_name = "NUMBER", default_value_t = 500)]
    pub(crate) tables: u64,
    /// The seed of the files: the same seed gives the same ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The number of the first file, to see one again that differs
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub(crate) first: u64,
    /// How many kernels make tables at the same time [default: one for each processor]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) guests: Option<u64>,
    /// Only compare the sample that the original ships with
    ///
    /// Each block and each directive that is a comment there is enabled in turn. Otherwise this comes
    /// before the other files, unless --first asks for one of those.
    #[arg(long, conflicts_with_all = ["files", "tables", "seed", "first", "guests"])]
    pub(crate) sample: bool,
    /// Put the figures into docs/parity.md
    #[arg(long)]
    pub(crate) into_docs: bool,
}

/// What was compared, for the page.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) version: String,
    pub(crate) kernel: String,
    pub(crate) seed: u64,
    pub(crate) verdicts: Verdicts,
    pub(crate) tables: Tables,
}

/// What both said about files.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Verdicts {
    pub(crate) tally: VerdictTally,
    pub(crate) differences: Vec<Difference>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct VerdictTally {
    pub(crate) files: u64,
    pub(crate) accepted: u64,
    pub(crate) refused: u64,
    pub(crate) readings: u64,
    pub(crate) places: u64,
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) rules: BTreeMap<String, u64>,
    pub(crate) not_yet: BTreeMap<String, u64>,
}

/// What tables both made.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Tables {
    pub(crate) tally: TableTally,
    pub(crate) differences: Vec<Difference>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct TableTally {
    pub(crate) files: u64,
    pub(crate) refused: u64,
    pub(crate) with_real_servers: u64,
    pub(crate) kinds: BTreeMap<String, u64>,
    pub(crate) rules: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Difference {
    pub(crate) number: u64,
    pub(crate) said: String,
    pub(crate) file: String,
}

/// The tables of one guest.
#[derive(Debug, Args)]
pub(crate) struct Part {
    #[command(flatten)]
    kernel: KernelOption,
    #[arg(long)]
    lab: PathBuf,
    #[arg(long)]
    program: PathBuf,
    #[arg(long)]
    ldirectord: PathBuf,
    #[arg(long)]
    seconds: u64,
    /// The file for the results, and which tables.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl Part {
    pub(crate) fn run(self) -> Result<u8> {
        let file = self.arguments.first().map(Path::new).context("no file for the results")?;
        let folder = file.parent().context("a file without a folder")?.to_owned();
        let job = Job {
            command: [vec![self.program.into_os_string()], self.arguments].concat(),
            environment: vec![("LDIRECTORD", self.ldirectord.into())],
            tools: TOOLS,
            userlands: &[RIVALS],
            writable: vec![folder],
            timeout: Some(Duration::from_secs(self.seconds)),
            ..Job::default()
        };
        job.run(&self.kernel.prepare(&Program::at(self.lab))?)
    }
}

/// Builds the program that compares.
pub(crate) fn build() -> Result<PathBuf> {
    cargo::build(&["build", "-p", "ipvs-tests", "--bin", "ldirectord-parity"], "ldirectord-parity")
}

impl Ldirectord {
    pub(crate) fn run(&self) -> Result<u8> {
        progress::now("building the programs");
        let lab = cargo::lab()?;
        let program = build()?;
        let ours = cargo::build(&["build", "-p", "ldirectord"], "ldirectord")?;
        let release = self.kernel.prepare(&lab)?.release();
        let mut failed = false;
        if self.sample || self.first == 0 {
            let report = self.compare_sample(&lab, &program, &ours, &release)?;
            report.show();
            failed = report.failed();
            if self.into_docs && !failed {
                report.write()?;
            }
        }
        if self.sample {
            return Ok(u8::from(failed));
        }
        let verdicts = match self.files {
            0 => Verdicts::default(),
            _ => self.verdicts(&program, &ours)?,
        };
        show("read", self.seed, verdicts.tally.files, &verdicts.tally.rules, &verdicts.differences);
        let tables = match self.tables {
            0 => Tables::default(),
            _ => self.tables(&lab, &program, &ours)?,
        };
        show("tables", self.seed, tables.tally.files, &tables.tally.rules, &tables.differences);
        failed |= !verdicts.differences.is_empty() || !tables.differences.is_empty();
        if self.into_docs && !failed {
            let report = Report {
                date: today()?,
                version: RIVALS.version("ldirectord")?,
                kernel: release,
                seed: self.seed,
                verdicts,
                tables,
            };
            page::write(&report)?;
        }
        Ok(u8::from(failed))
    }

    /// What both say about the sample and make of it.
    fn compare_sample(
        &self,
        lab: &Program,
        program: &Path,
        ours: &Path,
        kernel: &str,
    ) -> Result<sample::Report> {
        let readings = read(program, ours, &["sample-verdicts".to_owned()], SAMPLE)?;
        let file = folder()?.join(format!("sample-{}.json", std::process::id()));
        let mut part = self.guest(lab, program, ours, SAMPLE);
        part.arg(&file).arg("sample-tables").arg(AT_ONCE.to_string());
        progress::done();
        super::run_all(vec![part], SAMPLE)?;
        Ok(sample::Report {
            date: today()?,
            version: RIVALS.version("ldirectord")?,
            kernel: kernel.to_owned(),
            readings,
            tables: results::read(&file)?,
        })
    }

    /// What both say about files, on this machine: no kernel is asked.
    fn verdicts(&self, program: &Path, ours: &Path) -> Result<Verdicts> {
        let numbers = [self.seed, self.first, self.files].map(|number| number.to_string());
        let arguments = [vec!["verdicts".to_owned()], numbers.to_vec()].concat();
        let limit = Duration::from_secs(300 + self.files * SECONDS_A_FILE);
        read(program, ours, &arguments, limit)
    }

    /// A guest in which the program compares; what it is to compare is still missing.
    fn guest(&self, lab: &Program, program: &Path, ours: &Path, limit: Duration) -> Command {
        let mut part = Command::new("/proc/self/exe");
        part.args(["parity-tables", "--kernel", self.kernel.choice().name()]);
        part.args(self.kernel.guest.arguments());
        part.arg("--lab").arg(lab.path()).arg("--program").arg(program);
        part.arg("--ldirectord").arg(ours).arg("--seconds").arg(limit.as_secs().to_string());
        part.arg("--");
        part
    }

    /// What tables both make of files, in kernels.
    fn tables(&self, lab: &Program, program: &Path, ours: &Path) -> Result<Tables> {
        let guests = match self.guests {
            Some(guests) => guests,
            None => self.kernel.guest.at_once(1) as u64,
        };
        let share = self.tables.div_ceil(guests);
        let limit = Duration::from_secs(600 + share * SECONDS_A_TABLE);
        // A file that is refused makes no table, so each takes more files than tables.
        let apart = share * 10;
        let (mut parts, mut files) = (Vec::new(), Vec::new());
        for guest in 0..guests {
            let file = folder()?.join(format!("tables-{guest}-{}.json", std::process::id()));
            let numbers = [self.seed, self.first + guest * apart, share, AT_ONCE.min(share)];
            let mut part = self.guest(lab, program, ours, limit);
            part.arg(&file).arg("tables").args(numbers.map(|number| number.to_string()));
            parts.push(part);
            files.push(file);
        }
        super::run_all(parts, limit)?;
        let mut all = Tables::default();
        for file in files {
            all.add(results::read(&file)?);
        }
        Ok(all)
    }
}

impl Tables {
    fn add(&mut self, other: Self) {
        let (tally, more) = (&mut self.tally, other.tally);
        tally.files += more.files;
        tally.refused += more.refused;
        tally.with_real_servers += more.with_real_servers;
        for (counts, more) in [(&mut tally.kinds, more.kinds), (&mut tally.rules, more.rules)] {
            more.into_iter().for_each(|(name, count)| *counts.entry(name).or_default() += count);
        }
        self.differences.extend(other.differences);
    }
}

/// What a comparison found, on the terminal.
pub(crate) fn show(
    what: &str,
    seed: u64,
    files: u64,
    rules: &BTreeMap<String, u64>,
    differences: &[Difference],
) {
    println!("{what}, seed {seed}: {files} files, {} differ without a reason", differences.len());
    for (rule, count) in rules {
        println!("  {count} times the original {rule}");
    }
    for Difference { number, said, file } in differences {
        println!(
            "--- file {number} of seed {seed} (--seed {seed} --first {number})\n{file}\n{said}"
        );
    }
}

/// What the program finds out about files on this machine, without a kernel.
fn read<T: DeserializeOwned>(
    program: &Path,
    ours: &Path,
    arguments: &[String],
    limit: Duration,
) -> Result<T> {
    let file = folder()?.join(format!("verdicts-{}.json", std::process::id()));
    let mut command = Command::new(program);
    command.arg(&file).args(arguments);
    command.env(RIVALS.variable(), RIVALS.ensure()?).env("LDIRECTORD", ours);
    progress::done();
    let status = Running::start(&mut command)?.wait(limit)?;
    ensure!(status.is_some_and(|status| status.success()), "the files weren't all read");
    results::read(&file)
}

/// Creates the folder for the results.
fn folder() -> Result<PathBuf> {
    let folder = paths::root().join("target/reports/parity-ldirectord");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}
