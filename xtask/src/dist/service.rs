//! How exposed the boot-time service is, by systemd's own score.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::process::succeed;
use lab::progress;

use super::{package, write};

/// `systemd-analyze` reads a single file.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The highest score allowed, from 0 to 100: ten times the number that systemd prints. What remains
/// is what the service needs: netlink and other sockets, the machine's network, CAP_NET_ADMIN, and
/// root.
const MOST: &str = "25";

/// Runs `systemd-analyze security` on the unit, if this machine has a version that can.
pub(super) fn check(folder: &Path) -> Result<()> {
    let unit = write(&folder.join("ipvsadm.service"), package::SERVICE)?;
    // It accepts a file since systemd 250.
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
