//! The figures of `cargo xtask parity ldirectord` in docs/parity.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use lab::paths;

use super::ldirectord::Report;
use crate::docs::Part;

const PAGE: Part = Part {
    file: "docs/parity.md",
    name: "figures of ldirectord",
    start: "<!-- ldirectord:begin (cargo xtask parity ldirectord --into-docs) -->\n",
    end: "<!-- ldirectord:end -->\n",
};

/// What was found, kept so that a test can rebuild the page.
fn recorded() -> PathBuf {
    paths::root().join("tests/ldirectord-parity.json")
}

/// Writes the figures, and what they come from.
pub(crate) fn write(report: &Report) -> Result<()> {
    let text = serde_json::to_string_pretty(report)? + "\n";
    fs::write(recorded(), text).context("can't write what was found")?;
    PAGE.write(&page(report))
}

fn page(report: &Report) -> String {
    let Report { date, version, kernel, seed, verdicts, tables } = report;
    let mut text = format!(
        "On {date}, with ldirectord {version} of Debian bookworm, seed {seed}; tables on Linux {kernel}.\n\n\
         | | Files | Accepted by the original | Refused by it | Errors that both place in the same line | \
         Differences without a reason |\n| --- | ---: | ---: | ---: | ---: | ---: |\n"
    );
    let tally = &verdicts.tally;
    let _ = writeln!(
        text,
        "| Read | {} | {} | {} | {} | {} |",
        tally.files,
        tally.accepted,
        tally.refused,
        tally.places,
        verdicts.differences.len()
    );
    let (files, unexplained) = (tables.tally.files, tables.differences.len());
    let _ = writeln!(text, "| Tables | {files} | {files} | – | – | {unexplained} |");
    let _ = writeln!(
        text,
        "\n{} of the tables had real servers or a fallback.\n",
        tables.tally.with_real_servers
    );
    let mut rows: BTreeMap<&str, [u64; 2]> = BTreeMap::new();
    for (rule, count) in &verdicts.tally.rules {
        rows.entry(rule).or_default()[0] = *count;
    }
    for (rule, count) in &tables.tally.rules {
        rows.entry(rule).or_default()[1] = *count;
    }
    text +=
        "| Deliberate difference: the original… | Files read | Tables |\n| --- | ---: | ---: |\n";
    for (rule, [read, tables]) in rows {
        let _ = writeln!(text, "| {rule} | {read} | {tables} |");
    }
    text += "\n| Refused here, because the check isn't there yet | Files |\n| --- | ---: |\n";
    for (what, count) in &verdicts.tally.not_yet {
        let _ = writeln!(text, "| {} | {count} |", what.trim_end_matches(" can't be checked yet"));
    }
    text += "\n| What was done to a file | Files read | Tables |\n| --- | ---: | ---: |\n";
    for (kind, read) in &verdicts.tally.kinds {
        let tables = tables.tally.kinds.get(kind).copied().unwrap_or(0);
        let _ = writeln!(text, "| {kind} | {read} | {tables} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let text = fs::read(recorded()).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn the_page_has_what_was_found() {
        assert_eq!(PAGE.recorded().unwrap(), page(&report()));
    }

    /// Each deliberate difference that was seen is a row of the README's table.
    #[test]
    fn each_deliberate_difference_is_in_the_readme() {
        let readme = fs::read_to_string(paths::root().join("crates/ldirectord/README.md")).unwrap();
        let report = report();
        let rules = report.verdicts.tally.rules.keys().chain(report.tables.tally.rules.keys());
        for rule in rules {
            assert!(readme.contains(&format!("\n| {rule} | ")), "{rule}");
        }
    }
}
