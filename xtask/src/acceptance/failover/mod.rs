//! `cargo xtask acceptance failover`: what has to hold when an address moves, and what a client
//! misses meanwhile, with ours and with keepalived.

mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use lab::kernel::Choice;
use lab::process::output;
use lab::userland::RIVALS;
use lab::{GuestOptions, Job, Program, ReadyKernel, paths, progress};
use serde::Deserialize;

use super::report::Outcome;
use super::{folder, read};
use crate::cargo::{self, cargo};
use crate::docs::today;
use crate::test::part::Programs;
use record::{OnKernel, PAGE, README, Record, Row};

/// The limit for all scenarios on one kernel.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// The tools that the scenarios use.
const TOOLS: &[&str] = &["ip", "modprobe", "tcpdump"];

/// The word for everything that tests show.
const ROWS: &str = "V";

/// The oldest kernel and the newest one.
const KERNELS: [Choice; 2] = [Choice::V6_1, Choice::V7_2];

#[derive(Debug, Args)]
pub(crate) struct Failover {
    /// The kernel; may be given several times [default: 6.1 and 7.2]
    #[arg(long = "kernel", value_name = "KERNEL", value_parser = Choice::named)]
    kernels: Vec<Choice>,
    #[command(flatten)]
    guest: GuestOptions,
    /// How often each gap is measured and each fault is played [default: 20 and 25]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    runs: Option<u16>,
    /// Play only this scenario, G1 for example; V is everything that tests show; may be given
    /// several times
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// Put what was seen into docs/failover.md and README.md; what was left out stays as it was
    #[arg(long)]
    into_docs: bool,
}

/// What the scenarios' program lists: something that has to hold, and the tests that show it.
#[derive(Debug, Deserialize)]
struct Claim {
    id: String,
    what: String,
    on_kernel: Vec<String>,
    on_host: Vec<String>,
}

impl Failover {
    pub(crate) fn run(self) -> Result<u8> {
        let lab = cargo::lab()?;
        progress::now("building the scenarios");
        let scenarios =
            cargo::build(&["build", "-p", "ipvs-tests", "--bin", "failover"], "failover")?;
        let vipd = cargo::build(&["build", "-p", "vip", "--release"], "vipd")?;
        let tests = match self.wants(ROWS) {
            true => Some(Tests::build(&scenarios, &lab)?),
            false => None,
        };
        let kernels = if self.kernels.is_empty() { &KERNELS[..] } else { &self.kernels };
        let mut missed = false;
        for choice in kernels {
            let kernel = ReadyKernel::prepare(*choice, self.guest, &lab)?;
            let rows = match &tests {
                Some(tests) => tests.run(*choice, &kernel)?,
                None => Vec::new(),
            };
            rows.iter().for_each(Row::show);
            let outcomes = self.play(&scenarios, &vipd, *choice, &kernel)?;
            missed |= !rows.iter().all(Row::holds);
            missed |= outcomes.iter().any(Outcome::is_missed_by_ours);
            if self.into_docs {
                let newer = OnKernel {
                    series: choice.name().to_owned(),
                    release: kernel.release(),
                    date: today()?,
                    keepalived: RIVALS.version("keepalived")?,
                    rows,
                    outcomes,
                };
                record(newer)?;
            }
        }
        Ok(u8::from(missed))
    }

    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|it| it == id)
    }

    /// Plays all scenarios that are wanted.
    fn play(
        &self,
        scenarios: &Path,
        vipd: &Path,
        choice: Choice,
        kernel: &ReadyKernel,
    ) -> Result<Vec<Outcome>> {
        let ids: Vec<&String> = self.only.iter().filter(|id| *id != ROWS).collect();
        if ids.is_empty() && !self.only.is_empty() {
            return Ok(Vec::new());
        }
        let folder = folder()?;
        let file = folder.join(format!("failover-{}-{}.json", choice.name(), std::process::id()));
        let _ = fs::remove_file(&file);
        let mut command = vec![scenarios.into(), file.clone().into_os_string()];
        if let Some(runs) = self.runs {
            command.extend(["--runs".into(), runs.to_string().into()]);
        }
        command.extend(ids.into_iter().map(Into::into));
        let job = Job {
            command,
            environment: vec![("VIPD", vipd.into())],
            tools: TOOLS,
            userlands: &[RIVALS],
            writable: vec![folder],
            timeout: Some(TIMEOUT),
            ..Job::default()
        };
        let status = job.run(kernel)?;
        anyhow::ensure!(status == 0, "the scenarios ended with status {status}");
        read(&file)
    }
}

