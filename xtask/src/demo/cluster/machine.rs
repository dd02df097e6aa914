//! A machine of the cluster: a network namespace, and files of its own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use ipvs_testkit::{Namespace, eventually};
use rustix::process::{Signal, kill_process};

use crate::demo::stage::Shell;

use super::LIMIT;

/// What each machine has for itself. Everything else is the same on all of them.
const OWN: [&str; 5] = ["/run", "/etc/director", "/etc/ha.d", "/var/lib/director", "/var/log"];

/// A machine, which is on while this exists.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    pub(super) addr: Ipv4Addr,
    pub(super) netns: Arc<Namespace>,
    files: PathBuf,
}

impl Machine {
    /// Turns it on: nothing runs on it yet, and the kernel has forgotten everything. Its files are as
    /// they were, but for those that no machine keeps.
    pub(super) fn boot(name: &'static str, addr: Ipv4Addr, switch: &Namespace) -> Result<Self> {
        let files = std::env::temp_dir().join(format!("cluster-{name}"));
        let run = files.join("run");
        if run.exists() {
            fs::remove_dir_all(&run).with_context(|| format!("cannot clear {run:?}"))?;
        }
        for folder in OWN {
            for folder in [Path::new(folder), &files.join(folder.trim_start_matches('/'))] {
                fs::create_dir_all(folder).with_context(|| format!("cannot make {folder:?}"))?;
            }
        }
        let netns = Namespace::create(name)?;
        for devices in ["all", "default"] {
            // Addresses are usable at once: no other machine can have them.
            netns.sysctl(&format!("net.ipv6.conf.{devices}.accept_dad"), "0")?;
        }
        switch.ip(&[
            format!(
                "link add {name} type veth peer name eth0 address {} netns {}",
                mac(addr),
                netns.name()
            ),
            format!("link set {name} master lan up"),
        ])?;
        netns.ip(&["link set eth0 up".to_owned(), format!("addr add {addr}/24 dev eth0")])?;
        Ok(Self { name, addr, netns: netns.into(), files })
    }

    pub(super) fn mac(&self) -> String {
        mac(self.addr)
    }

    /// Where others find a file of it.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.files.join(path.trim_start_matches('/'))
    }

    /// Pulls its plug: what runs on it ends at once, and nobody hears of it.
    pub(super) fn pull_the_plug(&self, switch: &Namespace) -> Result<()> {
        switch.ip(&[format!("link set {} down", self.name)])?;
        eventually(LIMIT, || {
            let processes = self.netns.processes()?;
            for pid in &processes {
                // It may have ended already.
                let _ = kill_process(*pid, Signal::KILL);
            }
            anyhow::ensure!(processes.is_empty(), "{processes:?} go on");
            Ok(())
        })
    }

    /// Words in front of a shell's command that is to run here.
    pub(super) fn prefix(&self) -> String {
        let binds: Vec<String> = OWN
            .iter()
            .map(|folder| format!("mount --bind {} {folder}", self.file(folder).display()))
            .collect();
        binds.join(" && ")
    }
}

impl Shell for Machine {
    fn name(&self) -> &str {
        self.name
    }

    /// `ip netns exec` gives the command mounts of its own.
    fn shell(&self, command: &str) -> Command {
        let mut shell = self.netns.command("sh");
        shell.arg("-c").arg(format!("{} && {command}", self.prefix()));
        shell
    }
}

/// The MAC address of the machine with this address: the last number of 10.10.10.102 makes
/// `02:00:00:00:01:02`.
fn mac(addr: Ipv4Addr) -> String {
    let [.., last] = addr.octets();
    format!("02:00:00:00:{:02}:{:02}", last / 100, last % 100)
}
