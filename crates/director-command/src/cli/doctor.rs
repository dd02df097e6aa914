//! `director doctor`: findings as text and as JSON.

use std::fmt::Write as _;

use daemon_kit::say;
use daemon_kit::words::filled;
use serde::Serialize;

use super::exit::Exit;
use crate::doctor::{Finding, Severity, Wanted, judge, look};

/// How wide a line is at most, unless it is to be typed.
const WIDTH: usize = 100;

/// The version of the JSON.
const VERSION: u32 = 1;

/// Looks, and shows what it has found.
pub(super) fn doctor(wanted: &Wanted, as_json: bool) -> Exit {
    let findings = judge(&look(wanted));
    say::out(if as_json { json(&findings) } else { text(&findings) });
    exit(&findings)
}

/// What breaks the cluster counts more than what nobody knows.
fn exit(findings: &[Finding]) -> Exit {
    let has = |severity| findings.iter().any(|it| it.severity == severity);
    if has(Severity::Breaks) {
        Exit::Found
    } else if has(Severity::Unknown) {
        Exit::Failed
    } else {
        Exit::Done
    }
}

#[derive(Debug, Serialize)]
struct Document<'a> {
    version: u32,
    findings: &'a [Finding],
}

fn json(findings: &[Finding]) -> String {
    let document = Document { version: VERSION, findings };
    // Texts can be written as JSON.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing here breaks the cluster\n".to_owned();
    }
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.severity {
            Severity::Breaks => "BREAKS",
            Severity::Unknown => "UNKNOWN",
            Severity::Advice => "advice",
        };
        if !text.is_empty() {
            text.push('\n');
        }
        let what = say::one_line(&finding.what);
        text += &filled(&format!("{mark} [{}] {what}", finding.id), WIDTH);
        for line in filled(&finding.why, WIDTH - 4).lines() {
            // Writing to a string doesn't fail.
            let _ = writeln!(text, "    {line}");
        }
        for line in &finding.fix {
            let _ = writeln!(text, "  > {}", say::one_line(line));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: Severity) -> Finding {
        Finding {
            id: "rp-filter",
            severity,
            what: "rp_filter is strict\u{1b}".to_owned(),
            why: "The kernel drops packets.".to_owned(),
            fix: vec!["sysctl -w a=2".to_owned()],
        }
    }

    #[test]
    fn the_exit_status_is_that_of_the_worst_finding() {
        let [breaks, unknown, advice] =
            [Severity::Breaks, Severity::Unknown, Severity::Advice].map(finding);
        assert_eq!(exit(&[]), Exit::Done);
        assert_eq!(exit(std::slice::from_ref(&advice)), Exit::Done);
        assert_eq!(exit(&[advice.clone(), unknown.clone()]), Exit::Failed);
        assert_eq!(exit(&[unknown, breaks, advice]), Exit::Found);
    }

    #[test]
    fn a_finding_says_what_why_and_what_to_type() {
        let expected = "BREAKS [rp-filter] rp_filter is strict\\u{1b}\n    The kernel drops packets.\n  > sysctl -w a=2\n";
        assert_eq!(text(&[finding(Severity::Breaks)]), expected);
        assert_eq!(text(&[]).lines().count(), 1);
    }

    #[test]
    fn programs_find_the_same_in_the_json() {
        let value: serde_json::Value =
            serde_json::from_str(&json(&[finding(Severity::Unknown)])).expect("JSON");
        let expected = serde_json::json!({"version": 1, "findings": [{
            "id": "rp-filter", "severity": "unknown", "what": "rp_filter is strict\u{1b}",
            "why": "The kernel drops packets.", "fix": ["sysctl -w a=2"]
        }]});
        assert_eq!(value, expected);
    }
}
