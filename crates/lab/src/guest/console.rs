//! Reads the guest's console: the single verdict line, a kernel panic, and a tail to show when
//! neither appeared.

use std::collections::VecDeque;

use crate::doctor::symptom;

/// The prefix of every line that our own programs write to the console. Kernel messages don't have
/// it.
const MARK: &str = "ipvs-guest: ";

/// How many lines of the console are kept for an error message.
const TAIL_LINES: usize = 30;

/// Longer console lines are cut, so that a runaway guest can't fill our memory.
const MAX_LINE: usize = 4096;

/// How a guest ended, as its PID 1 reports on the console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The command ran and ended with this exit status.
    Exit(u8),
    /// The command couldn't be run.
    Failed(String),
}

impl Verdict {
    /// The console line, without its line end. PID 1 prints exactly one.
    pub(crate) fn line(&self) -> String {
        match self {
            Self::Exit(status) => format!("{MARK}exit {status}"),
            Self::Failed(reason) => format!("{MARK}failed {}", reason.replace(['\n', '\r'], " ")),
        }
    }
}

/// Reads a console as its output arrives.
#[derive(Debug, Default)]
pub(crate) struct Console {
    line: Vec<u8>,
    tail: VecDeque<String>,
    verdicts: Vec<Verdict>,
    panic: Option<String>,
    /// The line that revealed the cause, which may have left the tail since, and the cause.
    cause: Option<(String, &'static str)>,
}

impl Console {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' || self.line.len() == MAX_LINE {
                self.end_line();
            }
            if *byte != b'\n' {
                self.line.push(*byte);
            }
        }
    }

    /// Ends the input: text without a line end counts as the last line.
    pub(crate) fn end(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line).trim_end_matches('\r').to_owned();
        self.line.clear();
        if let Some(statement) = line.strip_prefix(MARK) {
            self.statement(statement);
        } else if self.panic.is_none() && line.contains("Kernel panic - not syncing") {
            self.panic = Some(line.clone());
        }
        // Later lines may be consequences of the first.
        if self.cause.is_none() {
            self.cause = symptom::in_line(&line).map(|cause| (line.clone(), cause));
        }
        if self.tail.len() == TAIL_LINES {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    fn statement(&mut self, statement: &str) {
        if let Some(reason) = statement.strip_prefix("failed ") {
            self.verdicts.push(Verdict::Failed(reason.to_owned()));
        } else if let Some(status) = statement.strip_prefix("exit ").and_then(|s| s.parse().ok()) {
            self.verdicts.push(Verdict::Exit(status));
        }
    }

    /// The line that reports a kernel panic.
    pub(crate) fn panic(&self) -> Option<&str> {
        self.panic.as_deref()
    }

    /// Why the guest didn't boot, with the line that reveals it, if the cause is known.
    pub(crate) fn cause(&self) -> Option<String> {
        self.cause.as_ref().map(|(line, cause)| format!("{cause} (`{line}`)"))
    }

    /// The verdict, if there is exactly one. Two mean that something other than PID 1 wrote a
    /// similar line, so neither can be trusted.
    pub(crate) fn verdict(&self) -> Result<&Verdict, &'static str> {
        match &self.verdicts[..] {
            [verdict] => Ok(verdict),
            [] => Err("it left no verdict"),
            _ => Err("it left more than one verdict"),
        }
    }

    /// The last lines, indented, for an error message.
    pub(crate) fn tail(&self) -> String {
        let lines: Vec<String> = self
            .tail
            .iter()
            .filter(|line| !line.is_empty() && !line.starts_with(MARK))
            .map(|line| format!("    {line}"))
            .collect();
        if lines.is_empty() { "    (its console is empty)".to_owned() } else { lines.join("\n") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn console(text: &str) -> Console {
        let mut console = Console::default();
        console.feed(text.as_bytes());
        console.end();
        console
    }

    #[test]
    fn one_verdict_counts() {
        let read = console(
            "IPVS: Registered protocols\r\nipvs-guest: exit 255\r\nreboot: System halted\r\n",
        );
        assert_eq!(read.verdict(), Ok(&Verdict::Exit(255)));
        assert_eq!(read.panic(), None);
    }

    #[test]
    fn the_line_that_pid_1_writes_is_the_line_that_is_read() {
        for (said, heard) in [
            (Verdict::Exit(0), Verdict::Exit(0)),
            (Verdict::Failed("no\r\nway".into()), Verdict::Failed("no  way".into())),
        ] {
            assert_eq!(console(&said.line()).verdict(), Ok(&heard));
        }
    }

    #[test]
    fn anything_but_one_verdict_is_none() {
        assert!(console("").verdict().is_err());
        assert!(console("ipvs-guest: exit 0\nipvs-guest: exit 0\n").verdict().is_err());
        for near in [
            "ipvs-guest: exit",
            "ipvs-guest: exit 256",
            "ipvs-guest: exit -1",
            "say ipvs-guest: exit 0",
        ] {
            assert!(console(near).verdict().is_err(), "{near}");
        }
    }

    #[test]
    fn a_panic_is_seen_whatever_stands_before_it() {
        let read =
            console("[    0.51] Kernel panic - not syncing: sysrq triggered crash\n---[ end\n");
        assert_eq!(
            read.panic(),
            Some("[    0.51] Kernel panic - not syncing: sysrq triggered crash")
        );
    }

    #[test]
    fn the_tail_holds_the_last_lines_and_a_cut_long_one() {
        let mut read = Console::default();
        read.feed(&vec![b'x'; 3 * MAX_LINE]);
        for n in 0..TAIL_LINES - 1 {
            read.feed(format!("line {n}\n").as_bytes());
        }
        read.end();
        let tail = read.tail();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with(&format!("    line {}", TAIL_LINES - 2)));
        assert!(tail.lines().all(|line| line.len() <= MAX_LINE + 4));
    }
}
