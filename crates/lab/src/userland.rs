//! Programs of one Debian release, whatever this machine runs: a small Debian below a folder, with
//! its own C library, to start programs in with chroot(8).
//!
//! [`tools`](crate::tools) takes a program from the machine, so its version is the machine's. Here
//! the version matters: what is compared with, and what is tested against, is the same everywhere.
//! A userland is unpacked under `target/userlands` and never installed: no maintainer script runs.

use std::ffi::OsString;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::apt::Apt;
use crate::paths::{self, Lock};
use crate::progress;

/// The release of all userlands.
pub const SUITE: &str = "bookworm";

/// A set of packages of [`SUITE`], with all they depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Userland {
    name: &'static str,
    packages: &'static [&'static str],
    /// What is fetched, for messages.
    size: &'static str,
}

/// Real servers: nginx, Apache with its worker processes, and dnsmasq.
pub const SERVERS: Userland = Userland {
    name: "servers",
    packages: &["nginx", "apache2-bin", "dnsmasq-base"],
    size: "30 MB",
};

/// Other health checkers for IPVS, other programs for VRRP, and the shell that they start commands
/// with.
pub const RIVALS: Userland = Userland {
    name: "rivals",
    // The module is what ldirectord needs for requests over IPv6, and doesn't depend on.
    packages: &["ldirectord", "keepalived", "frr", "dash", "coreutils", "libnet-inet6glue-perl"],
    size: "45 MB",
};

/// What sets up a machine's network, to lay over the files of a machine that boots.
pub const MANAGERS: Userland =
    Userland { name: "managers", packages: &["network-manager", "ifupdown"], size: "45 MB" };

/// Folders whose files are in those below `/usr` on all systems of [`SUITE`], while packages still have
/// them apart.
const MERGED: [&str; 4] = ["bin", "sbin", "lib", "lib64"];

/// Folders that an installed system has, and no package here.
const FOLDERS: [&str; 10] =
    ["dev", "proc", "run", "tmp", "etc", "var/lib", "var/log", "var/lock", "root", "usr/bin"];

/// Users and groups that the programs run as.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      www-data:x:33:33:www-data:/:/usr/sbin/nologin\n\
                      nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
// FRR's programs run as a member of frrvty only.
const GROUP: &str = "root:x:0:\nadm:x:4:\nwww-data:x:33:\nfrrvty:x:100:root\nnogroup:x:65534:\n";

/// Records what was fetched, to recognise it later.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    suite: String,
    asked_for: Vec<String>,
    unpacked: Vec<String>,
}

impl Userland {
    /// Returns its folder, the `/` of its programs, and fetches it first if it is missing.
    ///
    /// # Errors
    ///
    /// It can't be fetched.
    pub fn ensure(self) -> Result<PathBuf> {
        let folder = self.folder();
        if self.stamp().is_none() {
            let _lock = Lock::folder(&paths::userlands())?;
            // Another process may have fetched it while this one waited for the lock.
            if self.stamp().is_none() {
                self.fetch().with_context(|| {
                    format!("can't fetch {} of Debian {SUITE}", self.packages.join(", "))
                })?;
            }
        }
        Ok(folder)
    }

