//! Runs a sequence with both programs and reports what differs.

use std::fmt::Write as _;
use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Context as _, Result};
use ipvs_testkit::Finished;
use ipvs_testkit::nlmon::Nlmon;

use super::case::{Command, Input, Sequence, Step};
use super::wire;
use super::world::{Start, Tools, World};

/// What the C program prints at the end, in one process: the table, thresholds, timeouts and
/// daemons.
const QUESTIONS: &str = "-S -n\n-L -n --thresholds\n-L --timeout\n-L --daemon\n";

/// What two builds of ours print in addition, after sequences that send no packets. Counters and
/// their timing differ between two namespaces.
const OWN_QUESTIONS: [&str; 4] =
    ["-L --json", "-L --timeout --json", "-L --daemon --json", "-S -n --all"];

/// Empties the table and restores the kernel's timeouts, so that it can be reused.
const RESET: &str = "-C\n--set 900 120 300\n";

/// The visible outcome of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status, or 128 plus the number of the signal that ended it.
    pub status: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl From<Finished> for Outcome {
    fn from(finished: Finished) -> Self {
        let status = finished.status;
        let status = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
        Self {
            status: status.unwrap_or_default(),
            stdout: finished.stdout,
            stderr: finished.stderr,
        }
    }
}

/// The result of a sequence.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each command with the C program's outcome.
    pub commands: Vec<(Command, Outcome)>,
    /// The number of intended differences.
    pub wanted: usize,
    /// Unintended differences, and intended ones that didn't occur.
    pub differences: Vec<String>,
}

/// Two worlds, one per program.
#[derive(Debug)]
pub struct Pair {
    tools: Tools,
    theirs: World,
    ours: World,
    /// Recorders of the requests in both worlds, if requests are compared too.
    nlmons: Option<[Nlmon; 2]>,
}

impl Pair {
    /// Creates a fresh pair.
    ///
    /// # Errors
    ///
    /// If namespaces can't be created, which requires root.
    pub fn create(tools: &Tools) -> Result<Self> {
        let (theirs, ours) = (World::create(&tools.theirs)?, World::create(&tools.ours)?);
        let nlmons = match tools.are_both_ours() {
            true => Some([theirs.record()?, ours.record()?]),
            false => None,
        };
        Ok(Self { tools: tools.clone(), theirs, ours, nlmons })
    }

    /// Runs a sequence, and empties both tables afterwards.
    ///
    /// # Errors
    ///
    /// If a setup line fails, or a program doesn't end.
    pub fn run(&self, sequence: &Sequence) -> Result<Report> {
        let mut report = Report::default();
        let mut last = (String::new(), String::new());
        for step in sequence.steps.iter().chain(&self.own_questions(sequence)) {
            match step {
                Step::Setup(words) => {
                    for world in [&self.theirs, &self.ours] {
                        world
                            .set_up(words)
                            .with_context(|| format!("setup {}", words.join(" ")))?;
                    }
                }
                Step::Run(command) => {
                    self.requests()?;
                    let is_c = !self.tools.are_both_ours();
                    let theirs = one(&self.theirs, is_c, command, &last.0)?;
                    let ours = one(&self.ours, false, command, &last.1)?;
                    let requests = self.requests()?;
                    compare(command, &theirs, &ours, requests, &mut report);
                    last = (theirs.stdout.clone(), ours.stdout);
                    report.commands.push((command.clone(), theirs));
                }
            }
        }
        let table = Command::default();
        let [theirs, ours] = [self.state(&self.theirs)?, self.state(&self.ours)?];
        compare(&table, &theirs, &ours, None, &mut report);
        Ok(report)
    }

    fn own_questions(&self, sequence: &Sequence) -> Vec<Step> {
        let sends = |step: &Step| matches!(step, Step::Setup(words) if words[0] != "ip");
        if !self.tools.are_both_ours() || sequence.steps.iter().any(sends) {
            return Vec::new();
        }
        let question = |words: &str| {
            let words = format!("ipvsadm {words}").split(' ').map(str::to_owned).collect();
            Step::Run(Command { words, ..Command::default() })
        };
        OWN_QUESTIONS.map(question).into()
    }

    /// The requests to both kernels since the last call, if they are recorded.
    fn requests(&self) -> Result<Option<[String; 2]>> {
        let Some([theirs, ours]) = &self.nlmons else { return Ok(None) };
        Ok(Some([wire::requests(theirs)?, wire::requests(ours)?]))
    }

    /// Reads a world's state with the C program, then empties its table.
    fn state(&self, world: &World) -> Result<Outcome> {
        let ask = |text: String| -> Result<Outcome> {
            let start = Start {
                program: self.tools.reader.clone(),
                name: "ipvsadm".into(),
                arguments: vec!["-R".into()],
                input: Some(text.into_bytes()),
                ..Start::default()
            };
            Ok(world.start(start)?.into())
        };
        let mut state = ask(format!("{QUESTIONS}{RESET}"))?;
        let stops: String = ["master", "backup"]
            .into_iter()
            .filter(|role| state.stdout.contains(&format!("{role} sync daemon")))
            .map(|role| format!("--stop-daemon {role}\n"))
            .collect();
        if !stops.is_empty() {
            ask(stops)?;
        }
        state.stdout = state.stdout.lines().map(without_counters).collect();
        Ok(state)
    }
}

