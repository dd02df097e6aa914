//! The kernel's modules for IPVS: loaded before the tests, and unloaded by some of them.

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

/// The setting for the program that the kernel runs to load modules.
const MODPROBE: &str = "/proc/sys/kernel/modprobe";

/// Loads the modules that the kernel shouldn't load on demand: IPVS, so that tests that start by
/// reading `/proc` find it, and the schedulers, some of which keep state per network namespace.
///
/// When a service makes the kernel load a scheduler, the kernel holds IPVS's lock and waits for the
/// module. The module waits for the lock on namespaces, which the teardown of another namespace may
/// hold while it waits for IPVS's lock. Networking then hangs until the machine is rebooted (seen
/// on Linux 6.1).
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
/// If modules are still in use after 20 seconds.
pub fn unload_modules() -> Result<()> {
    unload_with(&["ip_vs"])
}

/// Unloads all modules that depend on IPVS, but not `ip_vs` itself.
///
/// # Errors
///
/// See [`unload_modules`].
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

/// Replaces the program that loads modules for the kernel until this is dropped.
#[derive(Debug)]
pub struct ReplacedModprobe {
    original: String,
}

impl ReplacedModprobe {
    /// Makes the kernel execute `program` instead; with "" it executes none.
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
