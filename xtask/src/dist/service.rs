//! How much the boot-time service may do, by systemd's own count.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::process::succeed;
use lab::progress;

use super::{package, write};

/// It reads one file.
const TIMEOUT: Duration = Duration::from_secs(60);

/// systemd counts from 0 to 100, in tenths of what it prints. What is left is what the service is
/// for: netlink and other sockets, the machine's network, CAP_NET_ADMIN, and being root.
const MOST: &str = "25";

/// Has `systemd-analyze security` look at the unit, where there is one that can.
pub(super) fn check(folder: &Path) -> Result<()> {
    let unit = write(&folder.join("ipvsadm.service"), package::SERVICE)?;
    // It takes a file since systemd 250.
    let help = succeed(Command::new("systemd-analyze").args(["security", "--help"]), TIMEOUT);
    if !help.is_ok_and(|help| help.contains("--offline")) {
        progress::note(
            "no systemd-analyze of 250 or newer: nothing has looked at the service's unit",
        );
        return Ok(());
    }
    let threshold = format!("--threshold={MOST}");
    let mut analyze = Command::new("systemd-analyze");
    analyze.args(["security", "--offline=true", "--no-pager", &threshold]).arg(&unit);
    let text = succeed(&mut analyze, TIMEOUT).context("systemd finds the service too exposed")?;
    let verdict = text.lines().last().unwrap_or_default();
    progress::note(verdict.trim_start_matches('→').trim());
    Ok(())
}
