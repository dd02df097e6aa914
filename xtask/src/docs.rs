//! The generated parts of README.md and of the pages under `docs`. Among them is the demo's
//! transcript, which must match what the demo prints.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use lab::kernel::Choice;
use lab::{paths, process};

use crate::demo::Topic;
use crate::{cargo, demo};

/// The date of what was measured, such as 2026-01-31.
pub(crate) fn today() -> Result<String> {
    const SHORT: Duration = Duration::from_secs(60);
    let date = process::succeed(Command::new("date").args(["--utc", "+%F"]), SHORT)?;
    Ok(date.trim().to_owned())
}

/// A part of a document that a run generates.
#[derive(Debug)]
pub(crate) struct Part {
    /// The document, relative to the root of the workspace.
    pub(crate) file: &'static str,
    /// What to call it in errors.
    pub(crate) name: &'static str,
    /// The text before it.
    pub(crate) start: &'static str,
    /// The text after it.
    pub(crate) end: &'static str,
}

impl Part {
    /// The part as it is in its document.
    pub(crate) fn recorded(&self) -> Result<String> {
        let document = self.document()?;
        let (_, part, _) = self.split(&document)?;
        Ok(part.to_owned())
    }

    /// Replaces the part in its document.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        fs::write(self.path(), self.replaced(&self.document()?, text)?)
            .with_context(|| format!("can't write {}", self.file))
    }

    /// The document with the part replaced.
    pub(crate) fn replaced(&self, document: &str, text: &str) -> Result<String> {
        let (before, _, after) = self.split(document)?;
        Ok([before, text, after].concat())
    }

    /// The text before the part, the part itself, and the text after it.
    pub(crate) fn split<'a>(&self, document: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
        let Self { file, name, start, end } = self;
        let from = document.find(start).with_context(|| format!("{file} has no {name}"))?;
        let (before, rest) = document.split_at(from + start.len());
        let length = rest.find(end).with_context(|| format!("{file}: the {name} has no end"))?;
        let (part, after) = rest.split_at(length);
        Ok((before, part, after))
    }

    fn path(&self) -> PathBuf {
        paths::root().join(self.file)
    }

    fn document(&self) -> Result<String> {
        fs::read_to_string(self.path()).with_context(|| format!("can't read {}", self.file))
    }
}

/// Where what a demo prints is recorded.
struct Recorded {
    /// Everything that it prints.
    transcript: Part,
    /// Its own excerpt of that.
    excerpt: Part,
}

const ROUTING: Recorded = Recorded {
    transcript: Part {
        file: "docs/transcript.md",
        name: "transcript",
        start: "```text\n",
        end: "```\n",
    },
    excerpt: Part {
        file: "README.md",
        name: "excerpt of the transcript",
        start: "<!-- transcript:begin (cargo xtask demo routing --into-docs) -->\n```text\n",
        end: "```\n<!-- transcript:end -->\n",
    },
};

const CLUSTER: Recorded = Recorded {
    transcript: Part {
        file: "docs/cluster-transcript.md",
        name: "transcript",
        start: "```text\n",
        end: "```\n",
    },
    excerpt: Part {
        file: "README.md",
        name: "excerpt of the cluster's transcript",
        start: "<!-- cluster-transcript:begin (cargo xtask demo --into-docs) -->\n```text\n",
        end: "```\n<!-- cluster-transcript:end -->\n",
    },
};

const fn recorded(topic: Topic) -> Recorded {
    match topic {
        Topic::Routing => ROUTING,
        Topic::Cluster => CLUSTER,
    }
}

/// The kernel that the transcript comes from; on others, more than the numbers differs.
pub(crate) const KERNEL: Choice = Choice::V6_1;

/// Runs a demo and returns what it prints.
pub(crate) fn transcript(topic: Topic, kernel: Choice) -> Result<String> {
    let mut transcript = String::new();
    let mut command = Command::new("/proc/self/exe");
    let succeeded =
        cargo::watch(command.args(["demo", topic.name(), "--kernel", kernel.name()]), |line| {
            println!("{line}");
            transcript.push_str(line);
            transcript.push('\n');
        })?;
    ensure!(succeeded, "the demo failed");
    Ok(transcript)
}

