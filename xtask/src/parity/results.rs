//! The results that the comparison wrote.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The number of sequences from which on everything must have been covered.
const ENOUGH: u64 = 10_000;

/// The percentages of commands that must reach the kernel, and that must succeed. If most fail
/// early, equal results prove little.
const SHARES: (f64, f64) = (60.0, 30.0);

/// The corpus.
#[derive(Debug, Deserialize)]
pub(crate) struct Corpus {
    pub(crate) topics: Vec<Topic>,
    pub(crate) differences: Vec<String>,
}

/// A topic of the corpus.
#[derive(Debug, Deserialize)]
pub(crate) struct Topic {
    pub(crate) title: String,
    pub(crate) sequences: u64,
    pub(crate) commands: u64,
    pub(crate) wanted: u64,
}

/// Generated sequences.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Generated {
    pub(crate) tally: Tally,
    pub(crate) differences: Vec<String>,
}

/// What the sequences covered.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Tally {
    pub(crate) sequences: u64,
    pub(crate) commands: u64,
    pub(crate) reached: u64,
    pub(crate) succeeded: u64,
    pub(crate) wanted: u64,
    pub(crate) again: u64,
    pub(crate) options: BTreeMap<String, u64>,
    pub(crate) messages: BTreeMap<String, u64>,
    pub(crate) out_of_reach: BTreeMap<String, String>,
    pub(crate) unknown: Vec<String>,
}

/// Reads a file of results.
pub(crate) fn read<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let text = std::fs::read(file).with_context(|| format!("can't read {}", file.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} has no results", file.display()))
}

impl Generated {
    /// Adds the results from another kernel of the same kind.
    pub(crate) fn add(&mut self, other: Self) {
        let (own, other_tally) = (&mut self.tally, other.tally);
        own.sequences += other_tally.sequences;
        own.commands += other_tally.commands;
        own.reached += other_tally.reached;
        own.succeeded += other_tally.succeeded;
        own.wanted += other_tally.wanted;
        own.again += other_tally.again;
        add_counts(&mut own.options, other_tally.options);
        add_counts(&mut own.messages, other_tally.messages);
        own.out_of_reach.extend(other_tally.out_of_reach);
        own.unknown.extend(other_tally.unknown);
        self.differences.extend(other.differences);
    }
}

fn add_counts(to: &mut BTreeMap<String, u64>, from: BTreeMap<String, u64>) {
    for (name, count) in from {
        *to.entry(name).or_default() += count;
    }
}

impl Tally {
    pub(crate) fn percent_reached(&self) -> f64 {
        percent(self.reached, self.commands)
    }

    pub(crate) fn percent_succeeded(&self) -> f64 {
        percent(self.succeeded, self.commands)
    }

    /// The names with a count of 0.
    fn missed(&self) -> Vec<&str> {
        let all = self.options.iter().chain(&self.messages);
        all.filter(|(_, count)| **count == 0).map(|(name, _)| name.as_str()).collect()
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

/// Everything that is wrong with a comparison.
pub(crate) fn problems(release: &str, corpus: &Corpus, generated: &Generated) -> Vec<String> {
    let tally = &generated.tally;
    let mut problems: Vec<String> = corpus
        .differences
        .iter()
        .chain(&generated.differences)
        .map(|difference| format!("\nthe programs differ on Linux {release}:\n{difference}"))
        .collect();
    let unknown = tally.unknown.iter();
    problems.extend(unknown.map(|text| format!("no list of messages has this one: {text}")));
    if tally.sequences < ENOUGH {
        return problems;
    }
    let missed = tally.missed().into_iter();
    problems.extend(missed.map(|name| format!("no sequence got as far as this: {name}")));
    if tally.percent_reached() < SHARES.0 || tally.percent_succeeded() < SHARES.1 {
        problems.push(format!(
            "only {:.1} % of the commands reached the kernel and {:.1} % succeeded; {} % and {} % \
             are wanted",
            tally.percent_reached(),
            tally.percent_succeeded(),
            SHARES.0,
            SHARES.1
        ));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(sequences: u64, reached: u64) -> Generated {
        let options = [("-A".to_owned(), 1), ("--zero".to_owned(), 0)].into();
        let tally =
            Tally { sequences, commands: 100, reached, succeeded: 30, options, ..Tally::default() };
        Generated { tally, differences: Vec::new() }
    }

    fn corpus(differences: &[&str]) -> Corpus {
        let differences = differences.iter().map(|one| (*one).to_owned()).collect();
        Corpus { topics: Vec::new(), differences }
    }

    #[test]
    fn differences_always_count() {
        assert!(problems("6.1", &corpus(&[]), &generated(10, 0)).is_empty());
        assert_eq!(problems("6.1", &corpus(&["x"]), &generated(10, 0)).len(), 1);
        let mut found = generated(10, 100);
        found.differences.push("y".to_owned());
        found.tally.unknown.push("Bus error".to_owned());
        assert_eq!(problems("6.1", &corpus(&[]), &found).len(), 2);
    }

    #[test]
    fn nothing_may_be_missed_by_many() {
        let mut enough = generated(ENOUGH, 60);
        assert_eq!(problems("6.1", &corpus(&[]), &enough).len(), 1);
        enough.add(Generated {
            tally: Tally { options: [("--zero".to_owned(), 2)].into(), ..Tally::default() },
            differences: Vec::new(),
        });
        assert!(problems("6.1", &corpus(&[]), &enough).is_empty());
        enough.tally.reached = 59;
        assert_eq!(problems("6.1", &corpus(&[]), &enough).len(), 1);
    }
}
