//! The independent reader: the C ipvsadm and the kernel's own table.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use ipvs_testkit::{Namespace, output};

/// Reads what is in a namespace's IPVS without the code under test.
#[derive(Debug)]
pub struct Reader<'a> {
    netns: &'a Namespace,
    ipvsadm: PathBuf,
}

impl<'a> Reader<'a> {
    /// A reader of `netns`.
    ///
    /// # Errors
    ///
    /// If there is no `ipvsadm` on `PATH`, or none but ours.
    pub fn new(netns: &'a Namespace) -> Result<Self> {
        Ok(Self { netns, ipvsadm: c_ipvsadm()? })
    }

    /// What the C `ipvsadm` prints with these arguments: its lines, with single blanks.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn lines(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let text = output(self.netns.command(&self.ipvsadm).args(arguments))?;
        Ok(text.lines().map(squeeze).collect())
    }

    /// The table as the C `ipvsadm -S -n` writes it: a command line a service and real server.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn saved(&self) -> Result<Vec<String>> {
        self.lines(&["-S", "-n"])
    }

    /// A list of the C `ipvsadm -L -n` with one more option, without its three title lines.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub fn listed(&self, option: &str) -> Result<Vec<String>> {
        Ok(self.lines(&["-L", "-n", option])?.split_off(3))
    }

    /// `/proc/net/ip_vs` without its three title lines, with single blanks: addresses in
    /// hexadecimal, timeouts in jiffies.
    ///
    /// # Errors
    ///
    /// If it can't be read.
    pub fn proc_table(&self) -> Result<Vec<String>> {
        let text = self.netns.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs"))??;
        Ok(text.lines().skip(3).map(squeeze).collect())
    }
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The `ipvsadm` on `PATH` that isn't ours, which `IPVSADM` names.
///
/// # Errors
///
/// If there is none.
pub fn c_ipvsadm() -> Result<PathBuf> {
    let ours = env::var_os("IPVSADM").and_then(|path| fs::canonicalize(path).ok());
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("ipvsadm"))
        .filter(|candidate| candidate.is_file())
        .find(|candidate| fs::canonicalize(candidate).ok() != ours)
        .context("there is no C ipvsadm on PATH to read back with")
}