/// Writes a transcript, whole and as an excerpt.
pub(crate) fn write_transcript(topic: Topic, text: &str) -> Result<()> {
    let Recorded { transcript, excerpt } = recorded(topic);
    transcript.write(text)?;
    excerpt.write(demo::excerpt(topic, text)?)
}

/// Fails unless the documents have this transcript of the demo of routing, except for what differs from
/// run to run. In the other one even the drawings differ: it depends on the web server that a download
/// comes from.
pub(crate) fn check_transcript(transcript: &str) -> Result<()> {
    let difference = first_difference(&ROUTING.transcript.recorded()?, transcript);
    ensure!(
        difference.is_none(),
        "the demo doesn't print what {} has; `cargo xtask demo routing --into-docs` brings it up to \
         date. The first line that differs: {}",
        ROUTING.transcript.file,
        difference.unwrap_or_default()
    );
    Ok(())
}

fn first_difference(recorded: &str, printed: &str) -> Option<String> {
    let (mut recorded, mut printed) = (recorded.lines(), printed.lines());
    loop {
        match (recorded.next(), printed.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if mask(a) == mask(b) => {}
            (a, b) => {
                return Some(format!(
                    "{:?} recorded, {:?} printed",
                    a.unwrap_or(""),
                    b.unwrap_or("")
                ));
            }
        }
    }
}

/// A line with its numbers masked: ports, times, counters and the real server whose turn it was
/// differ from run to run. So does the width of blanks, which depends on that of the numbers, and
/// the unit of a time.
fn mask(line: &str) -> String {
    let mut masked = String::new();
    let words = line.split(' ').map(|word| if is_time(word) { "#s" } else { word });
    for c in words.collect::<Vec<_>>().join(" ").chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if !matches!(c, '#' | ' ') || !masked.ends_with(c) {
            masked.push(c);
        }
    }
    masked
}

/// Whether a word is a length of time, such as 7.5s, 12ms or 1m20s.
fn is_time(word: &str) -> bool {
    let word = word.trim_end_matches([',', ';']);
    word.starts_with(|c: char| c.is_ascii_digit())
        && word.ends_with(['s', 'm', 'h', 'd'])
        && word.chars().all(|c| c.is_ascii_digit() || ".µmshd".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_differ_in_their_units() {
        let recorded = "10.10.10.102:80  up  yes  1   3.5s  0.4ms\n";
        let printed = "10.10.10.102:80  up  yes  1  1m20s     2s\n";
        assert_eq!(first_difference(recorded, printed), None);
        assert!(first_difference("up 3.5s", "up since").is_some());
    }

    #[test]
    fn numbers_and_the_blanks_around_them_may_differ() {
        let recorded = "TCP 01:58  FIN_WAIT  10.10.10.1:5506  10.10.10.53:80\n  web1\n";
        let printed = "TCP 01:59  FIN_WAIT  10.10.10.1:60123 10.10.10.53:80\n  web2\n";
        assert_eq!(first_difference(recorded, printed), None);
    }

    #[test]
    fn words_and_lines_may_not() {
        assert!(first_difference("web1\n", "sorry\n").is_some());
        assert!(first_difference("web1\n", "web1\nweb1\n").is_some());
        assert!(first_difference("web1\nweb1\n", "web1\n").is_some());
        assert!(first_difference("-> Route 1", "-> Masq 1").is_some());
    }

    #[test]
    fn the_transcript_is_the_first_text_block() {
        let page = "# a\n```\nx\n```\n```text\none\ntwo\n```\nmore\n";
        let (before, transcript, after) = ROUTING.transcript.split(page).unwrap();
        assert!(before.ends_with("```text\n"));
        assert_eq!((transcript, after), ("one\ntwo\n", "```\nmore\n"));
        let error = ROUTING.transcript.split("no transcript").unwrap_err().to_string();
        assert_eq!(error, "docs/transcript.md has no transcript");
    }

    #[test]
    fn the_readme_has_the_demos_excerpts_of_the_recorded_transcripts() {
        for topic in [Topic::Routing, Topic::Cluster] {
            let Recorded { transcript, excerpt } = recorded(topic);
            let excerpt = excerpt.recorded().unwrap();
            assert_eq!(excerpt, demo::excerpt(topic, &transcript.recorded().unwrap()).unwrap());
            assert!((10..=45).contains(&excerpt.lines().count()), "{excerpt}");
        }
    }
}
