//! `cargo xtask acceptance director`: the scenarios of the health checker.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use lab::userland::{RIVALS, SERVERS};
use lab::{Job, KernelOption, paths, progress};
use serde::{Deserialize, Serialize};

use super::report::{self, Outcome, in_order, summary};
use super::{folder, read};
use crate::cargo;
use crate::docs::{Part, today};

/// The limit for everything: 16 scenarios, three programs, a minute or two each.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// The tools that the scenarios use.
const TOOLS: &[&str] = &["ip", "tc", "modprobe", "ipvsadm"];

/// The generated part of the page.
const PAGE: Part = Part {
    file: "docs/acceptance.md",
    name: "table of the scenarios",
    start: "<!-- acceptance:begin (cargo xtask acceptance director --into-docs) -->\n",
    end: "<!-- acceptance:end -->\n",
};

/// The overview in README.md.
const README: Part = Part {
    file: "README.md",
    name: "overview of the scenarios",
    start: "<!-- acceptance:begin (cargo xtask acceptance director --into-docs) -->\n",
    end: "<!-- acceptance:end -->\n",
};

#[derive(Debug, Args)]
pub(crate) struct Director {
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

impl Director {
    pub(crate) fn run(self) -> Result<u8> {
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
            let report =
                Report { date: today()?, kernel: release, versions: versions()?, outcomes: all };
            let text = serde_json::to_string_pretty(&report)? + "\n";
            fs::write(recorded(), text).context("can't write what was measured")?;
            PAGE.write(&page(&report))?;
            README.write(&overview(&report))?;
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

/// A run of all scenarios with all programs.
#[derive(Debug, Serialize, Deserialize)]
struct Report {
    /// The day, such as 2026-01-31.
    date: String,
    /// The kernel's release.
    kernel: String,
    /// Each program that is compared, with its version.
    versions: Vec<(String, String)>,
    /// What each program did.
    outcomes: Vec<Outcome>,
}

impl Report {
    fn subjects(&self) -> Vec<&str> {
        in_order(self.outcomes.iter().map(|outcome| outcome.subject.as_str()))
    }

    fn ids(&self) -> Vec<&str> {
        in_order(self.outcomes.iter().map(|outcome| outcome.id.as_str()))
    }
}

/// A row for each scenario: how much of it each program met.
fn overview(report: &Report) -> String {
    let mut text = String::new();
    let versions: Vec<String> =
        report.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    // Writing to a String can't fail.
    let _ = writeln!(text, "Linux {}, {}; {}.\n", report.kernel, report.date, versions.join(", "));
    let subjects = report.subjects();
    let _ = writeln!(text, "| | scenario | {} |", subjects.join(" | "));
    let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(subjects.len()));
    let find = |id: &str, subject: &str| {
        report.outcomes.iter().find(|outcome| outcome.id == id && outcome.subject == subject)
    };
    for id in report.ids() {
        let title = report.outcomes.iter().find(|outcome| outcome.id == id);
        let title = title.map_or("", |outcome| &outcome.title);
        let cells = subjects.iter().map(|subject| find(id, subject).map_or("–".into(), summary));
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(text, "| {id} | {title} | {} |", cells.join(" | "));
    }
    text
}

/// The generated part of the page for a run.
fn page(report: &Report) -> String {
    let mut text = overview(report);
    let subjects = report.subjects();
    for id in report.ids() {
        let outcomes: Vec<&Outcome> =
            report.outcomes.iter().filter(|outcome| outcome.id == id).collect();
        text += &report::criteria(&subjects, &outcomes);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::report::tests::sample;
    use super::*;

    /// The scenarios that the page has to have.
    const IDS: [&str; 16] = [
        "A1", "B1", "B2", "B3", "B4", "C1", "C2", "C3", "D1", "D2", "D3", "E1", "F1", "F2", "F3",
        "H1",
    ];

    #[test]
    fn the_page_has_what_was_measured() {
        let report: Report = read(&recorded()).unwrap();
        assert_eq!(PAGE.recorded().unwrap(), page(&report));
        assert_eq!(README.recorded().unwrap(), overview(&report));
    }

    #[test]
    fn each_scenario_has_a_row_on_the_page() {
        let page = PAGE.recorded().unwrap();
        let missing: Vec<&str> =
            IDS.into_iter().filter(|id| !page.contains(&format!("\n| {id} | "))).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn programs_stand_side_by_side() {
        let report = Report {
            date: "2026-01-31".into(),
            kernel: "6.1".into(),
            versions: vec![("x".into(), "1.0".into())],
            outcomes: vec![sample("x", Some(false)), sample("ours", Some(true))],
        };
        let page = page(&report);
        assert!(page.starts_with("Linux 6.1, 2026-01-31; x 1.0.\n"), "{page}");
        assert!(page.contains("| B1 | hanging | ✗ 0 of 1 | ✓ 1 of 1 |\n"), "{page}");
        let detail = "| a stopped server leaves | ≤ 5 s | ✗ 4 s \\| more | ✓ 4 s \\| more |\n";
        assert!(page.contains(detail), "{page}");
    }
}
