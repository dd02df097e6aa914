//! Counts the tests that passed, failed or were skipped, from the output and reports of test
//! programs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::AddAssign;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// The failed tests: the name and, on lines of its own, the message if the report has one.
    pub(crate) failures: Vec<String>,
    /// The skipped tests, each with the reason.
    pub(crate) skips: Vec<String>,
}

impl Counts {
    pub(crate) fn total(&self) -> u64 {
        self.passed + self.failed + self.skipped
    }

    /// The names of the skipped tests.
    pub(crate) fn skipped_names(&self) -> BTreeSet<&str> {
        self.skips.iter().filter_map(|skip| Some(skip.split_once(": ")?.0)).collect()
    }

    /// Reads a line printed by Rust's own test harness.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("test result: ") {
            self.read_result(rest);
        } else if let Some((name, outcome)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            if let Some(reason) = outcome.strip_prefix("ignored") {
                let reason = reason.trim_start_matches(", ");
                let reason = if reason.is_empty() { "ignored" } else { reason };
                self.skips.push(format!("{name}: {reason}"));
            } else if outcome == "FAILED" {
                self.failures.push(name.to_owned());
            }
        }
    }

    /// Reads "ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s".
    fn read_result(&mut self, rest: &str) {
        let counts = rest.split_once(". ").map_or("", |(_, counts)| counts);
        for part in counts.split("; ") {
            let Some((number, what)) = part.split_once(' ') else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }

    /// Reads a line of the integration tests' report: a JSON object.
    pub(crate) fn read_report(&mut self, line: &str) -> Result<()> {
        let line = ReportLine::read(line)?;
        match line.outcome {
            Outcome::Passed => self.passed += 1,
            Outcome::Failed => {
                self.failed += 1;
                self.failures.push(failure(&line.name, line.reason.as_deref().unwrap_or_default()));
            }
            Outcome::Skipped => {
                let reason = line.reason.filter(|reason| !reason.is_empty());
                let reason = reason
                    .with_context(|| format!("{} was skipped without a reason", line.name))?;
                self.skipped += 1;
                self.skips.push(format!("{}: {reason}", line.name));
            }
        }
        Ok(())
    }
}

/// Whether each test in a report passed, by its name.
pub(crate) fn verdicts(report: &str) -> Result<BTreeMap<String, bool>> {
    report.lines().map(|line| ReportLine::read(line).map(ReportLine::verdict)).collect()
}

/// The maximum number of lines of a failed test's message that the summary repeats.
const MOST_LINES: usize = 20;

/// A failed test with its message indented below its name. The end of a log may be all that is left
/// of a run.
fn failure(name: &str, reason: &str) -> String {
    let mut lines = reason.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let mut text = name.to_owned();
    for line in lines.by_ref().take(MOST_LINES) {
        text.extend(["\n      ", line]);
    }
    let left = lines.count();
    if left > 0 {
        text.push_str(&format!("\n      ({left} more lines)"));
    }
    text
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend_from_slice(&other.failures);
        self.skips.extend_from_slice(&other.skips);
    }
}

#[derive(Debug, Deserialize)]
struct ReportLine {
    name: String,
    outcome: Outcome,
    reason: Option<String>,
}

impl ReportLine {
    fn read(line: &str) -> Result<Self> {
        serde_json::from_str(line).with_context(|| format!("not a line of a test report: {line}"))
    }

    fn verdict(self) -> (String, bool) {
        (self.name, matches!(self.outcome, Outcome::Passed))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_results_of_several_programs_add_up() {
        let mut counts = Counts::default();
        for line in [
            "running 3 tests",
            "test a::b ... ok",
            "test c ... ignored, needs a printer",
            "test crates/x/src/lib.rs - y (line 3) ... ignored",
            "test d ... FAILED",
            "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; finished in 0.01s",
            "",
            "test result: ok. 5 passed; 0 failed; 0 ignored; 3 measured; 0 filtered out; finished in 1.00s",
        ] {
            counts.read_line(line);
        }
        assert_eq!(
            counts,
            Counts {
                passed: 17,
                failed: 1,
                skipped: 2,
                failures: vec!["d".into()],
                skips: vec![
                    "c: needs a printer".into(),
                    "crates/x/src/lib.rs - y (line 3): ignored".into()
                ],
            }
        );
    }

    #[test]
    fn what_a_test_prints_does_not_count() {
        let mut counts = Counts::default();
        for line in ["  test result: ok. 5 passed", "testing a ... FAILED", "test result: what?"] {
            counts.read_line(line);
        }
        assert_eq!(counts, Counts::default());
    }

    #[test]
    fn a_failure_keeps_its_message_up_to_a_length() {
        assert_eq!(
            failure("a::b", "1 is not 2\n\nCaused by: math\n"),
            "a::b\n      1 is not 2\n      Caused by: math"
        );
        assert_eq!(failure("a::b", ""), "a::b");
        let long = failure("a::b", &"line\n".repeat(23));
        assert_eq!(long.lines().count(), 1 + MOST_LINES + 1);
        assert!(long.ends_with("(3 more lines)"), "{long}");
    }

    #[test]
    fn only_a_test_that_passed_has_passed() {
        let report = concat!(
            r#"{"name":"gre","outcome":"skipped","reason":"needs Linux 5.3"}"#,
            "\n",
            r#"{"name":"rr","outcome":"passed"}"#,
            "\n",
            r#"{"name":"wlc","outcome":"failed","reason":"panicked"}"#,
        );
        let verdicts = verdicts(report).unwrap();
        let verdicts: Vec<(&str, bool)> =
            verdicts.iter().map(|(name, it)| (&**name, *it)).collect();
        assert_eq!(verdicts, [("gre", false), ("rr", true), ("wlc", false)]);
    }

    #[test]
    fn a_report_is_read_line_by_line() {
        let mut counts = Counts::default();
        for line in [
            r#"{"name":"gre","outcome":"skipped","reason":"needs Linux 5.3"}"#,
            r#"{"name":"rr","outcome":"passed"}"#,
            r#"{"name":"wlc","outcome":"failed","reason":"panicked"}"#,
            r#"{"name":"sh","outcome":"passed","reason":null}"#,
        ] {
            counts.read_report(line).unwrap();
        }
        assert_eq!((counts.passed, counts.failed, counts.skipped, counts.total()), (2, 1, 1, 4));
        assert_eq!(counts.skips, ["gre: needs Linux 5.3"]);
        assert_eq!(counts.failures, ["wlc\n      panicked"]);
        for broken in [
            "",
            "{}",
            r#"{"name":"x","outcome":"vanished"}"#,
            r#"{"name":"x","outcome":"pas"#,
            r#"{"name":"x","outcome":"skipped"}"#,
            r#"{"name":"x","outcome":"skipped","reason":""}"#,
        ] {
            assert!(counts.read_report(broken).is_err(), "{broken}");
        }
    }
}
