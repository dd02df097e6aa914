//! User-Mode Linux kernels from Debian's package user-mode-linux, kept under `target/kernels`.
//!
//! A kernel counts only once it is stamped, after it has been unpacked, made runnable and checked.
//! Whatever an interrupted fetch left is fetched again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use super::Series;
use crate::apt::{Apt, debian_mirror};
use crate::paths::{self, Lock};
use crate::process::succeed;
use crate::{progress, tools};

/// The Debian package. Its version begins with the kernel's version.
const PACKAGE: &str = "user-mode-linux";

/// All IPVS schedulers in the kernel. Tests would be skipped on a kernel without one of them.
const SCHEDULERS: [&str; 13] =
    ["rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq"];

/// Where the package keeps modules: current and older layouts, with and without merged /usr.
const MODULE_FOLDERS: [&str; 3] = ["usr/lib/uml/modules", "usr/lib/modules", "lib/modules"];

/// The dynamic loader of amd64 programs.
const INTERPRETER: &str = "ld-linux-x86-64.so.2";

/// The limit for a program that only prints its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(20);

/// A kernel that is ready to boot.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    /// Its release, such as 6.1.176.
    pub release: String,
    /// The path of linux.uml.
    pub program: PathBuf,
    /// The folder that contains the modules, in a subfolder named after the release.
    pub modules: PathBuf,
    /// The version of the Debian package.
    pub package: String,
}

/// The package that a Debian suite offers.
#[derive(Debug)]
struct Offer {
    suite: &'static str,
    /// The version of the package.
    package: String,
    apt: Apt,
}

/// Records what was fetched, to recognise it later.
#[derive(Debug, Serialize, Deserialize)]
struct Stamp {
    package: String,
    release: String,
    /// The checksum of linux.uml, after it was made runnable.
    sha256: String,
    /// The absolute path that a kernel with a fetched C library contains. If the checkout moves,
    /// the kernel is fetched again.
    folder: PathBuf,
}

/// Why no kernel can be fetched on this machine; `None` if one can.
pub(crate) fn obstacle() -> Option<String> {
    if std::env::consts::ARCH != "x86_64" {
        return Some(format!(
            "Debian has User-Mode Linux for x86_64 only, and this machine is {}",
            std::env::consts::ARCH
        ));
    }
    debian_mirror(super::SERIES[0].suites[0]).err().map(|error| format!("{error:#}"))
}

/// Finds a kernel that was fetched before, if it is intact.
pub(crate) fn find(series: Series) -> Result<Option<Kernel>> {
    let folder = paths::kernels().join(series.name);
    let Ok(text) = std::fs::read(folder.join("stamp.json")) else { return Ok(None) };
    let Ok(stamp) = serde_json::from_slice::<Stamp>(&text) else { return Ok(None) };
    let Ok(mut kernel) = inspect(series, &folder) else { return Ok(None) };
    if stamp.folder != folder
        || stamp.release != kernel.release
        || stamp.sha256 != sha256(&kernel.program)?
    {
        return Ok(None);
    }
    kernel.package = stamp.package;
    Ok(Some(kernel))
}

/// Returns a kernel, fetching it if it is missing.
pub(crate) fn ensure(series: Series) -> Result<Kernel> {
    if let Some(kernel) = find(series)? {
        return Ok(kernel);
    }
    if let Some(obstacle) = obstacle() {
        bail!(
            "Linux {} can't be fetched: {obstacle}.\n\
             This machine's own kernel serves as well if it has IPVS: \
             as root, `modprobe ip_vs` and `cargo xtask ... --kernel host`",
            series.name
        );
    }
    let folder = paths::kernels();
    let _lock = Lock::folder(&folder)?;
    // Another process may have fetched it while this one waited for the lock.
    if let Some(kernel) = find(series)? {
        return Ok(kernel);
    }
    let kernel =
        fetch(series, &folder).with_context(|| format!("can't fetch Linux {}", series.name))?;
    progress::note(&format!(
        "Linux {} is ready (user-mode-linux {})",
        kernel.release, kernel.package
    ));
    Ok(kernel)
}

