//! Times a program as a whole process.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use crate::report::{Counts, Run};

/// A program with its arguments and input file.
#[derive(Clone, Debug)]
pub struct Program {
    /// The program's file.
    pub file: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its standard input.
    pub input: Option<PathBuf>,
}

impl Program {
    /// Creates a program with arguments and without input.
    pub fn new(file: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(Into::into).collect();
        Self { file: file.to_owned(), arguments, input: None }
    }

    /// Sets the file that it reads as standard input.
    #[must_use]
    pub fn input(mut self, file: &Path) -> Self {
        self.input = Some(file.to_owned());
        self
    }

    /// Runs it to completion with its output going to a file, and returns what it cost.
    ///
    /// # Errors
    ///
    /// If the program fails.
    pub fn measure(&self, output: &Path) -> Result<Run> {
        // A parent learns the memory of the children that it waited for only as the maximum over
        // all of them. So each program gets a parent of its own, the program `alone`. That one is
        // small, because until the child executes another program, Linux counts the parent's memory
        // as the child's.
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut alone = Command::new(this.with_file_name("alone"));
        let text = self.run_under(&mut alone, File::create(output)?.into())?;
        let run = text.lines().last().and_then(parse);
        run.with_context(|| format!("no figures of `{self:?}`: {text}"))
    }

    /// How many system calls it makes until it ends, threads included, as counted by strace(1).
    ///
    /// # Errors
    ///
    /// If the program fails, or strace is missing.
    pub fn count_system_calls(&self) -> Result<u64> {
        let mut strace = Command::new("strace");
        strace.args(["--follow-forks", "--summary-only", "--summary-columns=calls,name"]);
        let text = self.run_under(&mut strace, Stdio::null())?;
        system_calls(&text).with_context(|| format!("strace tells no number: {text}"))
    }

    /// How many instructions it executes outside the kernel until it ends, as counted by callgrind.
    ///
    /// # Errors
    ///
    /// If the program fails, or valgrind is missing.
    pub fn count_instructions(&self) -> Result<u64> {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        let text = self.run_under(&mut valgrind, Stdio::null())?;
        instructions(&text).with_context(|| format!("valgrind tells no number: {text}"))
    }

    /// Counts both, with `prepare` called before.
    ///
    /// # Errors
    ///
    /// Those of each count, and any error from `prepare`.
    pub fn count(&self, prepare: impl Fn() -> Result<()>) -> Result<Counts> {
        prepare()?;
        let system_calls = self.count_system_calls()?;
        prepare()?;
        Ok(Counts { system_calls, instructions: self.count_instructions()? })
    }

    /// Runs it under another program, and returns the standard error output.
    fn run_under(&self, runner: &mut Command, output: Stdio) -> Result<String> {
        runner.arg(&self.file).args(&self.arguments);
        // Cargo sets this, and it makes the loader search several directories for each library
        // first. That isn't part of the program's work.
        runner.env_remove("LD_LIBRARY_PATH");
        match &self.input {
            Some(file) => runner.stdin(File::open(file)?),
            None => runner.stdin(Stdio::null()),
        };
        let result = runner.stdout(output).stderr(Stdio::piped()).output();
        let result = result.with_context(|| format!("can't run {runner:?}"))?;
        let text = String::from_utf8_lossy(&result.stderr).into_owned();
        ensure!(result.status.success(), "`{runner:?}` failed: {text}");
        Ok(text)
    }
}

/// The number in the last line of strace's summary, `15731 total`.
fn system_calls(text: &str) -> Option<u64> {
    let line = text.lines().rfind(|line| line.trim_end().ends_with("total"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The number after callgrind's `Collected : `.
fn instructions(text: &str) -> Option<u64> {
    text.split_once("Collected : ")?.1.lines().next()?.trim().parse().ok()
}

/// Runs a program, and writes its cost to standard error.
///
/// # Errors
///
/// If the program fails.
pub fn alone(mut words: impl Iterator<Item = OsString>) -> Result<()> {
    let mut command = Command::new(words.next().context("no program")?);
    command.args(words);
    let start = Instant::now();
    let status = command.status()?;
    let seconds = start.elapsed().as_secs_f64();
    ensure!(status.success(), "ended with {status}");
    let memory = getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss();
    eprintln!("{seconds} {memory}");
    Ok(())
}

fn parse(line: &str) -> Option<Run> {
    let (seconds, memory) = line.split_once(' ')?;
    Some(Run { seconds: seconds.parse().ok()?, memory: Some(memory.parse().ok()?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_say_is_found() {
        let strace = "    calls syscall\n--------- ----------------\n       52 recvmsg\n       \
                      13 mmap\n--------- ----------------\n       65 total\n";
        assert_eq!(system_calls(strace), Some(65));
        assert_eq!(system_calls("strace: no such file\n"), None);
        let callgrind = "==7== Events    : Ir\n==7== Collected : 1876322\n==7==\n";
        assert_eq!(instructions(callgrind), Some(1_876_322));
        assert_eq!(instructions("==7== nothing"), None);
    }
}
