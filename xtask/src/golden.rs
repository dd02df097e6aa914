//! `cargo xtask golden`: records what the C ipvsadm and the kernel say to each other.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use lab::{Job, KernelOptions, ReadyKernel, paths, progress};

use crate::cargo;

/// Several times longer than it takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
pub(crate) struct Golden {
    #[command(flatten)]
    kernels: KernelOptions,
}

impl Golden {
    pub(crate) fn run(self) -> Result<u8> {
        progress::now("building record-golden");
        let recorder = cargo::build(
            &["build", "-p", "ipvs-testkit", "--bin", "record-golden"],
            "record-golden",
        )?;
        let folder = paths::root().join("crates/ipvs-sys/tests/golden");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let lab = cargo::lab()?;
        for choice in self.kernels.choices() {
            let kernel = ReadyKernel::prepare(choice, self.kernels.guest, &lab)?;
            let job = Job {
                command: vec![recorder.clone().into(), folder.clone().into()],
                tools: &["ip", "modprobe", "ipvsadm"],
                writable: vec![folder.clone()],
                timeout: Some(TIMEOUT),
                ..Job::default()
            };
            let status = job.run(&kernel)?;
            ensure!(
                status == 0,
                "record-golden ended with status {status} on Linux {}",
                kernel.release()
            );
        }
        Ok(0)
    }
}
