//! The sample that the original ldirectord ships with, and what both programs make of it: a part of
//! `cargo xtask parity ldirectord`, and its table in docs/parity.md.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use lab::paths;
use serde::{Deserialize, Serialize};

use crate::docs::Part;

const PAGE: Part = Part {
    file: "docs/parity.md",
    name: "table of ldirectord's sample",
    start: "<!-- sample:begin (cargo xtask parity ldirectord --sample --into-docs) -->\n",
    end: "<!-- sample:end -->\n",
};

/// What was found.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) date: String,
    pub(crate) version: String,
    pub(crate) kernel: String,
    pub(crate) readings: Vec<Reading>,
    pub(crate) tables: Vec<Table>,
}

/// What both say about the sample with something enabled.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reading {
    name: String,
    /// The line that the original refuses; none if it accepts the file.
    original: Vec<usize>,
    ours: Vec<usize>,
    rules: Vec<String>,
    not_yet: Vec<String>,
    unexplained: Option<String>,
}

/// What both make of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Table {
    name: String,
    /// The table of both; none if one of them refuses the file.
    same: Option<Vec<String>>,
    rules: Vec<String>,
    unexplained: Option<String>,
}

/// What a reading is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Accepted,
    Refused,
    /// For a reason that is a row of the README.
    Deliberate,
    NotYet,
    Unexplained,
}

impl Reading {
    fn kind(&self) -> Kind {
        match self {
            _ if self.unexplained.is_some() => Kind::Unexplained,
            _ if !self.not_yet.is_empty() => Kind::NotYet,
            _ if !self.rules.is_empty() => Kind::Deliberate,
            _ if self.original.is_empty() => Kind::Accepted,
            _ => Kind::Refused,
        }
    }
}

impl Report {
    pub(crate) fn failed(&self) -> bool {
        self.readings.iter().any(|it| it.unexplained.is_some())
            || self.tables.iter().any(|it| it.unexplained.is_some())
    }

    /// What was found, on the terminal.
    pub(crate) fn show(&self) {
        print!("{}", self.summary());
        for reading in &self.readings {
            if let Some(said) = &reading.unexplained {
                println!("--- the sample, {}\n{said}", reading.name);
            }
        }
        for table in &self.tables {
            if let Some(said) = &table.unexplained {
                println!("--- the table of the sample, {}\n{said}", table.name);
            }
        }
    }

    /// Writes the table, and what it comes from.
    pub(crate) fn write(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(recorded(), text).context("can't write what was found")?;
        PAGE.write(&self.page())
    }

    fn summary(&self) -> String {
        let count = |kind| self.readings.iter().filter(|it| it.kind() == kind).count();
        let same = self.tables.iter().filter(|it| it.same.is_some()).count();
        let differ = self.tables.iter().filter(|it| it.unexplained.is_some()).count();
        format!(
            "The sample was read {} times: both accept it {} times and refuse the same line {} times; ours \
             differs on purpose {} times, and refuses it {} times for a check that isn't there yet; {} \
             differences have no reason. Both were started with it {} times: the tables are equal {same} \
             times and differ without a reason {differ} times.\n",
            self.readings.len(),
            count(Kind::Accepted),
            count(Kind::Refused),
            count(Kind::Deliberate),
            count(Kind::NotYet),
            count(Kind::Unexplained),
            same + differ,
        )
    }

    fn page(&self) -> String {
        let Self { date, version, kernel, .. } = self;
        let mut text = format!(
            "On {date}, with the sample of ldirectord {version} of Debian bookworm; tables on Linux {kernel}.\n\n{}\n\
             | Enabled in the sample | The original | Ours | Why | Tables |\n| --- | --- | --- | --- | --- |\n",
            self.summary()
        );
        for reading in &self.readings {
            let table = self.tables.iter().find(|it| it.name == reading.name);
            let table = match table {
                Some(Table { unexplained: Some(_), .. }) => "different".to_owned(),
                Some(Table { same: Some(_), rules, .. }) if !rules.is_empty() => {
                    format!("equal, except that the original {}", rules.join(" and "))
                }
                Some(Table { same: Some(lines), .. }) => entries(lines),
                _ => "–".to_owned(),
            };
            let why: Vec<String> = reading
                .rules
                .iter()
                .map(|rule| format!("the original {rule}"))
                .chain(reading.not_yet.iter().cloned())
                .collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {table} |",
                code(&reading.name),
                verdict(&reading.original),
                verdict(&reading.ours),
                why.join("; "),
            );
        }
        text
    }
}

/// The name of a variant, with what is in the file as code.
fn code(name: &str) -> String {
    let words = name.split(", ").map(|word| match word.contains('=') {
        true => format!("`{word}`"),
        false => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn verdict(lines: &[usize]) -> String {
    match lines {
        [] => "accepts".to_owned(),
        [line] => format!("refuses line {line}"),
        lines => {
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            format!("refuses lines {}", lines.join(", "))
        }
    }
}

/// How many services and real servers a table has, without those that are in each file to end it.
fn entries(lines: &[String]) -> String {
    let count = |flag: &str| lines.iter().filter(|line| line.starts_with(flag)).count();
    let (services, reals) = (count("-A") - 1, count("-a") - 1);
    format!("equal: {services} with {reals} real servers")
}

/// What was found, kept so that a test can rebuild the page.
fn recorded() -> PathBuf {
    paths::root().join("tests/ldirectord-sample.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        serde_json::from_slice(&fs::read(recorded()).unwrap()).unwrap()
    }

    #[test]
    fn the_page_has_what_was_found() {
        assert_eq!(PAGE.recorded().unwrap(), report().page());
    }

    #[test]
    fn each_deliberate_difference_is_in_the_readme() {
        let readme = fs::read_to_string(paths::root().join("crates/ldirectord/README.md")).unwrap();
        let report = report();
        let tables = report.tables.iter().flat_map(|it| &it.rules);
        for rule in report.readings.iter().flat_map(|it| &it.rules).chain(tables) {
            assert!(readme.contains(&format!("\n| {rule} | ")), "{rule}");
        }
    }
}
