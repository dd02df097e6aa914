//! Deletes what Cargo cached of packages that it verified before.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use lab::paths;

/// The target folder for verifying packages, below the checkout. It isn't the usual one: there
/// Cargo would find its earlier build of the same version, and never consider that out of date.
pub(super) const TARGET: &str = "target/verify";

/// Deletes the sources of our own packages that the last `cargo package` unpacked, and what it
/// built from them.
///
/// Cargo verifies packages that depend on one another through a registry below the target folder,
/// and unpacks them from there into its home. Next time it reuses the unpacked sources. It doesn't
/// check whether they still match the package, because the version is the same.
pub(super) fn forget_unpacked() -> Result<()> {
    let home = cargo_home().context("neither CARGO_HOME nor HOME is set")?;
    let version = concat!("-", env!("CARGO_PKG_VERSION"));
    for registry in folders(&home.join("registry/src"))? {
        // Unlike the public registry, one in a folder has no host in its name.
        if !registry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"-")) {
            continue;
        }
        for package in folders(&registry)? {
            let name = package.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.strip_suffix(version).is_some_and(is_ours) {
                fs::remove_dir_all(&package)
                    .with_context(|| format!("can't delete {}", package.display()))?;
            }
        }
    }
    // The name is that of the package and a hash.
    for built in folders(&paths::root().join(TARGET).join("debug/.fingerprint"))? {
        let name = built.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.rsplit_once('-').is_some_and(|(package, _)| is_ours(package)) {
            fs::remove_dir_all(&built)
                .with_context(|| format!("can't delete {}", built.display()))?;
        }
    }
    Ok(())
}

fn is_ours(package: &str) -> bool {
    matches!(package, "ipvsadm" | "health-probe" | "ldirectord" | "vrrp")
        || package.starts_with("ipvs-")
}

fn cargo_home() -> Option<PathBuf> {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
    std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

/// The entries of a folder; none if it doesn't exist.
fn folders(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("can't read {}", folder.display()))?,
    };
    entries.map(|entry| Ok(entry?.path())).collect()
}
