//! The original, compiled once for any number of files.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result};
use rustix::process::Pid;

/// What Perl executes.
const PROGRAM: &str = include_str!("reader.pl");

/// A process that is the original for one file after the other. Dropping it ends it, but no daemon
/// that was started.
#[derive(Debug)]
pub(super) struct Reader {
    process: Child,
    files: ChildStdin,
    statuses: BufReader<ChildStdout>,
}

impl Reader {
    /// Starts it, with a command for Perl in the original's Debian.
    pub(super) fn start(perl: &mut Command) -> Result<Self> {
        // The original starts itself again to set PERLIO to that.
        perl.env("PERLIO", "perlio").arg("-e").arg(PROGRAM);
        let mut process = perl
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start Perl")?;
        let files = process.stdin.take().context("no standard input")?;
        let statuses = BufReader::new(process.stdout.take().context("no standard output")?);
        Ok(Self { process, files, statuses })
    }

    /// Its process.
    pub(super) fn pid(&self) -> Pid {
        Pid::from_child(&self.process)
    }

    /// What the original does with a file: its exit status, None for a signal, and what it prints.
    pub(super) fn run(&mut self, file: &Path, verb: &str) -> Result<(Option<i32>, String)> {
        writeln!(self.files, "{} {verb}", file.display())
            .context("the original's reader has ended")?;
        let mut line = String::new();
        // Its child has a time limit.
        self.statuses.read_line(&mut line)?;
        let status: i32 = line.trim().parse().with_context(|| format!("it says {line:?}"))?;
        let said = fs::read(file.with_extension("cf.out")).context("the original said nothing")?;
        // wait(2): the low byte is a signal.
        let exit = (status & 0xff == 0).then_some(status >> 8);
        Ok((exit, String::from_utf8_lossy(&said).into_owned()))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
