//! Programs that are measured while they run.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::usage::Usage;

/// How long a program may take to end when asked to.
const END: Duration = Duration::from_secs(20);

const LOOK: Duration = Duration::from_millis(10);

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Processor {
    /// Any of them.
    Any,
    /// This one of those that the measuring process may use, as far as there are so many.
    Nth(usize),
}

/// Starts a process. It and its descendants stay on that processor.
///
/// # Errors
///
/// If it can't be started.
pub fn spawn(command: &mut Command, on: Processor) -> Result<Child> {
    let all = sched_getaffinity(None)?;
    if let Processor::Nth(n) = on {
        let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|&cpu| all.is_set(cpu)).collect();
        let mut one = CpuSet::new();
        one.set(allowed[n % allowed.len()]);
        sched_setaffinity(None, &one)?;
    }
    let process = command.spawn();
    sched_setaffinity(None, &all)?;
    process.with_context(|| format!("can't run {:?}", command.get_program()))
}

/// A program that runs. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    process: Child,
    name: String,
}

impl Running {
    /// Starts it. What it says goes into the file `log`.
    ///
    /// # Errors
    ///
    /// If it can't be started.
    pub fn start(command: &mut Command, name: String, log: &Path, on: Processor) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(File::create(log).context("can't make a log")?);
        Ok(Self { process: spawn(command, on)?, name })
    }

    /// What it and its descendants have used.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn usage(&mut self) -> Result<Usage> {
        if let Some(status) = self.process.try_wait()? {
            bail!("{} has ended with {status}", self.name);
        }
        Usage::of(self.process.id())
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Errors
    ///
    /// If it doesn't.
    pub fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.process), Signal::TERM)?;
        let deadline = Instant::now() + END;
        while self.process.try_wait()?.is_none() {
            ensure!(Instant::now() < deadline, "{} doesn't end", self.name);
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
