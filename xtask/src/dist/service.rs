//! How much the boot-time service may do, by systemd's own count.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::progress;

use super::{package, write};

/// systemd counts from 0 to 100, in tenths of what it prints. What is left is what the service is
/// for: netlink and other sockets, the machine's network, CAP_NET_ADMIN, and being root.
const MOST: &str = "25";

/// Has `systemd-analyze security` look at the unit, where there is one that can.
pub(super) fn check(folder: &Path) -> Result<()> {
    let unit = write(&folder.join("ipvsadm.service"), package::SERVICE)?;
    let analyze =
        |arguments: &[&str]| Command::new("systemd-analyze").args(arguments).arg(&unit).output();
    // It takes a file since systemd 250.
    let able = Command::new("systemd-analyze").args(["security", "--help"]).output();
    if !able.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--offline")) {
        progress::note(
            "no systemd-analyze of 250 or newer: nothing has looked at the service's unit",
        );
        return Ok(());
    }
    let threshold = format!("--threshold={MOST}");
    let output = analyze(&["security", "--offline=true", "--no-pager", &threshold])
        .context("can't run systemd-analyze")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let verdict = text.lines().last().unwrap_or_default();
    ensure!(output.status.success(), "systemd finds the service too exposed:\n{text}");
    progress::note(verdict.trim_start_matches('→').trim());
    Ok(())
}
