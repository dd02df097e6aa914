//! The corpus: one text file per topic, each with several named sequences.
//!
//! ```text
//! # What the topic is about.
//!
//! [a bad line ends a restore]
//! ipvsadm -R
//!     < -A -t 10.20.0.1:80
//!     < -A -t nonsense
//! ipvsadm -S -n
//! ```
//!
//! A line that begins with a program's name is a command. Words are split at blanks. Single quotes
//! preserve blanks, and `\n \r \t \\ \xNN` are escapes within double quotes. Indented lines belong
//! to the command above them:
//!
//! | line | meaning |
//! | --- | --- |
//! | `< TEXT` | a line of its standard input |
//! | `<+ "TEXT"` | input with escapes and without a newline at the end |
//! | `<*N TEXT` | N lines of input, in which `{}` is the number of the line, from 1 |
//! | `input: the last output` | its input is the output of the previous command |
//! | `called NAME` | the program name that it is given |
//! | `as nobody` | it runs without privileges |
//! | `output to /dev/full` | its output can't be written |
//! | `mask: expiry` | times like 01:59 and the order of lines are not compared |
//! | `differs in stdout, stderr, status: REASON` | an intended difference, which must occur |
//!
//! `setup ip …` executes an ip(8) command in both namespaces. `setup udp ADDRESS PORT COUNT SIZE`
//! and `setup sip ADDRESS PORT CALL-ID` send datagrams from port 5070. `setup rates ADDRESS PORT
//! COUNT SIZE` sends datagrams, and stops the kernel's estimator once all rates include all of
//! them. `setup counted PACKETS` waits until each service and each real server has counted that
//! many packets. `setup settled` waits until the device has a usable IPv6 address.

use std::fmt;

use anyhow::{Context as _, Result, bail, ensure};

/// The names that begin a command.
const PROGRAMS: [&str; 3] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"];

/// A file of the corpus.
#[derive(Clone, Debug)]
pub struct Topic {
    /// The file's name without its extension.
    pub name: String,
    /// The topic, from its first line.
    pub title: String,
    /// Its sequences.
    pub sequences: Vec<Sequence>,
}

/// Commands that are run in order, starting with an empty table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    /// What it shows.
    pub name: String,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

/// A line of a sequence and the indented lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A command whose outcome is compared.
    Run(Command),
    /// The words of a setup line, executed in both namespaces.
    Setup(Vec<String>),
}

/// A command line and how it is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program's name and its arguments.
    pub words: Vec<String>,
    /// Its standard input.
    pub input: Input,
    /// The program name that it is given, if other than the first of its words.
    pub called: Option<String>,
    /// Whether it runs without privileges.
    pub as_nobody: bool,
    /// Whether its standard output is `/dev/full`.
    pub to_full: bool,
    /// Whether times are masked and lines sorted.
    pub mask: bool,
    /// The intended difference and the reason for it.
    pub wanted: Option<Wanted>,
}

/// Where a command's standard input comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// Empty input.
    #[default]
    Nothing,
    /// This text.
    Text(Vec<u8>),
    /// The output of the previous command.
    LastOutput,
}

/// An intended difference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Which of `stdout`, `stderr` and `status` differ.
    pub parts: Vec<String>,
    /// Why.
    pub reason: String,
}

impl Topic {
    /// Parses a file of the corpus.
    ///
    /// # Errors
    ///
    /// If a line doesn't match the format described above; the error includes its number.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let title = text.lines().next().and_then(|line| line.strip_prefix("# "));
        let title = title.with_context(|| format!("{name}: the first line is no title"))?;
        let mut topic =
            Self { name: name.to_owned(), title: title.to_owned(), sequences: Vec::new() };
        for (number, line) in text.lines().enumerate() {
            topic.line(line).with_context(|| format!("{name}, line {}: {line}", number + 1))?;
        }
        ensure!(!topic.sequences.is_empty(), "{name} has no sequence");
        for sequence in &topic.sequences {
            let runs = sequence.steps.iter().any(|step| matches!(step, Step::Run(_)));
            ensure!(runs, "{name}: [{}] has no command", sequence.name);
        }
        Ok(topic)
    }

    fn line(&mut self, line: &str) -> Result<()> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let known = self.sequences.iter().any(|sequence| sequence.name == name);
            ensure!(!known, "there is a sequence of that name");
            self.sequences.push(Sequence { name: name.to_owned(), steps: Vec::new() });
            return Ok(());
        }
        let steps = &mut self.sequences.last_mut().context("no [name] above")?.steps;
        if let Some(detail) = line.strip_prefix("    ") {
            let Some(Step::Run(command)) = steps.last_mut() else { bail!("no command above") };
            return command.detail(detail);
        }
        let words = split(line)?;
        match words.first().map(String::as_str) {
            Some("setup") => steps.push(Step::Setup(words[1..].to_vec())),
            Some(program) if PROGRAMS.contains(&program) => {
                steps.push(Step::Run(Command { words, ..Command::default() }));
            }
            _ => bail!("neither a command nor a set-up"),
        }
        Ok(())
    }
}