    /// The environment variable that names its folder to what runs in a guest.
    pub fn variable(self) -> &'static str {
        match self.name {
            "servers" => "USERLAND_SERVERS",
            "managers" => "USERLAND_MANAGERS",
            _ => "USERLAND_RIVALS",
        }
    }

    /// The version of one of its packages, such as 1.22.1-9.
    ///
    /// # Errors
    ///
    /// It wasn't fetched, or has no such package.
    pub fn version(self, package: &str) -> Result<String> {
        let stamp = self.stamp().with_context(|| format!("{} isn't there", self.name))?;
        let found = stamp.unpacked.iter().find_map(|unpacked| {
            let (name, version) = unpacked.split_once('=')?;
            (name == package).then(|| version.to_owned())
        });
        found.with_context(|| format!("{package} isn't among the {}", self.name))
    }

    fn folder(self) -> PathBuf {
        paths::userlands().join(self.name)
    }

    fn stamp_file(self) -> PathBuf {
        paths::userlands().join(format!("{}.json", self.name))
    }

    /// What was fetched, if it is what is wanted now.
    fn stamp(self) -> Option<Stamp> {
        let stamp: Stamp = serde_json::from_slice(&std::fs::read(self.stamp_file()).ok()?).ok()?;
        let same = stamp.suite == SUITE && stamp.asked_for == self.packages;
        (same && self.folder().is_dir()).then_some(stamp)
    }

    fn fetch(self) -> Result<()> {
        ensure!(std::env::consts::ARCH == "x86_64", "guests are x86_64, and so are their programs");
        let _ = std::fs::remove_file(self.stamp_file());
        let apt = Apt::debian(&paths::userlands().join("apt"), SUITE)?;
        apt.update()?;
        let unpacked = apt.missing(self.packages)?;
        let wanted = self.packages.join(", ");
        progress::now(&format!("fetching {wanted} of Debian {SUITE} (about {})", self.size));
        let fresh = self.folder().with_extension("new");
        let _ = std::fs::remove_dir_all(&fresh);
        let result = apt.unpack(&unpacked, &fresh);
        if result.is_err() {
            apt.forget();
        }
        result?;
        for name in MERGED {
            merge(&fresh, name)?;
        }
        furnish(&fresh)?;
        let folder = self.folder();
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::rename(&fresh, &folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let asked_for = self.packages.iter().map(ToString::to_string).collect();
        let stamp = Stamp { suite: SUITE.to_owned(), asked_for, unpacked };
        std::fs::write(self.stamp_file(), serde_json::to_vec_pretty(&stamp)?)
            .context("can't stamp what was fetched")
    }
}

/// The variables that name userlands, each fetched if it is missing.
pub(crate) fn variables(userlands: &[Userland]) -> Result<Vec<(&'static str, OsString)>> {
    userlands.iter().map(|userland| Ok((userland.variable(), userland.ensure()?.into()))).collect()
}

/// Moves what is in a folder to the one below `/usr`, and makes it a link to that.
fn merge(root: &Path, name: &str) -> Result<()> {
    let (from, to) = (root.join(name), root.join("usr").join(name));
    let failed = || format!("can't move {} to {}", from.display(), to.display());
    if from.is_dir() {
        move_into(&from, &to).with_context(failed)?;
    }
    std::fs::create_dir_all(&to).with_context(failed)?;
    symlink(Path::new("usr").join(name), &from).with_context(failed)
}

/// Moves a folder, into one that may be there.
fn move_into(from: &Path, to: &Path) -> std::io::Result<()> {
    if std::fs::symlink_metadata(to).is_err() {
        return std::fs::rename(from, to);
    }
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            move_into(&entry.path(), &to)?;
        } else {
            std::fs::rename(entry.path(), to)?;
        }
    }
    std::fs::remove_dir(from)
}

/// Creates what only an installation would.
fn furnish(root: &Path) -> Result<()> {
    for folder in FOLDERS {
        let folder = root.join(folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
    }
    let shell = root.join("bin/sh");
    for (link, target) in [(root.join("var/run"), "/run"), (shell, "dash")] {
        if std::fs::symlink_metadata(&link).is_err() {
            if let Some(folder) = link.parent() {
                std::fs::create_dir_all(folder)?;
            }
            symlink(target, &link).with_context(|| format!("can't make {}", link.display()))?;
        }
    }
    for (name, text) in [
        ("etc/passwd", PASSWD),
        ("etc/group", GROUP),
        ("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        // No name may be asked for in a network.
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\nservices: files\n"),
    ] {
        let file = root.join(name);
        std::fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_userland_has_a_name_and_a_variable_of_its_own() {
        let all = [SERVERS, RIVALS, MANAGERS];
        for distinct in [all.map(Userland::folder), all.map(|it| it.variable().into())] {
            let distinct: std::collections::BTreeSet<PathBuf> = distinct.into();
            assert_eq!(distinct.len(), all.len());
        }
    }

    #[test]
    fn folders_are_merged_as_an_installed_system_has_them() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in ["usr/lib/a/1", "lib/a/2", "lib/b/3", "sbin/4"] {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        for name in MERGED {
            merge(root, name).unwrap();
            assert!(root.join(name).is_symlink());
        }
        for file in ["usr/lib/a/1", "usr/lib/a/2", "usr/lib/b/3", "usr/sbin/4", "lib/a/2"] {
            assert!(root.join(file).is_file(), "{file}");
        }
    }
}
