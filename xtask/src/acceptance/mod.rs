//! `cargo xtask acceptance director`: plays the acceptance scenarios of the health checker with the
//! programs it is compared with, and with ours.

mod report;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lab::process::output;
use lab::userland::{RIVALS, SERVERS};
use lab::{Job, KernelOption, paths, progress};
use serde::de::DeserializeOwned;

use crate::cargo;
use report::{Outcome, PAGE, README, Report};

/// The limit for everything: 16 scenarios, three programs, a minute or two each.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// The tools that the scenarios use.
const TOOLS: &[&str] = &["ip", "tc", "modprobe", "ipvsadm"];

/// What can be accepted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The health checker
    Director,
}

#[derive(Debug, Args)]
pub(crate) struct Acceptance {
    /// What to test
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    kernel: KernelOption,
    /// Play only this scenario, B1 for example, or only with this program ("ldirectord (Perl)",
    /// keepalived, ours); may be given several times
    #[arg(long, value_name = "ROW|PROGRAM")]
    only: Vec<String>,
    /// Put what was measured into docs/acceptance.md and README.md; what --only leaves out stays as it was
    #[arg(long)]
    into_docs: bool,
}

impl Acceptance {
    pub(crate) fn run(self) -> Result<u8> {
        let What::Director = self.what;
        let lab = cargo::lab()?;
        let kernel = self.kernel.prepare(&lab)?;
        progress::now("building the scenarios");
        let program =
            cargo::build(&["build", "-p", "ipvs-tests", "--bin", "acceptance"], "acceptance")?;
        let folder = folder()?;
        // Parts may run at the same time.
        let file = match self.only.is_empty() {
            true => folder.join("director.json"),
            false => folder.join(format!("part-{}.json", std::process::id())),
        };
        let _ = fs::remove_file(&file);
        let mut command = vec![program.into_os_string(), file.clone().into_os_string()];
        command.extend(self.only.iter().map(Into::into));
        let job = Job {
            command,
            environment: if self.wants_ours() { ours()? } else { Vec::new() },
            tools: TOOLS,
            userlands: &[SERVERS, RIVALS],
            writable: vec![folder],
            timeout: Some(TIMEOUT),
            ..Job::default()
        };
        let release = kernel.release();
        let status = job.run(&kernel)?;
        if status != 0 {
            return Ok(status);
        }
        let outcomes: Vec<Outcome> = read(&file)?;
        let missed = outcomes.iter().any(Outcome::is_missed_by_ours);
        if self.into_docs {
            let mut all: Vec<Outcome> = match self.only.is_empty() {
                true => Vec::new(),
                false => read::<Report>(&recorded())?.outcomes,
            };
            report::replace(&mut all, outcomes);
            let report = Report {
                date: output(Command::new("date").args(["--utc", "+%F"]))?.trim().to_owned(),
                kernel: release,
                versions: versions()?,
                outcomes: all,
            };
            let text = serde_json::to_string_pretty(&report)? + "\n";
            fs::write(recorded(), text).context("can't write what was measured")?;
            PAGE.write(&report::page(&report))?;
            README.write(&report::overview(&report))?;
        }
        Ok(u8::from(missed))
    }

    /// Whether our program is played: nobody has named others only.
    fn wants_ours(&self) -> bool {
        let is_other = |word: &String| ["ldirectord (Perl)", "keepalived"].contains(&word.as_str());
        !self.only.iter().any(is_other) || self.only.iter().any(|word| word == "ours")
    }
}

/// The variable that names our program.
fn ours() -> Result<Vec<(&'static str, OsString)>> {
    let program = cargo::build(&["build", "-p", "ldirectord", "--release"], "ldirectord")?;
    Ok(vec![("LDIRECTORD", program.into_os_string())])
}

/// The versions of the programs that are compared, and of the real servers.
fn versions() -> Result<Vec<(String, String)>> {
    let packages = [
        ("ldirectord", RIVALS),
        ("keepalived", RIVALS),
        ("nginx", SERVERS),
        ("apache2-bin", SERVERS),
    ];
    let version = |(package, userland): (&str, lab::userland::Userland)| {
        Ok((package.to_owned(), userland.version(package)?))
    };
    packages.into_iter().map(version).collect()
}

/// The measurements behind the page, kept so that a test can rebuild it.
fn recorded() -> PathBuf {
    paths::root().join("tests/acceptance.json")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The scenarios that the page has to have.
    const IDS: [&str; 16] = [
        "A1", "B1", "B2", "B3", "B4", "C1", "C2", "C3", "D1", "D2", "D3", "E1", "F1", "F2", "F3",
        "H1",
    ];

    #[test]
    fn the_page_has_what_was_measured() {
        let report: Report = read(&recorded()).unwrap();
        assert_eq!(PAGE.recorded().unwrap(), report::page(&report));
        assert_eq!(README.recorded().unwrap(), report::overview(&report));
    }

    #[test]
    fn each_scenario_has_a_row_on_the_page() {
        let page = PAGE.recorded().unwrap();
        let missing: Vec<&str> =
            IDS.into_iter().filter(|id| !page.contains(&format!("\n| {id} | "))).collect();
        assert_eq!(missing, [""; 0]);
    }
}
