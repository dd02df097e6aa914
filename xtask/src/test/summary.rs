//! The summary at the end of all steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use lab::progress;
use serde::{Deserialize, Serialize};

use super::counts::Counts;
use super::{ON_KERNEL, Outcome, ROOMS_FOLLOW, timed};

/// The outcome of every step.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(super) rows: Vec<Row>,
}

/// The outcome of a step.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Row {
    name: String,
    /// `None` for a step that runs no tests.
    counts: Option<Counts>,
    problem: Option<String>,
    time: Duration,
}

impl Summary {
    /// Runs a step and keeps its outcome.
    pub(crate) fn time(&mut self, name: String, step: impl FnOnce() -> Result<Option<Outcome>>) {
        let (outcome, time) = timed(step);
        let (counts, problem) = match outcome {
            Ok(Some(Outcome { counts, problem })) => (Some(counts), problem),
            Ok(None) => (None, None),
            Err(error) => {
                lab::obey_signal(&error);
                (None, Some(format!("{error:#}")))
            }
        };
        if let Some(problem) = &problem {
            progress::note(&format!("{name}: {problem}"));
        }
        self.rows.push(Row { name, counts, problem, time });
    }

    /// Records a step that could not run because another one failed.
    pub(crate) fn missed(&mut self, name: String) {
        let problem = Some("not run".to_owned());
        self.rows.push(Row { name, counts: None, problem, time: Duration::ZERO });
    }

    /// Records a problem with the run as a whole.
    pub(crate) fn fail(&mut self, problem: String) {
        let name = "all steps".to_owned();
        self.rows.push(Row { name, counts: None, problem: Some(problem), time: Duration::ZERO });
    }

    /// The counts of all tests together. A step that failed as a whole counts as one failed test.
    pub(crate) fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for row in &self.rows {
            if let Some(counts) = &row.counts {
                all += counts;
            }
            all.failed += u64::from(row.problem.is_some());
        }
        all
    }

    /// The names of the integration tests that were skipped on every kernel.
    pub(crate) fn never_run(&self) -> Vec<&str> {
        let mut by_kernel: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in &self.rows {
            let Some(name) = row.name.strip_prefix(ON_KERNEL) else { continue };
            let kernel = name.split_once(ROOMS_FOLLOW).map_or(name, |(kernel, _)| kernel);
            let skipped = row.counts.as_ref().map_or_else(BTreeSet::new, Counts::skipped_names);
            by_kernel.entry(kernel).or_default().extend(skipped);
        }
        by_kernel
            .into_values()
            .reduce(|all, names| &all & &names)
            .map_or_else(Vec::new, |names| names.into_iter().collect())
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.counts().failed > 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        writeln!(
            f,
            "\n{:width$}  {:>6}  {:>6}  {:>7}  {:>8}",
            "", "passed", "failed", "skipped", "time"
        )?;
        for Row { name, counts, problem, time } in &self.rows {
            write!(f, "{name:width$}  ")?;
            match counts {
                Some(Counts { passed, failed, skipped, .. }) => {
                    write!(f, "{passed:>6}  {failed:>6}  {skipped:>7}")?;
                }
                None => write!(
                    f,
                    "{:>6}  {:>6}  {:>7}",
                    if problem.is_some() { "" } else { "ok" },
                    "",
                    ""
                )?,
            }
            writeln!(f, "  {:>6.1} s", time.as_secs_f64())?;
        }
        self.list(f, "skipped", |row| {
            row.counts.iter().flat_map(|counts| counts.skips.clone()).collect()
        })?;
        self.list(f, "failed", |row| {
            let named = row.counts.iter().flat_map(|counts| counts.failures.clone());
            named.chain(row.problem.clone()).collect()
        })?;
        let Counts { passed, failed, skipped, .. } = self.counts();
        // The last line stands alone, for machines to read.
        writeln!(f, "\n{passed} passed, {failed} failed, {skipped} skipped")
    }
}

impl Summary {
    fn list(
        &self,
        f: &mut fmt::Formatter<'_>,
        title: &str,
        items: impl Fn(&Row) -> Vec<String>,
    ) -> fmt::Result {
        let lines: Vec<String> = self
            .rows
            .iter()
            .flat_map(|row| items(row).into_iter().map(|item| format!("  {}: {item}", row.name)))
            .collect();
        if lines.is_empty() { Ok(()) } else { writeln!(f, "\n{title}:\n{}", lines.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    fn outcome(passed: u64, skips: &[&str], failures: &[&str]) -> Outcome {
        let owned =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let counts = Counts {
            passed,
            failed: failures.len() as u64,
            skipped: skips.len() as u64,
            failures: owned(failures),
            skips: owned(skips),
        };
        Outcome { counts, problem: None }
    }

    #[test]
    fn the_last_line_counts_everything() {
        let mut summary = Summary::default();
        summary.time("lints".into(), || Ok(None));
        summary.time("unit tests".into(), || Ok(Some(outcome(7, &["a: why"], &[]))));
        assert!(!summary.has_failed());
        assert_eq!(summary.to_string().lines().last(), Some("7 passed, 0 failed, 1 skipped"));
        summary.time("on a kernel".into(), || Ok(Some(outcome(2, &[], &["b", "c"]))));
        assert!(summary.has_failed());
        let text = summary.to_string();
        assert_eq!(text.lines().last(), Some("9 passed, 2 failed, 1 skipped"));
        for line in
            ["skipped:", "  unit tests: a: why", "failed:", "  on a kernel: b", "  on a kernel: c"]
        {
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        }
    }

    #[test]
    fn what_is_skipped_on_every_kernel_was_never_run() {
        let mut summary = Summary::default();
        summary.time("unit tests".into(), || Ok(Some(outcome(1, &["a::new: why"], &[]))));
        assert_eq!(summary.never_run(), [""; 0]);
        for (kernel, skips) in [
            ("6.1", ["a::new: needs 6.2: this is 6.1", "a::newest: needs 9.0"].as_slice()),
            ("6.12", &["a::newest: needs 9.0"]),
            ("7.2", &["a::newest: needs 9.0", "b: gone"]),
        ] {
            // Each test is in one of the rooms, which have a row each.
            let (name, (some, others)) = (format!("{ON_KERNEL}Linux {kernel}"), skips.split_at(1));
            let rooms = |rooms| format!("{name}{ROOMS_FOLLOW}{rooms}");
            summary.time(rooms("some"), || Ok(Some(outcome(3, some, &[]))));
            summary.time(rooms("others"), || Ok(Some(outcome(2, others, &[]))));
        }
        assert_eq!(summary.never_run(), ["a::newest"]);
        // A kernel that never ran a test doesn't count as having skipped it.
        summary.time(format!("{ON_KERNEL}Linux 8.0"), || Err(anyhow!("it didn't boot")));
        assert_eq!(summary.never_run(), [""; 0]);
    }

    #[test]
    fn a_step_that_fails_as_a_whole_is_a_failure() {
        let mut summary = Summary::default();
        summary.time("lints".into(), || Err(anyhow!("no good")));
        summary.missed("on a kernel".into());
        let counts = Some(Outcome { counts: Counts::default(), problem: Some("no test".into()) });
        summary.time("on another".into(), || Ok(counts));
        summary.fail("nothing at all".into());
        assert_eq!(summary.counts().failed, 4);
        assert!(summary.to_string().contains("  lints: no good\n"));
    }
}
