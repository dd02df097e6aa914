//! What was seen on each kernel, as docs/failover.md shows it.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::super::report::{self, Criterion, Outcome, in_order, plain};
use crate::docs::Part;

/// The generated part of the page.
pub(super) const PAGE: Part = Part {
    file: "docs/failover.md",
    name: "what was seen",
    start: "<!-- failover:begin (cargo xtask acceptance failover --into-docs) -->\n",
    end: "<!-- failover:end -->\n",
};

/// The gaps in README.md.
pub(super) const README: Part = Part {
    file: "README.md",
    name: "table of gaps",
    start: "<!-- failover:begin (cargo xtask acceptance failover --into-docs) -->\n",
    end: "<!-- failover:end -->\n",
};

/// How the name of a median ends, and that of a maximum.
const MEDIAN: &str = ", median";
/// See [`MEDIAN`].
const MAXIMUM: &str = ", maximum";

/// Everything that was seen, a kernel at a time.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    kernels: Vec<OnKernel>,
}

/// What was seen on one kernel.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct OnKernel {
    /// The kernel as it is chosen: 6.1.
    pub(super) series: String,
    pub(super) release: String,
    /// The day, such as 2026-01-31.
    pub(super) date: String,
    /// The version of keepalived's package.
    pub(super) keepalived: String,
    pub(super) rows: Vec<Row>,
    pub(super) outcomes: Vec<Outcome>,
}

/// Something that has to hold.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    /// V1 to V11.
    pub(super) id: String,
    pub(super) what: String,
    /// How many tests, or programs of tests, show it.
    pub(super) tests: usize,
    /// Those of them that didn't pass.
    pub(super) failed: Vec<String>,
}

impl Row {
    pub(super) fn holds(&self) -> bool {
        self.tests > 0 && self.failed.is_empty()
    }

    /// Prints it.
    pub(super) fn show(&self) {
        println!("{} {}: {}", self.id, self.what, self.cell());
        self.failed.iter().for_each(|name| println!("  ✗ {name}"));
    }

    fn cell(&self) -> String {
        let mark = if self.holds() { "✓" } else { "✗" };
        format!("{mark} {} of {}", self.tests - self.failed.len(), self.tests)
    }
}

impl Record {
    /// Puts in what is newer; what that leaves out stays.
    pub(super) fn replace(&mut self, newer: OnKernel) {
        let Some(older) = self.kernels.iter_mut().find(|it| it.series == newer.series) else {
            self.kernels.push(newer);
            return;
        };
        let rows = if newer.rows.is_empty() { std::mem::take(&mut older.rows) } else { newer.rows };
        let mut outcomes = std::mem::take(&mut older.outcomes);
        report::replace(&mut outcomes, newer.outcomes);
        *older = OnKernel { rows, outcomes, ..newer };
    }

    /// The generated part of the page.
    pub(super) fn page(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        for OnKernel { release, date, keepalived, .. } in &self.kernels {
            let _ = writeln!(text, "- Linux {release}, {date}, keepalived {keepalived}");
        }
        text += &self.rows();
        let _ = writeln!(text, "\n## Scenarios");
        let outcomes = self.outcomes();
        for id in in_order(outcomes.iter().map(|it| &*it.id)) {
            let of_it: Vec<&Outcome> = outcomes.iter().filter(|it| it.id == id).collect();
            let subjects = in_order(of_it.iter().map(|it| &*it.subject));
            text += &report::criteria(&subjects, &of_it);
        }
        text
    }