fn fetch(series: Series, kernels: &Path) -> Result<Kernel> {
    let folder = kernels.join(series.name);
    let Offer { suite, package, apt } = choose(series, &kernels.join("apt"))?;
    progress::now(&format!("fetching Linux {} (about 36 MB)", series.name));
    let fresh = kernels.join(format!("{}.new", series.name));
    let _ = std::fs::remove_dir_all(&fresh);
    let unpacked = apt.unpack(&[format!("{PACKAGE}={package}")], &fresh);
    if unpacked.is_err() {
        // Sid changes four times a day, so the list may name a version that no longer exists.
        apt.forget();
    }
    unpacked?;

    let _ = std::fs::remove_dir_all(&folder);
    std::fs::rename(&fresh, &folder).with_context(|| format!("can't make {}", folder.display()))?;
    if version(&folder.join("usr/bin/linux.uml")).is_err() {
        progress::now(&format!("fetching the C library of Debian {suite}"));
        apt.unpack(&["libc6".into()], &folder.join("libc"))?;
        bring_libc(&folder)?;
    }
    let mut kernel = inspect(series, &folder)?;
    kernel.package = package.clone();
    let stamp = Stamp {
        package,
        release: kernel.release.clone(),
        sha256: sha256(&kernel.program)?,
        folder: folder.clone(),
    };
    std::fs::write(folder.join("stamp.json"), serde_json::to_vec_pretty(&stamp)?)
        .context("can't stamp the kernel")?;
    Ok(kernel)
}

/// Chooses what to fetch: from the first suite that has the series itself, otherwise from the first
/// suite with a kernel that may replace it.
fn choose(series: Series, lists: &Path) -> Result<Offer> {
    let mut offers = Vec::new();
    for suite in series.suites {
        let apt = Apt::debian(&lists.join(suite), suite)?;
        apt.update()?;
        let package = apt.candidate(PACKAGE).with_context(|| format!("in Debian {suite}"))?;
        let offer = Offer { suite, package, apt };
        if series.has(&offer.package) {
            return Ok(offer);
        }
        offers.push(offer);
    }
    let there: Vec<_> =
        offers.iter().map(|offer| format!("{} in {}", offer.package, offer.suite)).collect();
    let there = there.join(", ");
    let newer = offers.into_iter().find(|offer| series.takes(&offer.package));
    let newer = newer.with_context(|| format!("Debian doesn't have it; there is {there}"))?;
    progress::note(&format!(
        "Debian has no Linux {} any more ({there}); that of {} takes its place",
        series.name, newer.suite
    ));
    Ok(newer)
}

/// Makes linux.uml use the C library unpacked beside it. Starting it through that library's loader
/// wouldn't work, because it re-executes itself.
fn bring_libc(folder: &Path) -> Result<()> {
    let patchelf = tools::patchelf()?;
    let library = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]
        .map(|place| folder.join("libc").join(place))
        .into_iter()
        .find(|place| place.join(INTERPRETER).exists())
        .context("the C library's package has no loader where one was expected")?;
    let mut command = patchelf.command();
    command.arg("--set-interpreter").arg(library.join(INTERPRETER));
    command.arg("--set-rpath").arg(&library).arg(folder.join("usr/bin/linux.uml"));
    succeed(&mut command, VERSION_TIMEOUT).map(drop)
}

/// Checks that everything needed for work in the guest is present.
fn inspect(series: Series, folder: &Path) -> Result<Kernel> {
    let program = folder.join("usr/bin/linux.uml");
    let release = version(&program)?;
    ensure!(series.takes(&release), "the package has Linux {release}, not {}", series.name);
    let modules = MODULE_FOLDERS
        .map(|place| folder.join(place))
        .into_iter()
        .find(|place| place.join(&release).is_dir())
        .with_context(|| format!("the package has no modules for {release}"))?;
    let kernel = modules.join(&release).join("kernel");
    let ipvs = kernel.join("net/netfilter/ipvs");
    let needed = SCHEDULERS.iter().map(|name| ipvs.join(format!("ip_vs_{name}.ko")));
    for module in needed.chain([ipvs.join("ip_vs.ko"), kernel.join("fs/overlayfs/overlay.ko")]) {
        ensure!(module.is_file(), "the package lacks {}", module.display());
    }
    Ok(Kernel { release, program, modules, package: String::new() })
}

fn version(program: &Path) -> Result<String> {
    let release =
        succeed(Command::new(program).arg("--version"), VERSION_TIMEOUT)?.trim().to_owned();
    ensure!(release.starts_with(|c: char| c.is_ascii_digit()), "it calls itself {release:?}");
    Ok(release)
}

fn sha256(file: &Path) -> Result<String> {
    let output = succeed(Command::new("sha256sum").arg(file), VERSION_TIMEOUT)?;
    // If the file name contains a backslash or a newline, sha256sum prefixes the line with a
    // backslash.
    let sum = output.split_whitespace().next().context("sha256sum says nothing")?;
    Ok(sum.trim_start_matches('\\').to_owned())
}
