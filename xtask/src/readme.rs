//! The parts of README.md that come from runs, among them the demo's transcript, which has to be
//! what the demo prints.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::kernel::Choice;
use crate::{cargo, places};

/// A part of README.md that is replaced by what a run printed.
#[derive(Debug)]
pub(crate) struct Part {
    /// What it is, for errors.
    pub(crate) name: &'static str,
    /// What stands before it.
    pub(crate) start: &'static str,
    /// What stands behind it.
    pub(crate) end: &'static str,
}

impl Part {
    /// Puts a text in its place.
    pub(crate) fn write(&self, text: &str) -> Result<()> {
        fs::write(path(), self.replaced(&read()?, text)?).context("can't write README.md")
    }

    /// What README.md is with a text in its place.
    pub(crate) fn replaced(&self, readme: &str, text: &str) -> Result<String> {
        let (before, _, behind) = self.split(readme)?;
        Ok([before, text, behind].concat())
    }

    /// What is before it, itself, and what is behind it.
    pub(crate) fn split<'a>(&self, readme: &'a str) -> Result<(&'a str, &'a str, &'a str)> {
        let Self { name, start, end } = self;
        let from = readme.find(start).with_context(|| format!("README.md has no {name}"))?;
        let (before, rest) = readme.split_at(from + start.len());
        let length = rest.find(end).with_context(|| format!("README.md's {name} has no end"))?;
        let (part, behind) = rest.split_at(length);
        Ok((before, part, behind))
    }
}

fn path() -> PathBuf {
    places::root().join("README.md")
}

pub(crate) fn read() -> Result<String> {
    fs::read_to_string(path()).context("can't read README.md")
}

/// What the demo prints.
pub(crate) const TRANSCRIPT: Part = Part { name: "transcript", start: "```text\n", end: "```\n" };

/// The kernel on which the transcript is taken; others differ in more than numbers.
pub(crate) const KERNEL: Choice = Choice::V6_1;

/// Runs the demo and gives what it prints.
pub(crate) fn demo(kernel: Choice) -> Result<String> {
    let mut transcript = String::new();
    let mut command = Command::new("/proc/self/exe");
    let succeeded = cargo::watch(command.args(["demo", "--kernel", kernel.name()]), |line| {
        println!("{line}");
        transcript.push_str(line);
        transcript.push('\n');
    })?;
    ensure!(succeeded, "the demo failed");
    Ok(transcript)
}

/// Fails unless README.md has this transcript, but for what differs from run to run.
pub(crate) fn check(transcript: &str) -> Result<()> {
    let readme = read()?;
    let (_, recorded, _) = TRANSCRIPT.split(&readme)?;
    let difference = first_difference(recorded, transcript);
    ensure!(
        difference.is_none(),
        "the demo prints something else than README.md has; `cargo xtask demo --into-readme` brings \
         it up to date. The first line that differs: {}",
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
                return Some(format!("{:?} there, {:?} here", a.unwrap_or(""), b.unwrap_or("")));
            }
        }
    }
}

/// A line with its numbers masked: ports, times, counters and which server's turn it was are
/// another time's. The width of blanks goes with that of numbers.
fn mask(line: &str) -> String {
    let mut masked = String::new();
    for c in line.chars() {
        let c = if c.is_ascii_digit() { '#' } else { c };
        if !matches!(c, '#' | ' ') || !masked.ends_with(c) {
            masked.push(c);
        }
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_the_blanks_about_them_may_differ() {
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
        let readme = "# a\n```\nx\n```\n```text\none\ntwo\n```\nmore\n";
        let (before, transcript, behind) = TRANSCRIPT.split(readme).unwrap();
        assert!(before.ends_with("```text\n"));
        assert_eq!((transcript, behind), ("one\ntwo\n", "```\nmore\n"));
        assert!(TRANSCRIPT.split("no transcript").is_err());
    }
}