    /// What has to hold, with a column for each kernel; nothing if nobody has looked.
    fn rows(&self) -> String {
        let mut text = String::new();
        let ids = in_order(self.kernels.iter().flat_map(|it| &it.rows).map(|row| &*row.id));
        if ids.is_empty() {
            return text;
        }
        let _ = writeln!(text, "\n## What has to hold\n");
        let kernels: Vec<String> =
            self.kernels.iter().map(|it| format!("Linux {}", it.series)).collect();
        let _ = writeln!(text, "| | what has to hold | {} |", kernels.join(" | "));
        let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(kernels.len()));
        for id in ids {
            let on_each = self.kernels.iter().map(|it| it.rows.iter().find(|row| row.id == id));
            let on_each: Vec<Option<&Row>> = on_each.collect();
            let what = on_each.iter().flatten().next().map_or("", |row| &row.what);
            let cells: Vec<String> =
                on_each.iter().map(|row| row.map_or("–".into(), Row::cell)).collect();
            let _ = writeln!(text, "| {id} | {} | {} |", plain(what), cells.join(" | "));
        }
        text
    }

    /// The gaps, ours beside keepalived's.
    pub(super) fn overview(&self) -> String {
        let mut text = String::new();
        let outcomes = self.outcomes();
        let medians = |outcome: &Outcome| -> Vec<String> {
            let judged = outcome.criteria.iter().filter(|it| it.met.is_some());
            judged.filter_map(|it| Some(it.what.strip_suffix(MEDIAN)?.to_owned())).collect()
        };
        let gaps: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| !medians(outcome).is_empty()).collect();
        let subjects = in_order(gaps.iter().map(|it| &*it.subject));
        let _ = writeln!(text, "| | median | {} |", subjects.join(" | "));
        let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(subjects.len()));
        for id in in_order(gaps.iter().map(|it| &*it.id)) {
            let of_it: Vec<&&Outcome> = gaps.iter().filter(|it| it.id == id).collect();
            let Some(first) = of_it.first() else { continue };
            for what in medians(first) {
                let find = |outcome: &Outcome, end: &str| -> Option<Criterion> {
                    let wanted = format!("{what}{end}");
                    outcome.criteria.iter().find(|it| it.what == wanted).cloned()
                };
                let cell = |subject: &&str| -> Option<String> {
                    let outcome = of_it.iter().find(|it| it.subject == **subject)?;
                    let (median, most) = (find(outcome, MEDIAN)?, find(outcome, MAXIMUM)?);
                    Some(format!("{}, at most {}", median.measured, most.measured))
                };
                let cells: Vec<String> =
                    subjects.iter().map(|it| cell(it).unwrap_or("–".into())).collect();
                let bar = find(first, MEDIAN).map_or(String::new(), |it| it.bar);
                let _ =
                    writeln!(text, "| {}: {what} | {bar} | {} |", first.title, cells.join(" | "));
            }
        }
        text
    }

    /// All outcomes, with the kernel as a part of what is compared.
    fn outcomes(&self) -> Vec<Outcome> {
        let on = |it: &OnKernel, outcome: &Outcome| {
            let subject = format!("{}, {}", outcome.subject, it.series);
            Outcome { subject, ..outcome.clone() }
        };
        let all = self.kernels.iter();
        all.flat_map(|it| it.outcomes.iter().map(|outcome| on(it, outcome))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(subject: &str, median: &str) -> Outcome {
        let criterion = |what: &str, bar: &str, measured: &str, met| Criterion {
            what: what.into(),
            bar: bar.into(),
            measured: measured.into(),
            met,
        };
        Outcome {
            id: "G1".into(),
            title: "a stop".into(),
            subject: subject.into(),
            criteria: vec![
                criterion("SYNs, median", "≤ 0.7 s", median, Some(true)),
                criterion("SYNs, maximum", "", "0.9 s", None),
                criterion("a download, median", "", "5 s", None),
            ],
            error: None,
            seconds: 1.0,
        }
    }

    fn on(series: &str, failed: &[&str]) -> OnKernel {
        let failed = failed.iter().map(|name| (*name).to_owned()).collect();
        OnKernel {
            series: series.into(),
            release: format!("{series}.9"),
            date: "2026-01-31".into(),
            keepalived: "2.2.7".into(),
            rows: vec![Row { id: "V1".into(), what: "adverts".into(), tests: 3, failed }],
            outcomes: vec![gap("ours", "0.5 s"), gap("keepalived", "0.6 s")],
        }
    }

    #[test]
    fn kernels_stand_side_by_side() {
        let record = Record { kernels: vec![on("6.1", &[]), on("7.2", &["a::b"])] };
        let page = record.page();
        assert!(page.starts_with("- Linux 6.1.9, 2026-01-31, keepalived 2.2.7\n"), "{page}");
        assert!(page.contains("\n| V1 | adverts | ✓ 3 of 3 | ✗ 2 of 3 |\n"), "{page}");
        let line = "| SYNs, median | ≤ 0.7 s | ✓ 0.5 s | ✓ 0.6 s | ✓ 0.5 s | ✓ 0.6 s |\n";
        assert!(page.contains(line), "{page}");
        let ours = "0.5 s, at most 0.9 s";
        let theirs = "0.6 s, at most 0.9 s";
        let line = format!("| a stop: SYNs | ≤ 0.7 s | {ours} | {theirs} | {ours} | {theirs} |\n");
        assert!(record.overview().ends_with(&line), "{}", record.overview());
    }

    #[test]
    fn what_a_run_leaves_out_stays() {
        let mut record = Record { kernels: vec![on("6.1", &[])] };
        record.replace(OnKernel { outcomes: Vec::new(), ..on("6.1", &["a::b"]) });
        assert_eq!((record.kernels.len(), record.kernels[0].outcomes.len()), (1, 2));
        assert!(!record.kernels[0].rows[0].holds());
        let ours = vec![gap("ours", "0.4 s")];
        record.replace(OnKernel { rows: Vec::new(), outcomes: ours, ..on("6.1", &[]) });
        assert!(!record.kernels[0].rows[0].holds());
        let page = record.page();
        assert!(page.contains("| SYNs, median | ≤ 0.7 s | ✓ 0.4 s | ✓ 0.6 s |\n"), "{page}");
    }
}
