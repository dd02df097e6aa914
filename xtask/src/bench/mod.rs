//! `cargo xtask bench`: the C ipvsadm, ours and the bare kernel, measured in one boot.

mod bars;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ipvs_benches::report::Report;

use crate::work::{Place, Where, Work};
use crate::{cargo, places, progress};

/// The C program takes two minutes for the largest table, several times over.
const TIMEOUT: Duration = Duration::from_secs(3 * 60 * 60);

#[derive(Debug, Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    place: Where,
    /// How often each program does each work; figures are medians
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: u32,
    /// Only work with this in its name or table, `restore` or `1,000 × 10` for example
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Write what was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Bench {
    pub(crate) fn run(self) -> Result<u8> {
        let place = Place::prepare(self.place.choice())?;
        progress::now("building what is measured");
        let release = |package, name| {
            cargo::build(&["build", "--release", "-p", package, "--bin", name], name)
        };
        let ours = release("ipvsadm", "ipvsadm")?;
        let floor = release("ipvs-benches", "floor")?;
        let measure = release("ipvs-benches", "measure")?;
        let folder = places::root().join("target/bench");
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let mut command = vec![measure.into(), folder.clone().into(), ours.into(), floor.into()];
        command.push(self.rounds.to_string().into());
        command.extend(self.filter.map(Into::into));
        let work = Work {
            command,
            environment: Vec::new(),
            programs: Vec::new(),
            tools: &["ip", "modprobe", "ipvsadm"],
            writable: vec![folder.clone()],
            terminal: false,
            timeout: Some(TIMEOUT),
            size: self.place.size,
        };
        let status = work.run(&place)?;
        ensure!(status == 0, "measuring ended with status {status}");
        let path = folder.join("report.json");
        let text = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let report: Report = serde_json::from_slice(&text).context("the report isn't one")?;
        if let Some(file) = self.json {
            fs::write(&file, &text).with_context(|| format!("can't write {}", file.display()))?;
        }
        print!("{}", table::markdown(&report));
        Ok(0)
    }
}
