//! The programs that are compared.

use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_benches::director::files::{self, WarmUp};
use ipvs_benches::director::settings::Settings;
use ipvs_benches::running::{Processor, Running};

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
        Running::start(&mut command, self.to_string(), &settings.folder.join("log"), on)
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