impl Command {
    fn detail(&mut self, detail: &str) -> Result<()> {
        if let Some(text) = detail.strip_prefix("<+ ") {
            let words = split(text)?;
            self.add_input(words.concat().as_bytes());
        } else if let Some(text) = detail.strip_prefix("<*") {
            let (count, text) = text.split_once(' ').context("no text")?;
            for number in 1..=count.parse().context("no number of lines")? {
                let number: u32 = number;
                let line = text.replace("{}", &number.to_string());
                self.add_input(format!("{line}\n").as_bytes());
            }
        } else if let Some(text) = detail.strip_prefix('<') {
            let text = text.strip_prefix(' ').unwrap_or(text);
            self.add_input(format!("{text}\n").as_bytes());
        } else if detail == "input: the last output" {
            self.input = Input::LastOutput;
        } else if let Some(name) = detail.strip_prefix("called ") {
            self.called = Some(split(name)?.concat());
        } else if detail == "as nobody" {
            self.as_nobody = true;
        } else if detail == "output to /dev/full" {
            self.to_full = true;
        } else if detail == "mask: expiry" {
            self.mask = true;
        } else if let Some(rest) = detail.strip_prefix("differs in ") {
            let (parts, reason) = rest.split_once(": ").context("no reason")?;
            let parts: Vec<String> = parts.split(", ").map(str::to_owned).collect();
            let known = |part: &String| ["stdout", "stderr", "status"].contains(&part.as_str());
            ensure!(parts.iter().all(known), "no such part of an outcome");
            self.wanted = Some(Wanted { parts, reason: reason.to_owned() });
        } else {
            bail!("nothing that belongs to a command");
        }
        Ok(())
    }

    fn add_input(&mut self, text: &[u8]) {
        match &mut self.input {
            Input::Text(all) => all.extend_from_slice(text),
            other => *other = Input::Text(text.to_vec()),
        }
    }
}

/// Splits a line into words.
fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' => words.extend(word.take()),
            '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().context("a quote without an end")? {
                        '\'' => break,
                        c => word.push(c),
                    }
                }
            }
            '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next().context("a quote without an end")? {
                        '"' => break,
                        '\\' => word.push(escape(&mut chars)?),
                        c => word.push(c),
                    }
                }
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

fn escape(chars: &mut std::str::Chars<'_>) -> Result<char> {
    Ok(match chars.next().context("an escape without an end")? {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'x' => {
            let digits: String = chars.by_ref().take(2).collect();
            let number = u8::from_str_radix(&digits, 16).context("not two hexadecimal digits")?;
            ensure!(number < 0x80, "only ASCII can be escaped");
            char::from(number)
        }
        c => c,
    })
}

/// A word as written in a case file.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '\'' | '"');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.chars().all(|c| c == ' ' || plain(c) || c == '"') {
        return format!("'{word}'");
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c.is_ascii_control() => text.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text + "\""
}

/// The format of case files, which [`Topic::parse`] turns back into the same sequence.
impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[{}]", self.name)?;
        for step in &self.steps {
            match step {
                Step::Setup(words) => {
                    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
                    writeln!(f, "setup {}", words.join(" "))?;
                }
                Step::Run(command) => command.fmt(f)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        writeln!(f, "{}", words.join(" "))?;
        match &self.input {
            Input::Nothing => {}
            Input::LastOutput => writeln!(f, "    input: the last output")?,
            Input::Text(text) => {
                for line in String::from_utf8_lossy(text).split_inclusive('\n') {
                    match line.strip_suffix('\n') {
                        Some(line) if !line.contains('\r') => writeln!(f, "    < {line}")?,
                        _ => writeln!(f, "    <+ {}", quoted(line))?,
                    }
                }
            }
        }
        if let Some(name) = &self.called {
            writeln!(f, "    called {}", quoted(name))?;
        }
        if self.as_nobody {
            writeln!(f, "    as nobody")?;
        }
        if self.to_full {
            writeln!(f, "    output to /dev/full")?;
        }
        if self.mask {
            writeln!(f, "    mask: expiry")?;
        }
        if let Some(Wanted { parts, reason }) = &self.wanted {
            writeln!(f, "    differs in {}: {reason}", parts.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        let text = "# title\n[one]\nsetup ip link set lo up\nipvsadm -A -s '' -t ' 7'\n    \
                    called lvs\n    as nobody\n    differs in stdout, status: better so\nipvsadm -R\n    < -C\n    \
                    <+ \"a\\r\\x0bb\"\nipvsadm-save\nipvsadm -R\n    input: the last output\n    \
                    mask: expiry\nipvsadm -L\n    output to /dev/full\n";
        let topic = Topic::parse("t", text).unwrap();
        let printed = format!("# title\n{}", topic.sequences[0]);
        assert_eq!(printed, text);
        let Step::Run(first) = &topic.sequences[0].steps[1] else { panic!("no command") };
        assert_eq!(first.words, ["ipvsadm", "-A", "-s", "", "-t", " 7"]);
    }

    #[test]
    fn a_line_can_stand_for_many() {
        let topic = Topic::parse("t", "# t\n[a]\nipvsadm -R\n    <*2 -D -f {} {}\n").unwrap();
        let Step::Run(command) = &topic.sequences[0].steps[0] else { panic!("no command") };
        assert_eq!(command.input, Input::Text(b"-D -f 1 1\n-D -f 2 2\n".to_vec()));
    }

    #[test]
    fn other_lines_are_errors() {
        for body in ["ipvsadm -L", "[a]\nls", "[a]\nipvsadm 'x", "[a]\n    < x", "[a]", ""] {
            assert!(Topic::parse("t", &format!("# t\n{body}\n")).is_err(), "{body}");
        }
        let twice = "# t\n[a]\nipvsadm\n[a]\nipvsadm\n";
        assert!(Topic::parse("t", twice).is_err());
        for detail in ["differs in colour: x", "differs in stdout", "as root", "<*x y", "<*2"] {
            assert!(Topic::parse("t", &format!("# t\n[a]\nipvsadm\n    {detail}\n")).is_err());
        }
    }
}
