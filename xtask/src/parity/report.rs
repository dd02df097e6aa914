//! Shows the figures of the comparison, on the terminal and in the documents.

use std::fmt::Write as _;

use anyhow::Result;

use super::results::{Corpus, Generated};
use crate::docs::Part;

const START: &str = "<!-- parity:begin (cargo xtask parity --into-docs) -->\n";
const END: &str = "<!-- parity:end -->\n";

/// A row for each topic and each kernel.
const TABLES: Part =
    Part { file: "docs/parity.md", name: "table of parity", start: START, end: END };

/// A row for each kernel.
const SUMMARY: Part = Part { file: "README.md", name: "table of parity", start: START, end: END };

/// A comparison on one kernel.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) release: String,
    pub(crate) corpus: Corpus,
    pub(crate) generated: Generated,
}

/// The figures of a kernel.
pub(crate) fn summary(release: &str, corpus: &Corpus, generated: &Generated) -> String {
    let sum =
        |count: fn(&super::results::Topic) -> u64| corpus.topics.iter().map(count).sum::<u64>();
    let tally = &generated.tally;
    let hit = |counts: &std::collections::BTreeMap<String, u64>| {
        (counts.values().filter(|count| **count > 0).count(), counts.len())
    };
    let (options, messages) = (hit(&tally.options), hit(&tally.messages));
    let mut text = format!(
        "\nLinux {release}\n  corpus: {} sequences, {} commands, {} wanted differences, {} topics with \
         others\n  generated: {} sequences, {} commands, {:.1} % reached the kernel, {:.1} % \
         succeeded, {} wanted differences, {} sequences with others\n  {} sequences had the same \
         outcome in fresh namespaces\n  {} of {} spellings of options, {} of {} messages\n",
        sum(|topic| topic.sequences),
        sum(|topic| topic.commands),
        sum(|topic| topic.wanted),
        corpus.differences.len(),
        tally.sequences,
        tally.commands,
        tally.percent_reached(),
        tally.percent_succeeded(),
        tally.wanted,
        generated.differences.len(),
        tally.again,
        options.0,
        options.1,
        messages.0,
        messages.1,
    );
    for (message, reason) in &tally.out_of_reach {
        let _ = writeln!(text, "  out of reach: {message} ({reason})");
    }
    text
}

/// Replaces the tables in the documents. Assumes that there are only intended differences.
pub(crate) fn write_docs(runs: &[Run]) -> Result<()> {
    let rows = runs.iter().map(|run| SummaryRow {
        kernel: format!("Linux {}", run.release),
        corpus: run.corpus.topics.iter().map(|topic| topic.commands).sum(),
        random: run.generated.tally.commands,
        differences: run.corpus.differences.len() + run.generated.differences.len(),
    });
    SUMMARY.write(&short(rows))?;
    TABLES.write(&tables(runs))
}

struct SummaryRow {
    kernel: String,
    corpus: u64,
    random: u64,
    differences: usize,
}

fn short(rows: impl Iterator<Item = SummaryRow>) -> String {
    let mut text = String::from(
        "| | Commands of the corpus | Random commands | Unintended differences |\n\
         | --- | ---: | ---: | ---: |\n",
    );
    for SummaryRow { kernel, corpus, random, differences } in rows {
        let _ = writeln!(text, "| {kernel} | {corpus} | {random} | {differences} |");
    }
    text
}

fn tables(runs: &[Run]) -> String {
    let mut text = String::from("| Commands that are compared | Sequences | Commands |");
    runs.iter().for_each(|run| text.push_str(&format!(" Linux {} |", run.release)));
    text.push_str("\n| --- | ---: | ---: |");
    runs.iter().for_each(|_| text.push_str(" --- |"));
    text.push('\n');
    for (at, topic) in runs.first().map(|run| &run.corpus.topics).into_iter().flatten().enumerate()
    {
        text.push_str(&row(&topic.title, topic.sequences, topic.commands));
        for run in runs {
            text.push_str(match run.corpus.topics[at].wanted {
                0 => " equal |",
                _ => " equal except for intended differences |",
            });
        }
        text.push('\n');
    }
    text.push_str(
        "\n| Commands at random | Sequences | Commands | Reached the kernel | Succeeded | Differences \
         |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for Run { release, generated, .. } in runs {
        let tally = &generated.tally;
        let _ = writeln!(
            text,
            "{} {:.1} % | {:.1} % | {} |",
            row(&format!("Linux {release}"), tally.sequences, tally.commands),
            tally.percent_reached(),
            tally.percent_succeeded(),
            generated.differences.len()
        );
    }
    text
}

fn row(title: &str, sequences: u64, commands: u64) -> String {
    format!("| {} | {sequences} | {commands} |", title.trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use lab::paths;

    /// The counts on the page match the corpus: its sequences, and the commands in them.
    #[test]
    fn the_page_is_up_to_date_with_the_corpus() {
        let tables = TABLES.recorded().unwrap();
        let mut files = 0;
        for entry in fs::read_dir(paths::root().join("tests/cases")).unwrap() {
            let text = fs::read_to_string(entry.unwrap().path()).unwrap();
            let title = text.lines().next().unwrap().trim_start_matches("# ");
            let begins = |with: &str| text.lines().filter(|line| line.starts_with(with)).count();
            let row = row(title, begins("[") as u64, begins("ipvsadm") as u64);
            assert!(tables.contains(&row), "`cargo xtask parity --into-docs` is due: {row}");
            files += 1;
        }
        let rows = tables.split("\n\n").next().unwrap().lines().count();
        assert_eq!(rows, files + 2, "the page has topics that the corpus doesn't");
    }

    /// The README's table has the same figures as the page's.
    #[test]
    fn the_readme_says_what_the_page_says() {
        let tables = TABLES.recorded().unwrap();
        let (corpus, random) = tables.split_once("\n\n").unwrap();
        let rows = |table: &str| -> Vec<Vec<String>> {
            let cells =
                |row: &str| row.trim_matches('|').split('|').map(|c| c.trim().into()).collect();
            table.lines().skip(2).map(cells).collect()
        };
        let corpus = rows(corpus).iter().map(|row| row[2].parse::<u64>().unwrap()).sum();
        let summary = rows(random).into_iter().map(|row| SummaryRow {
            kernel: row[0].clone(),
            corpus,
            random: row[2].parse().unwrap(),
            differences: row[5].parse().unwrap(),
        });
        assert_eq!(SUMMARY.recorded().unwrap(), short(summary));
    }
}