/// Runs a command in its world.
fn one(world: &World, is_c: bool, command: &Command, last: &str) -> Result<Outcome> {
    let (name, arguments) = command.words.split_first().context("a command without words")?;
    let mut program = world.program.clone();
    if is_c && name != "ipvsadm" {
        // The C package has scripts with these names.
        program.set_file_name(name);
    }
    let input = match &command.input {
        Input::Nothing => None,
        Input::Text(text) => Some(text.clone()),
        Input::LastOutput => Some(last.as_bytes().to_vec()),
    };
    let (as_nobody, to_full) = (command.as_nobody, command.to_full);
    let name = command.called.clone().unwrap_or_else(|| name.clone());
    let arguments = arguments.to_vec();
    let finished = world.start(Start { program, name, arguments, input, as_nobody, to_full })?;
    Ok(if command.mask { masked(finished.into()) } else { finished.into() })
}

/// A line of the thresholds list without its two counters, which aren't part of the table.
fn without_counters(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if words.first() == Some(&"->") && words.len() == 6 {
        words.truncate(4);
    }
    words.join(" ") + "\n"
}

/// Connections without their remaining times, in a fixed order.
fn masked(mut outcome: Outcome) -> Outcome {
    let is_time = |word: &str| {
        word.len() == 5
            && word.bytes().enumerate().all(|(at, b)| (at == 2) == (b == b':') && b < b'<')
    };
    let mut lines: Vec<String> = outcome
        .stdout
        .lines()
        .map(|line| match line.get(4..9) {
            Some(time) if is_time(time) => line.replacen(time, "MM:SS", 1),
            _ => line.to_owned(),
        })
        .collect();
    lines.sort();
    outcome.stdout = lines.join("\n");
    outcome
}

/// Adds the differences between two outcomes to the report. A command without words stands for the
/// table.
fn compare(
    command: &Command,
    theirs: &Outcome,
    ours: &Outcome,
    requests: Option<[String; 2]>,
    report: &mut Report,
) {
    let both_are_ours = requests.is_some();
    let [their_requests, our_requests] = requests.unwrap_or_default();
    let parts = [
        ("status", theirs.status.to_string(), ours.status.to_string()),
        ("stdout", theirs.stdout.clone(), ours.stdout.clone()),
        ("stderr", theirs.stderr.clone(), ours.stderr.clone()),
        ("requests", their_requests, our_requests),
    ];
    for (part, theirs, ours) in parts {
        let is_wanted = !both_are_ours
            && command.wanted.as_ref().is_some_and(|wanted| wanted.parts.iter().any(|p| p == part));
        let shown =
            if command.words.is_empty() { "the final table\n".into() } else { command.to_string() };
        match (is_wanted, theirs == ours) {
            (true, false) => report.wanted += 1,
            (false, true) => {}
            (true, true) => {
                report
                    .differences
                    .push(format!("{shown}  the wanted difference of {part} isn't there"));
            }
            (false, false) => {
                let mut text = format!("{shown}  {part} differs\n");
                for (whose, said) in [("reference", &theirs), ("ours", &ours)] {
                    let _ = writeln!(text, "    {whose}:");
                    said.lines().for_each(|line| text.push_str(&format!("      {line}\n")));
                }
                report.differences.push(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: i32, stdout: &str) -> Outcome {
        Outcome { status, stdout: stdout.into(), stderr: String::new() }
    }

    #[test]
    fn every_difference_counts_but_a_wanted_one() {
        let mut report = Report::default();
        let mut command = Command { words: vec!["ipvsadm".into()], ..Command::default() };
        compare(&command, &outcome(0, "a\n"), &outcome(0, "a\n"), None, &mut report);
        assert!(report.differences.is_empty());
        compare(&command, &outcome(0, "a\n"), &outcome(1, "a \n"), None, &mut report);
        assert_eq!(report.differences.len(), 2);
        command.wanted =
            Some(super::super::case::Wanted { parts: vec!["stdout".into()], reason: "x".into() });
        compare(&command, &outcome(0, "a"), &outcome(0, "b"), None, &mut report);
        assert_eq!((report.wanted, report.differences.len()), (1, 2));
        compare(&command, &outcome(0, "a"), &outcome(0, "a"), None, &mut report);
        assert_eq!((report.wanted, report.differences.len()), (1, 3));
    }

    /// Intended differences from the C program are the same in all builds of ours.
    #[test]
    fn no_difference_between_two_builds_is_wanted() {
        let words = vec!["ipvsadm".into()];
        let wanted =
            super::super::case::Wanted { parts: vec!["stdout".into()], reason: "x".into() };
        let command = Command { words, wanted: Some(wanted), ..Command::default() };
        let differences = |ours: &Outcome, requests: [&str; 2]| {
            let mut report = Report::default();
            let requests = Some(requests.map(str::to_owned));
            compare(&command, &outcome(0, "a"), ours, requests, &mut report);
            report.differences.len()
        };
        assert_eq!(differences(&outcome(0, "a"), ["00", "00"]), 0);
        assert_eq!(differences(&outcome(0, "b"), ["00", "00"]), 1);
        assert_eq!(differences(&outcome(0, "a"), ["00", "01"]), 1);
    }

    #[test]
    fn only_times_are_masked() {
        let line = "UDP 04:59  UDP         192.0.2.1:5070     10.20.0.1:53       10.30.0.1:53\n";
        let masked = masked(outcome(0, line)).stdout;
        assert_eq!(masked, line.trim_end().replace("04:59", "MM:SS"));
    }

    #[test]
    fn counters_are_no_part_of_the_table() {
        assert_eq!(without_counters("  -> 10.30.0.1:80  9  3  1  7  "), "-> 10.30.0.1:80 9 3\n");
        assert_eq!(without_counters("TCP  10.20.0.1:80 rr"), "TCP 10.20.0.1:80 rr\n");
    }
}
