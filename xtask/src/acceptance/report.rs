//! What the programs did, as docs/acceptance.md shows it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::docs::Part;

/// The generated part of the page.
pub(super) const PAGE: Part = Part {
    file: "docs/acceptance.md",
    name: "table of the scenarios",
    start: "<!-- acceptance:begin (cargo xtask acceptance director --into-docs) -->\n",
    end: "<!-- acceptance:end -->\n",
};

/// The overview in README.md.
pub(super) const README: Part = Part {
    file: "README.md",
    name: "overview of the scenarios",
    start: "<!-- acceptance:begin (cargo xtask acceptance director --into-docs) -->\n",
    end: "<!-- acceptance:end -->\n",
};

/// A run of all scenarios with all programs.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    /// The day, such as 2026-01-31.
    pub(super) date: String,
    /// The kernel's release.
    pub(super) kernel: String,
    /// Each program that is compared, with its version.
    pub(super) versions: Vec<(String, String)>,
    /// What each program did.
    pub(super) outcomes: Vec<Outcome>,
}

/// What one program did in one scenario; the scenarios' program writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) id: String,
    title: String,
    subject: String,
    criteria: Vec<Criterion>,
    error: Option<String>,
    seconds: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Criterion {
    what: String,
    bar: String,
    measured: String,
    met: Option<bool>,
}

impl Outcome {
    /// Whether this is what our program did, and something isn't as it should be.
    pub(super) fn is_missed_by_ours(&self) -> bool {
        let missed = self.criteria.iter().any(|criterion| criterion.met == Some(false));
        self.subject == "ours" && (missed || self.error.is_some())
    }
}

/// A row of the details: what was measured, its bar, and each program's cell.
type Detail<'a> = (&'a str, &'a str, BTreeMap<&'a str, String>);

/// Puts newer outcomes in the places of those of the same scenario and program.
pub(super) fn replace(all: &mut Vec<Outcome>, newer: Vec<Outcome>) {
    for outcome in newer {
        let same = |it: &&mut Outcome| it.id == outcome.id && it.subject == outcome.subject;
        match all.iter_mut().find(same) {
            Some(older) => *older = outcome,
            None => all.push(outcome),
        }
    }
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
pub(super) fn overview(report: &Report) -> String {
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
pub(super) fn page(report: &Report) -> String {
    let mut text = overview(report);
    let subjects = report.subjects();
    for id in report.ids() {
        let outcomes: Vec<&Outcome> =
            report.outcomes.iter().filter(|outcome| outcome.id == id).collect();
        let title = outcomes.first().map_or("", |outcome| &outcome.title);
        let _ = writeln!(text, "\n### {id}: {title}\n");
        let _ = writeln!(text, "| measured | bar | {} |", subjects.join(" | "));
        let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(subjects.len()));
        for (what, bar, cells) in details(&outcomes) {
            let cells: Vec<&str> = subjects
                .iter()
                .map(|subject| cells.get(subject).map_or("–", String::as_str))
                .collect();
            let _ = writeln!(text, "| {} | {} | {} |", plain(what), plain(bar), cells.join(" | "));
        }
        for outcome in outcomes {
            if let Some(error) = &outcome.error {
                let _ = writeln!(text, "\n{}: {}", outcome.subject, plain(error));
            }
        }
    }
    text
}

/// How many criteria were met, in a cell.
fn summary(outcome: &Outcome) -> String {
    if outcome.error.is_some() {
        return "✗ not played to its end".to_owned();
    }
    let judged: Vec<bool> = outcome.criteria.iter().filter_map(|criterion| criterion.met).collect();
    let met = judged.iter().filter(|met| **met).count();
    match (met, judged.len()) {
        (_, 0) => "no such thing".to_owned(),
        (met, all) if met == all => format!("✓ {met} of {all}"),
        (met, all) => format!("✗ {met} of {all}"),
    }
}

fn details<'a>(outcomes: &[&'a Outcome]) -> Vec<Detail<'a>> {
    let mut rows: Vec<Detail<'a>> = Vec::new();
    for outcome in outcomes {
        for Criterion { what, bar, measured, met } in &outcome.criteria {
            let mark = match met {
                Some(true) => "✓ ",
                Some(false) => "✗ ",
                None => "",
            };
            let cell = format!("{mark}{}", plain(measured));
            match rows.iter_mut().find(|row| row.0 == what) {
                Some(row) => {
                    row.2.insert(&outcome.subject, cell);
                }
                None => rows.push((what, bar, [(outcome.subject.as_str(), cell)].into())),
            }
        }
    }
    rows
}

/// A text that may stand in a cell. What a program says may be long.
fn plain(text: &str) -> String {
    const MOST: usize = 240;
    let mut plain: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MOST)
        .flat_map(|c| if c == '|' { vec!['\\', '|'] } else { vec![c] })
        .collect();
    if text.chars().count() > MOST {
        plain.push('…');
    }
    plain.replace('<', "&lt;").replace('[', "\\[")
}

/// Each of these once, in the order in which they first come.
fn in_order<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(subject: &str, met: Option<bool>) -> Outcome {
        let criterion = Criterion {
            what: "a stopped server leaves".into(),
            bar: "≤ 5 s".into(),
            measured: "4 s | more".into(),
            met,
        };
        Outcome {
            id: "B1".into(),
            title: "hanging".into(),
            subject: subject.into(),
            criteria: vec![criterion],
            error: None,
            seconds: 1.0,
        }
    }

    #[test]
    fn newer_outcomes_take_the_places_of_older_ones() {
        let mut all = vec![outcome("x", Some(false)), outcome("ours", Some(true))];
        replace(&mut all, vec![outcome("x", Some(true)), outcome("y", None)]);
        let met: Vec<_> = all.iter().map(|it| (&*it.subject, it.criteria[0].met)).collect();
        assert_eq!(met, [("x", Some(true)), ("ours", Some(true)), ("y", None)]);
    }

    #[test]
    fn programs_stand_side_by_side() {
        let report = Report {
            date: "2026-01-31".into(),
            kernel: "6.1".into(),
            versions: vec![("x".into(), "1.0".into())],
            outcomes: vec![outcome("x", Some(false)), outcome("ours", Some(true))],
        };
        let page = page(&report);
        assert!(page.starts_with("Linux 6.1, 2026-01-31; x 1.0.\n"), "{page}");
        assert!(page.contains("| B1 | hanging | ✗ 0 of 1 | ✓ 1 of 1 |\n"), "{page}");
        let detail = "| a stopped server leaves | ≤ 5 s | ✗ 4 s \\| more | ✓ 4 s \\| more |\n";
        assert!(page.contains(detail), "{page}");
    }
}
