//! What programs did in scenarios, as pages show it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What one program did in one scenario; the scenarios' program writes it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) id: String,
    pub(super) title: String,
    pub(super) subject: String,
    pub(super) criteria: Vec<Criterion>,
    pub(super) error: Option<String>,
    pub(super) seconds: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Criterion {
    pub(super) what: String,
    pub(super) bar: String,
    pub(super) measured: String,
    pub(super) met: Option<bool>,
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

/// What was measured in one scenario: a section with a column for each of the subjects.
pub(super) fn criteria(subjects: &[&str], outcomes: &[&Outcome]) -> String {
    let mut text = String::new();
    let Some(Outcome { id, title, .. }) = outcomes.first() else { return text };
    // Writing to a String can't fail.
    let _ = writeln!(text, "\n### {id}: {title}\n");
    let _ = writeln!(text, "| measured | bar | {} |", subjects.join(" | "));
    let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(subjects.len()));
    for (what, bar, cells) in details(outcomes) {
        let cells: Vec<&str> =
            subjects.iter().map(|subject| cells.get(subject).map_or("–", String::as_str)).collect();
        let _ = writeln!(text, "| {} | {} | {} |", plain(what), plain(bar), cells.join(" | "));
    }
    for outcome in outcomes {
        if let Some(error) = &outcome.error {
            let _ = writeln!(text, "\n{}: {}", outcome.subject, plain(error));
        }
    }
    text
}

/// How many criteria were met, in a cell.
pub(super) fn summary(outcome: &Outcome) -> String {
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
pub(super) fn plain(text: &str) -> String {
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
pub(super) fn in_order<'a>(all: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for one in all {
        if !seen.contains(&one) {
            seen.push(one);
        }
    }
    seen
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::acceptance) fn sample(subject: &str, met: Option<bool>) -> Outcome {
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
        let mut all = vec![sample("x", Some(false)), sample("ours", Some(true))];
        replace(&mut all, vec![sample("x", Some(true)), sample("y", None)]);
        let met: Vec<_> = all.iter().map(|it| (&*it.subject, it.criteria[0].met)).collect();
        assert_eq!(met, [("x", Some(true)), ("ours", Some(true)), ("y", None)]);
    }
}
