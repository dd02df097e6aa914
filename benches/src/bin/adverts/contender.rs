//! The programs that are compared.

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use ipvs_benches::running::{Processor, Running};
use ipvs_benches::vipd::settings::Settings;
use ipvs_benches::vipd::{Load, files};

/// A program that sends adverts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Bare,
    Keepalived,
    Ours,
}

impl fmt::Display for Contender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare loop",
            Self::Keepalived => "keepalived",
            Self::Ours => "vipd",
        })
    }
}

impl Contender {
    /// Starts it with these virtual routers.
    pub(crate) fn start(self, settings: &Settings, load: Load) -> Result<Running> {
        let mut command = self.command(settings, load)?;
        let log = settings.folder.join(format!("{self}.log"));
        Running::start(&mut command, self.to_string(), &log, Processor::Nth(0))
    }

    fn command(self, settings: &Settings, load: Load) -> Result<Command> {
        let file = |name: &str, text: String| {
            let path = settings.folder.join(name);
            fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))?;
            anyhow::Ok(path)
        };
        Ok(match self {
            Self::Bare => {
                let own = std::env::current_exe().context("can't find this program")?;
                let mut command = Command::new(own);
                command.arg("bare").arg(serde_json::to_string(&load)?);
                command
            }
            Self::Ours => {
                let mut command = Command::new(&settings.vipd);
                command.arg("run").arg("--config").arg(file("vip.toml", files::vipd(load))?);
                // `/run` is this measurement's own.
                command.args(["--socket", "/run/vipd.sock"]);
                command
            }
            Self::Keepalived => {
                let path = file("keepalived.conf", files::keepalived(load))?;
                let words = settings.keepalived.split_first().context("no keepalived")?;
                let mut command = Command::new(words.0);
                // Without the process for health checks.
                command.args(words.1).args(["--dont-fork", "--log-console", "--vrrp"]);
                command.arg("--use-file").arg(path);
                command.args(["--pid", "/run/keepalived.pid", "--vrrp_pid", "/run/vrrp.pid"]);
                command
            }
        })
    }
}
