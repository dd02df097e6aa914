//! The programs that are compared.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_benches::director::files::{self, WarmUp};
use ipvs_benches::director::settings::Settings;
use ipvs_benches::director::usage::Usage;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// How long a program may take to end when asked to.
const END: Duration = Duration::from_secs(20);

const LOOK: Duration = Duration::from_millis(10);

/// A program that checks real servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Contender {
    Bare,
    Runner,
    Ours,
    Keepalived(WarmUp),
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.write_str("bare client"),
            Self::Runner => f.write_str("health-probe alone"),
            Self::Ours => f.write_str("ldirectord"),
            Self::Keepalived(WarmUp::Default) => f.write_str("keepalived"),
            Self::Keepalived(WarmUp::Seconds(seconds)) => {
                write!(f, "keepalived, warmup {seconds}")
            }
        }
    }
}

/// Where a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Processor {
    Any,
    /// This one of those that the measuring process may use, as far as there are so many.
    Nth(usize),
}

/// Starts a process. It and its descendants stay on that processor.
pub(crate) fn spawn(command: &mut Command, on: Processor) -> Result<Child> {
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

/// A running contender. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Running {
    process: Child,
    name: String,
}

impl Contender {
    /// Starts it with this many checks.
    pub(crate) fn start(
        self,
        settings: &Settings,
        checks: usize,
        interval: Duration,
        on: Processor,
    ) -> Result<Running> {
        let mut command = self.command(settings, checks, interval)?;
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let log = settings.folder.join("log");
        command.stderr(fs::File::create(&log).context("can't make a log")?);
        Ok(Running { process: spawn(&mut command, on)?, name: self.to_string() })
    }

    fn command(self, settings: &Settings, checks: usize, interval: Duration) -> Result<Command> {
        let file = |name: &str, text: String| {
            let path = settings.folder.join(name);
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
            anyhow::Ok(path)
        };
        let bare = |program: &Path| {
            let mut command = Command::new(program);
            command.args([checks.to_string(), interval.as_millis().to_string()]);
            command
        };
        Ok(match self {
            Self::Bare => bare(&settings.bare),
            Self::Runner => bare(&settings.runner),
            Self::Ours => {
                let log = settings.folder.join("ldirectord.log");
                let path = file("ldirectord.cf", files::ldirectord(checks, interval, &log))?;
                let (program, words) = settings.ours.split_first().context("no ldirectord")?;
                let mut command = Command::new(program);
                command.args(words).arg(path).args(["start", "--foreground"]);
                command
            }
            Self::Keepalived(warm_up) => {
                let path = file("keepalived.conf", files::keepalived(checks, interval, warm_up))?;
                let (program, words) =
                    settings.keepalived.split_first().context("no keepalived")?;
                let mut command = Command::new(program);
                command.args(words).args(["--dont-fork", "--log-console", "--check"]);
                command.arg("--use-file").arg(path);
                for (option, name) in
                    [("--pid", "keepalived.pid"), ("--checkers_pid", "checkers.pid")]
                {
                    command.arg(option).arg(settings.folder.join(name));
                }
                if let Some(stand_in) = &settings.stand_in {
                    command.env("LD_PRELOAD", stand_in);
                }
                command
            }
        })
    }
}

impl Running {
    pub(crate) fn usage(&mut self) -> Result<Usage> {
        if let Some(status) = self.process.try_wait()? {
            bail!("{} has ended with {status}", self.name);
        }
        Usage::of(self.process.id())
    }

    /// Asks it to end, and waits for that.
    pub(crate) fn end(mut self) -> Result<()> {
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
