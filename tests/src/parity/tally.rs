//! Counts what was compared and how much of the C program it reached.

use std::collections::BTreeMap;

use serde::Serialize;

use super::case::{Command, Input};
use super::compare::{Outcome, Report};
use super::messages::{self, MESSAGES, Stage};
use super::words::{names, options_in};

/// Counts for generated sequences. A restore that no mistake ended counts as its lines. One that a
/// mistake ended counts as one command that didn't reach the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Tally {
    /// Sequences.
    pub sequences: u64,
    /// Programs started of each kind, not counting those that read the final table.
    pub runs: u64,
    /// Commands.
    pub commands: u64,
    /// Commands whose request reached the kernel.
    pub reached: u64,
    /// Commands that were executed.
    pub succeeded: u64,
    /// Intended differences.
    pub wanted: u64,
    /// Sequences that were rerun in fresh namespaces, with the same outcome.
    pub again: u64,
    /// How often each spelling of each option was part of a successful command.
    pub options: BTreeMap<String, u64>,
    /// How often each message was seen.
    pub messages: BTreeMap<String, u64>,
    /// Messages that nothing here triggers, and why.
    pub out_of_reach: BTreeMap<String, String>,
    /// Messages that are missing from the list of messages.
    pub unknown: Vec<String>,
}

impl Default for Tally {
    fn default() -> Self {
        let spellings = names().flat_map(|flag| {
            let shorts = flag.shorts.iter().map(|letter| format!("-{letter}"));
            shorts.chain([format!("--{}", flag.long)])
        });
        let out_of_reach = messages::OUT_OF_REACH.iter();
        Self {
            sequences: 0,
            runs: 0,
            commands: 0,
            reached: 0,
            succeeded: 0,
            wanted: 0,
            again: 0,
            options: spellings.map(|name| (name, 0)).collect(),
            messages: MESSAGES.iter().map(|message| (message.pattern.to_owned(), 0)).collect(),
            out_of_reach: out_of_reach.map(|(what, why)| ((*what).into(), (*why).into())).collect(),
            unknown: Vec::new(),
        }
    }
}

impl Tally {
    /// Adds a finished sequence.
    pub fn add(&mut self, report: &Report) {
        self.sequences += 1;
        self.wanted += report.wanted as u64;
        for (command, outcome) in &report.commands {
            self.runs += 1;
            self.command(command, outcome);
        }
    }

    /// The percentage of commands that reached the kernel.
    pub fn percent_reached(&self) -> f64 {
        percent(self.reached, self.commands)
    }

    /// The percentage of commands that were executed.
    pub fn percent_succeeded(&self) -> f64 {
        percent(self.succeeded, self.commands)
    }

    fn command(&mut self, command: &Command, outcome: &Outcome) {
        let complaints = self.complaints(&outcome.stderr);
        let at = |stage| complaints.iter().filter(|one| **one == stage).count() as u64;
        let (refused, syntax) = (at(Stage::Kernel), at(Stage::Syntax));
        let is_ended = at(Stage::Values) + at(Stage::Start) > 0 || matches!(outcome.status, 1 | 2);
        if let (Input::Text(text), false) = (&command.input, is_ended) {
            let text = String::from_utf8_lossy(text);
            let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
            let count = lines.len() as u64;
            self.commands += count;
            self.reached += count.saturating_sub(syntax);
            self.succeeded += count.saturating_sub(syntax + refused);
            self.executed(command.words.iter().skip(1).map(String::as_str));
            if syntax + refused == 0 {
                lines.iter().for_each(|line| self.executed(line.split_whitespace()));
            }
            return;
        }
        self.commands += 1;
        let is_own_words = command.wanted.is_some();
        self.reached += u64::from((outcome.status == 0 || refused > 0) && !is_own_words);
        if outcome.status == 0 {
            self.succeeded += u64::from(!is_own_words);
            self.executed(command.words.iter().skip(1).map(String::as_str));
        }
    }

    fn executed<'a>(&mut self, words: impl IntoIterator<Item = &'a str>) {
        for name in options_in(words) {
            *self.options.entry(name).or_default() += 1;
        }
    }

    fn complaints(&mut self, stderr: &str) -> Vec<Stage> {
        let mut stages = Vec::new();
        for line in stderr.lines().filter(|line| !line.is_empty()) {
            match messages::of_line(line) {
                Some(message) => {
                    *self.messages.entry(message.pattern.to_owned()).or_default() += 1;
                    stages.push(message.stage);
                }
                None => self.unknown.push(line.to_owned()),
            }
        }
        stages
    }
}

#[allow(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(words: &str, input: Option<&str>, status: i32, stderr: &str) -> Tally {
        let words = words.split(' ').map(str::to_owned).collect();
        let input = input.map_or(Input::Nothing, |text| Input::Text(text.into()));
        let command = Command { words, input, ..Command::default() };
        let outcome = Outcome { status, stdout: String::new(), stderr: stderr.to_owned() };
        let mut tally = Tally::default();
        tally.add(&Report { commands: vec![(command, outcome)], ..Report::default() });
        tally
    }

    fn counts(tally: &Tally) -> [u64; 3] {
        [tally.commands, tally.reached, tally.succeeded]
    }

    #[test]
    fn commands_are_counted_by_how_far_they_came() {
        assert_eq!(counts(&ran("ipvsadm -C", None, 0, "")), [1, 1, 1]);
        assert_eq!(counts(&ran("ipvsadm -D", None, 255, "No such service\n")), [1, 1, 0]);
        assert_eq!(counts(&ran("ipvsadm -q", None, 255, "-q: unknown option\n")), [1, 0, 0]);
        assert_eq!(counts(&ran("ipvsadm -A", None, 2, "illegal weight specified\n")), [1, 0, 0]);
        assert_eq!(ran("ipvsadm", None, 139, "Bus error\n").unknown, ["Bus error"]);
    }

    #[test]
    fn restores_are_counted_by_their_lines() {
        let lines = Some("-C\n\n-Z -q\n-D -f 1\n");
        let said = "-q: unknown option\nNo such service\n";
        assert_eq!(counts(&ran("ipvsadm -R", lines, 255, said)), [3, 2, 1]);
        assert_eq!(counts(&ran("ipvsadm -R", lines, 2, "illegal weight specified\n")), [1, 0, 0]);
        let tally = ran("ipvsadm -R", Some("-C\n-Z\n"), 0, "");
        assert_eq!(counts(&tally), [2, 2, 2]);
        let hits = ["-R", "-C", "-Z", "--zero"].map(|name| tally.options[name]);
        assert_eq!(hits, [1, 1, 1, 0]);
    }
}
