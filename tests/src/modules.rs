//! The kernel's modules for IPVS: loaded before the tests, unloaded by some of them.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{eventually, output};

/// The kernel's schedulers and its persistence engine.
const MODULES: [&str; 14] = [
    "ip_vs_dh",
    "ip_vs_fo",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_lc",
    "ip_vs_mh",
    "ip_vs_nq",
    "ip_vs_ovf",
    "ip_vs_pe_sip",
    "ip_vs_rr",
    "ip_vs_sed",
    "ip_vs_sh",
    "ip_vs_wlc",
    "ip_vs_wrr",
];

/// Where the kernel looks up the program that loads modules.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// Loads what the kernel should not be left to load by itself: IPVS, so that it is there for tests
/// that read `/proc` first, and the schedulers, some of which keep state for each network namespace.
///
/// If the kernel loads a scheduler because a service names it, it holds IPVS's lock and waits for a
/// module that waits for the lock of namespaces, which the end of another namespace may hold, which
/// waits for IPVS's lock: networking stands still until the machine is rebooted (seen on Linux 6.1).
///
/// # Errors
///
/// If the kernel lacks a module.
pub fn load_modules() -> Result<()> {
    output(Command::new("modprobe").args(["--all", "ip_vs"]).args(MODULES))?;
    Ok(())
}

/// Unloads IPVS and all modules that depend on it.
///
/// # Errors
///
/// If they are still in use after 20 seconds.
pub fn unload_modules() -> Result<()> {
    unload_with(&["ip_vs"])
}

/// Unloads all modules that depend on IPVS, and leaves nothing but `ip_vs` itself.
///
/// # Errors
///
/// As [`unload_modules`].
pub fn unload_dependents() -> Result<()> {
    unload_with(&[])
}

fn unload_with(more: &[&str]) -> Result<()> {
    // The kernel takes down the namespaces of earlier tests in the background.
    eventually(Duration::from_secs(20), || {
        let holders = Path::new("/sys/module/ip_vs/holders");
        let mut modules: Vec<_> = more.iter().map(OsString::from).collect();
        for entry in fs::read_dir(holders).with_context(|| format!("cannot list {holders:?}"))? {
            modules.insert(0, entry?.file_name());
        }
        if modules.is_empty() {
            return Ok(());
        }
        output(Command::new("modprobe").arg("-r").args(&modules))?;
        ensure!(more.is_empty() || !holders.exists(), "ip_vs is still loaded");
        Ok(())
    })
}

/// Another program in place of the one that loads modules for the kernel, until this is dropped.
#[derive(Debug)]
pub struct ReplacedModprobe {
    original: String,
}

impl ReplacedModprobe {
    /// Has the kernel execute `program` instead; with "" it executes none.
    ///
    /// # Errors
    ///
    /// If the setting can't be written.
    pub fn by(program: &str) -> Result<Self> {
        let original = fs::read_to_string(MODPROBE)?.trim_end().to_owned();
        fs::write(MODPROBE, format!("{program}\n"))?;
        Ok(Self { original })
    }
}

impl Drop for ReplacedModprobe {
    fn drop(&mut self) {
        if let Err(error) = fs::write(MODPROBE, &self.original) {
            eprintln!("{MODPROBE} isn't {:?} again: {error}", self.original);
        }
    }
}
