//! The real servers as a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use ipvs_benches::director::settings::Settings;
use ipvs_benches::running::{self, Processor};

/// Real servers at every address of 127/8. Dropping them ends them.
#[derive(Debug)]
pub(crate) struct Farm {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Farm {
    /// Starts them, and waits until they answer.
    pub(crate) fn start(settings: &Settings, on: Processor) -> Result<Self> {
        let mut command = Command::new(&settings.farm);
        let mut process = running::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()), on)?;
        let input = process.stdin.take().context("no input")?;
        let output = BufReader::new(process.stdout.take().context("no output")?);
        let mut farm = Self { process, input, output };
        ensure!(farm.line()? == "ready", "the real servers don't start");
        Ok(farm)
    }

    /// How many requests they have answered so far.
    pub(crate) fn answered(&mut self) -> Result<u64> {
        self.input.write_all(b"\n")?;
        self.line()?.parse().context("no number of answers")
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "the real servers have ended");
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
