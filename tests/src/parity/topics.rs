//! The corpus, topic by topic.

use std::ops::AddAssign;

use anyhow::{Context as _, Result, ensure};

use super::Tools;
use super::case::Topic;
use super::compare::Pair;

/// Includes files of `tests/cases`, with their names.
macro_rules! files {
    ($($name:literal),*) => {
        [$(($name, include_str!(concat!("../../cases/", $name, ".txt")))),*]
    };
}

const FILES: [(&str, &str); 11] = files![
    "addresses",
    "daemons",
    "errors",
    "lists",
    "matrix",
    "quirks",
    "restore",
    "save",
    "services",
    "syntax",
    "wrappers"
];

/// The number of things compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences, each including the final table.
    pub sequences: usize,
    /// Commands, each with exit status, standard output and standard error.
    pub commands: usize,
    /// How many of these three differed as intended.
    pub wanted: usize,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.sequences += other.sequences;
        self.commands += other.commands;
        self.wanted += other.wanted;
    }
}

/// The whole corpus.
///
/// # Errors
///
/// If a file is malformed.
pub fn corpus() -> Result<Vec<Topic>> {
    FILES.iter().map(|(name, text)| Topic::parse(name, text)).collect()
}

/// One topic of the corpus.
///
/// # Errors
///
/// If there is no such topic, or it is malformed.
pub fn topic(name: &str) -> Result<Topic> {
    let file = FILES.iter().find(|(known, _)| *known == name);
    let (name, text) = file.with_context(|| format!("no topic is called {name}"))?;
    Topic::parse(name, text)
}

/// Runs a topic with both programs, each sequence in fresh namespaces.
///
/// # Errors
///
/// If there is an unintended difference, or an intended one is missing; the error shows all of
/// them.
pub fn run(tools: &Tools, topic: &Topic) -> Result<Counts> {
    let mut counts = Counts::default();
    let mut differences = Vec::new();
    for sequence in &topic.sequences {
        let named = || format!("{}: [{}]", topic.name, sequence.name);
        let report = Pair::create(tools)?.run(sequence).with_context(named)?;
        let commands = report.commands.len();
        counts += Counts { sequences: 1, commands, wanted: report.wanted };
        differences.extend(report.differences.iter().map(|what| format!("{}: {what}", named())));
    }
    ensure!(differences.is_empty(), "{}", differences.join("\n"));
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;

    use super::*;

    #[test]
    fn every_file_of_the_corpus_is_run() {
        let folder = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/cases")).unwrap();
        let there: BTreeSet<String> =
            folder.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        let run = FILES.iter().map(|(name, _)| format!("{name}.txt")).collect();
        assert_eq!(there, run);
    }

    #[test]
    fn every_topic_is_well_formed_and_prints_as_it_is_read() {
        for topic in corpus().unwrap() {
            for sequence in &topic.sequences {
                let text = format!("# {}\n{sequence}", topic.title);
                let again = Topic::parse(&topic.name, &text).unwrap();
                assert_eq!(again.sequences.first(), Some(sequence), "{}", topic.name);
            }
        }
    }
}
