//! The corpus, topic by topic.

use std::ops::AddAssign;

use anyhow::{Context as _, Result, ensure};

use super::Tools;
use super::case::Topic;
use super::compare::Pair;

/// Files of `tests/cases`, with their names.
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

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sequences, each with the final table.
    pub sequences: usize,
    /// Commands: exit status, standard output and standard error of each.
    pub commands: usize,
    /// How many of these three differed as is wanted.
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
/// If a file of it isn't well formed.
pub fn corpus() -> Result<Vec<Topic>> {
    FILES.iter().map(|(name, text)| Topic::parse(name, text)).collect()
}

/// One topic of the corpus.
///
/// # Errors
///
/// If there is none of that name, or it isn't well formed.
pub fn topic(name: &str) -> Result<Topic> {
    let file = FILES.iter().find(|(known, _)| *known == name);
    let (name, text) = file.with_context(|| format!("no topic is called {name}"))?;
    Topic::parse(name, text)
}

/// Runs a topic with both programs, each sequence in fresh namespaces.
///
/// # Errors
///
/// If anything differs that shouldn't, or doesn't that should: the error shows all of it.
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
