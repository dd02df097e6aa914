//! How exposed the services are, by systemd's own score.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::process::succeed;
use lab::progress;

use super::package::Package;
use super::write;

/// `systemd-analyze` reads a single file.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Runs `systemd-analyze security` on the package's units, if this machine has a version that can. A
/// unit's limit goes from 0 to 100: ten times the number that systemd prints.
pub(super) fn check(folder: &Path, package: &Package) -> Result<()> {
    // It accepts a file since systemd 250.
    let help = succeed(Command::new("systemd-analyze").args(["security", "--help"]), TIMEOUT);
    if !help.is_ok_and(|help| help.contains("--offline")) {
        progress::note(
            "no systemd-analyze of 250 or newer: nothing has looked at the services' units",
        );
        return Ok(());
    }
    for (name, text, most) in package.units {
        let unit = write(&folder.join(name), text)?;
        let threshold = format!("--threshold={most}");
        let mut analyze = Command::new("systemd-analyze");
        analyze.args(["security", "--offline=true", "--no-pager", &threshold]).arg(&unit);
        let text = succeed(&mut analyze, TIMEOUT)
            .with_context(|| format!("systemd finds {name} too exposed"))?;
        let verdict = text.lines().last().unwrap_or_default();
        progress::note(verdict.trim_start_matches('→').trim());
    }
    Ok(())
}
