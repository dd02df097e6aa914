//! An independent reader: the C ipvsadm and the kernel's own table.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use ipvs_testkit::{Namespace, output};

/// Reads the IPVS state of a namespace without the code under test.
#[derive(Debug)]
pub struct Reader<'a> {
    netns: &'a Namespace,
    ipvsadm: PathBuf,
}

impl<'a> Reader<'a> {
    /// Creates a reader of `netns`.
    ///
    /// # Errors
    ///
    /// If `PATH` has no `ipvsadm`, or only ours.
    pub fn new(netns: &'a Namespace) -> Result<Self> {
        Ok(Self { netns, ipvsadm: c_ipvsadm()? })
    }

    /// The output of the C `ipvsadm` with these arguments: its lines, with single blanks.
    ///
    /// # Errors
    ///
    /// If the program fails.
    pub fn lines(&self, arguments: &[&str]) -> Result<Vec<String>> {
        let text = output(self.netns.command(&self.ipvsadm).args(arguments))?;
        Ok(text.lines().map(squeeze).collect())
    }

    /// The table as the C `ipvsadm -S -n` writes it: one command line per service and real server.
    ///
    /// # Errors
    ///
    /// If the program fails.
    pub fn saved(&self) -> Result<Vec<String>> {
        self.lines(&["-S", "-n"])
    }

    /// The output of the C `ipvsadm -L -n` with one more option, without its three title lines.
    ///
    /// # Errors
    ///
    /// If the program fails.
    pub fn listed(&self, option: &str) -> Result<Vec<String>> {
        Ok(self.lines(&["-L", "-n", option])?.split_off(3))
    }

    /// `/proc/net/ip_vs` without its three title lines, with single blanks: addresses in
    /// hexadecimal, timeouts in jiffies.
    ///
    /// # Errors
    ///
    /// If the file can't be read.
    pub fn proc_table(&self) -> Result<Vec<String>> {
        let text = self.netns.run(|| fs::read_to_string("/proc/thread-self/net/ip_vs"))??;
        Ok(text.lines().skip(3).map(squeeze).collect())
    }
}

fn squeeze(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The first `ipvsadm` on `PATH` that isn't ours; `IPVSADM` names ours.
///
/// # Errors
///
/// If there is no such program.
pub fn c_ipvsadm() -> Result<PathBuf> {
    let ours = env::var_os("IPVSADM").and_then(|path| fs::canonicalize(path).ok());
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join("ipvsadm"))
        .filter(|candidate| candidate.is_file())
        .find(|candidate| fs::canonicalize(candidate).ok() != ours)
        .context("there is no C ipvsadm on PATH to read back with")
}