/// The tests that show what has to hold.
struct Tests {
    claims: Vec<Claim>,
    programs: Programs,
    /// Those that need no kernel of their own, and whether they passed.
    on_host: BTreeMap<String, bool>,
}

impl Tests {
    /// Builds those on a kernel, and runs the others.
    fn build(scenarios: &Path, lab: &Program) -> Result<Self> {
        let listed = output(Command::new(scenarios).arg("rows"))?;
        let claims: Vec<Claim> = serde_json::from_str(&listed).context("no list of rows")?;
        let mut on_host = BTreeMap::new();
        for arguments in claims.iter().flat_map(|claim| &claim.on_host) {
            if on_host.contains_key(arguments) {
                continue;
            }
            progress::note(&format!("cargo test {arguments}"));
            let mut command = cargo();
            command.arg("test").args(arguments.split(' '));
            let passed = cargo::watch(&mut command, |line| println!("{line}"))?;
            on_host.insert(arguments.clone(), passed);
        }
        Ok(Self { claims, programs: Programs::build(lab)?, on_host })
    }

    /// Runs those on a kernel, and says row by row what has passed.
    fn run(&self, choice: Choice, kernel: &ReadyKernel) -> Result<Vec<Row>> {
        // A guest for each room, not for each test.
        let names = self.claims.iter().flat_map(|claim| &claim.on_kernel);
        let rooms: BTreeSet<&str> = names.filter_map(|name| name.split("::").next()).collect();
        let mut on_kernel = BTreeMap::new();
        for room in rooms {
            on_kernel.extend(self.programs.verdicts(choice, &format!("{room}::"), kernel)?);
        }
        let failed = |names: &[String], verdicts: &BTreeMap<String, bool>| -> Vec<String> {
            let missing = |name: &&String| verdicts.get(*name) != Some(&true);
            names.iter().filter(missing).cloned().collect()
        };
        let row = |claim: &Claim| Row {
            id: claim.id.clone(),
            what: claim.what.clone(),
            tests: claim.on_kernel.len() + claim.on_host.len(),
            failed: [failed(&claim.on_kernel, &on_kernel), failed(&claim.on_host, &self.on_host)]
                .concat(),
        };
        Ok(self.claims.iter().map(row).collect())
    }
}

/// Puts what one kernel showed into the record and the pages.
fn record(newer: OnKernel) -> Result<()> {
    let mut record: Record = match recorded().exists() {
        true => read(&recorded())?,
        false => Record::default(),
    };
    record.replace(newer);
    fs::write(recorded(), serde_json::to_string_pretty(&record)? + "\n")
        .context("can't write what was seen")?;
    PAGE.write(&record.page())?;
    README.write(&record.overview())
}

/// What is behind the page, kept so that a test can rebuild it.
fn recorded() -> PathBuf {
    paths::root().join("tests/failover.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_what_was_seen() {
        let record: Record = read(&recorded()).unwrap();
        assert_eq!(PAGE.recorded().unwrap(), record.page());
        assert_eq!(README.recorded().unwrap(), record.overview());
    }

    #[test]
    fn each_row_is_on_the_page() {
        let page = PAGE.recorded().unwrap();
        let wanted = (1..=11).map(|number| format!("V{number}"));
        let missing: Vec<String> =
            wanted.filter(|id| !page.contains(&format!("\n| {id} | "))).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn each_scenario_is_on_the_page() {
        let page = PAGE.recorded().unwrap();
        for id in ["G1", "G2", "G3"] {
            assert!(page.contains(&format!("\n### {id}: ")), "{id} is missing");
        }
    }
}
