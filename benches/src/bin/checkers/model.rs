//! The model of IPVS as a process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use ipvs_benches::director::model::SERVE;
use ipvs_benches::director::settings::Settings;
use ipvs_benches::running::{self, Processor};

/// A model with an empty table, for the programs in this network namespace. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Model(Child);

impl Model {
    /// Starts it, and waits until programs can connect.
    pub(crate) fn start(settings: &Settings, on: Processor) -> Result<Self> {
        let mut command = Command::new(settings.ours.first().context("no ldirectord")?);
        let mut process = running::spawn(command.arg(SERVE).stdout(Stdio::piped()), on)?;
        let output = process.stdout.take().context("no output")?;
        let model = Self(process);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "the model of IPVS doesn't start");
        Ok(model)
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
