//! Timing a program as a whole process.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::sys::resource::{UsageWho, getrusage};

use crate::report::Cost;

/// A program with its arguments and files.
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
    /// A program and its arguments, without input.
    pub fn new(file: &Path, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(Into::into).collect();
        Self { file: file.to_owned(), arguments, input: None }
    }

    /// Gives it a file to read.
    #[must_use]
    pub fn input(mut self, file: &Path) -> Self {
        self.input = Some(file.to_owned());
        self
    }

    /// Runs it to its end, its output going to a file, and tells what it took.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn measure(&self, output: &Path) -> Result<Cost> {
        // A process' memory is known to who waited for it, as the most that any of its children
        // had. So each has a parent of its own, the program `alone`, which is small: Linux counts
        // what the parent has as the child's, up to the moment when the child becomes another
        // program.
        let this = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(this.with_file_name("alone"));
        command.arg(&self.file).args(&self.arguments);
        match &self.input {
            Some(file) => command.stdin(File::open(file)?),
            None => command.stdin(Stdio::null()),
        };
        let out = File::create(output)?;
        let result = command.stdout(out).stderr(Stdio::piped()).output()?;
        let text = String::from_utf8_lossy(&result.stderr).into_owned();
        ensure!(result.status.success(), "`{self:?}` failed: {text}");
        let cost = text.lines().last().and_then(parse);
        cost.with_context(|| format!("no figures of `{self:?}`: {text}"))
    }
}

/// Runs a program, and writes what it took to standard error.
///
/// # Errors
///
/// If it fails.
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

fn parse(line: &str) -> Option<Cost> {
    let (seconds, memory) = line.split_once(' ')?;
    Some(Cost { seconds: seconds.parse().ok()?, memory: Some(memory.parse().ok()?) })
}
