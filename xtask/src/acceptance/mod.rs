//! `cargo xtask acceptance director`: plays the acceptance scenarios of the health checker with the
//! programs it is compared with, and with ours.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use lab::userland::{RIVALS, SERVERS};
use lab::{Job, KernelOption, paths, progress};

use crate::cargo;

/// The limit for everything: 16 scenarios, three programs, a minute or two each.
const TIMEOUT: Duration = Duration::from_secs(2 * 3600);

/// The tools that the scenarios use.
const TOOLS: &[&str] = &["ip", "tc", "modprobe", "ipvsadm"];

/// What can be accepted.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The health checker
    Director,
}

#[derive(Debug, Args)]
pub(crate) struct Acceptance {
    /// What to test
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    kernel: KernelOption,
    /// Play only this scenario, B1 for example, or only this program; may be given several times
    #[arg(long, value_name = "ROW|PROGRAM")]
    only: Vec<String>,
}

impl Acceptance {
    pub(crate) fn run(self) -> Result<u8> {
        let What::Director = self.what;
        let lab = cargo::lab()?;
        let kernel = self.kernel.prepare(&lab)?;
        progress::now("building the scenarios");
        let program =
            cargo::build(&["build", "-p", "ipvs-tests", "--bin", "acceptance"], "acceptance")?;
        let folder = folder()?;
        let file = folder.join("director.json");
        let mut command = vec![program.into_os_string(), file.into_os_string()];
        command.extend(self.only.iter().map(Into::into));
        let job = Job {
            command,
            tools: TOOLS,
            userlands: &[SERVERS, RIVALS],
            writable: vec![folder],
            timeout: Some(TIMEOUT),
            ..Job::default()
        };
        job.run(&kernel)
    }
}

/// Creates the folder for the results.
fn folder() -> Result<PathBuf> {
    let folder = paths::root().join("target/reports/acceptance");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}
