//! `cargo xtask demo` and `cargo xtask golden`: programs of the project that want a kernel.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::work::{Everywhere, Place, Where, Work};
use crate::{cargo, docs, places, progress};

/// Several times what either takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(600);

#[derive(Debug, Args)]
pub(crate) struct Demo {
    #[command(flatten)]
    place: Where,
    /// Open a shell on the director at the end
    #[arg(long)]
    keep: bool,
    /// Put what is printed into docs/transcript.md and an excerpt into README.md, on kernel 6.1
    #[arg(long, conflicts_with_all = ["kernel", "keep"])]
    into_docs: bool,
}

impl Demo {
    pub(crate) fn run(self) -> Result<u8> {
        if self.into_docs {
            docs::write_transcript(&docs::transcript(docs::KERNEL)?)?;
            return Ok(0);
        }
        let place = Place::prepare(self.place.choice(), self.place.machine)?;
        progress::now("building ipvsadm");
        let ipvsadm = cargo::build(&["build", "-p", "ipvsadm", "--release"], "ipvsadm")?;
        let folder = ipvsadm.parent().context("a program without a folder")?.to_owned();
        let mut command = vec!["/proc/self/exe".into(), "guest-demo".into()];
        command.extend(self.keep.then(|| "--keep".into()));
        let work = Work {
            command,
            environment: Vec::new(),
            programs: vec![folder],
            tools: &["ip", "modprobe", "nginx", "curl", "tcpdump"],
            writable: Vec::new(),
            terminal: self.keep,
            timeout: (!self.keep).then_some(TIMEOUT),
            machine: self.place.machine,
        };
        work.run(&place)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Golden {
    #[command(flatten)]
    place: Everywhere,
}

impl Golden {
    pub(crate) fn run(self) -> Result<u8> {
        progress::now("building record-golden");
        let recorder = cargo::build(
            &["build", "-p", "ipvs-testkit", "--bin", "record-golden"],
            "record-golden",
        )?;
        let folder = places::root().join("crates/ipvs-sys/tests/golden");
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        for choice in self.place.choices() {
            let place = Place::prepare(choice, self.place.machine)?;
            let work = Work {
                command: vec![recorder.clone().into(), folder.clone().into()],
                environment: Vec::new(),
                programs: Vec::new(),
                tools: &["ip", "modprobe", "ipvsadm"],
                writable: vec![folder.clone()],
                terminal: false,
                timeout: Some(TIMEOUT),
                machine: self.place.machine,
            };
            let status = work.run(&place)?;
            ensure!(
                status == 0,
                "record-golden ended with status {status} on Linux {}",
                place.release()
            );
        }
        Ok(0)
    }
}
