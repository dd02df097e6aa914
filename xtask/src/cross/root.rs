//! A small Debian with a Rust compiler and everything needed to build for other machines, unpacked
//! under `target/cross/root`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use lab::apt::Apt;
use lab::process::succeed;
use lab::progress;

/// The release whose compiler is the oldest that the crates support.
pub(super) const SUITE: &str = "trixie";

/// The path of the checkout in the other system.
pub(super) const CHECKOUT_INSIDE: &str = "/checkout";

/// The path of `target/cross` in the other system.
pub(super) const FOLDER_INSIDE: &str = "/cross";

/// Packages that run on this machine; their dependencies are fetched too. dash is the shell,
/// netbase has /etc/protocols and /etc/services.
const PROGRAMS: [&str; 10] = [
    "cargo",
    "dash",
    "gcc",
    "gcc-i686-linux-gnu",
    "gcc-s390x-linux-gnu",
    "libc6-dev",
    "libc6-dev-i386-cross",
    "libc6-dev-s390x-cross",
    "netbase",
    "qemu-user",
];

/// The architectures of the other targets, by Debian's names.
const FOREIGN: [&str; 2] = ["i386", "s390x"];

/// The packages that programs for another target are linked with. Only these are fetched: the first
/// one also depends on that target's compiler, which isn't needed.
const LIBRARIES: [&str; 3] = ["libstd-rust-dev", "libc6", "libgcc-s1"];

/// Prefixes of the environment variables with which the user configures builds and tests. They
/// apply in the other system as well.
const WISHES: [&str; 4] = ["CARGO_BUILD_JOBS", "IPVS_TEST_", "PROPTEST_", "RUST_BACKTRACE"];

/// Enough for a program to print its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(60);

/// The other system, ready to use.
#[derive(Debug)]
pub(super) struct Root {
    /// `target/cross`. Build output stays there, beside the system.
    pub(super) folder: PathBuf,
}

/// A record of what was fetched, to recognise it later.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    asked_for: Vec<String>,
    unpacked: Vec<String>,
}

/// The root of the system kept in `folder`.
pub(super) fn system(folder: &Path) -> PathBuf {
    folder.join("root")
}

/// Returns the system, and fetches it first if it is missing. The caller holds the folder's lock.
pub(super) fn ensure(folder: &Path) -> Result<Root> {
    let root = Root { folder: folder.to_owned() };
    if !root.is_whole() {
        ensure!(
            std::env::consts::ARCH == "x86_64",
            "this takes an x86_64 machine, which runs 32-bit programs too, and this one is {}",
            std::env::consts::ARCH
        );
        root.fetch().context(
            "can't fetch a Debian to build in; without one, `cargo test` with Rust's own toolchains does what they can",
        )?;
    }
    Ok(root)
}

impl Root {
    fn is_whole(&self) -> bool {
        let stamp = std::fs::read(self.stamp())
            .ok()
            .and_then(|text| serde_json::from_slice::<Stamp>(&text).ok());
        stamp.is_some_and(|stamp| stamp.asked_for == asked_for())
    }

    fn stamp(&self) -> PathBuf {
        self.folder.join("root.json")
    }

    fn fetch(&self) -> Result<()> {
        let _ = std::fs::remove_file(self.stamp());
        let mut apt = Apt::debian(&self.folder.join("apt"), SUITE)?;
        apt.architectures(&["amd64"].iter().chain(&FOREIGN).copied().collect::<Vec<_>>());
        apt.update()?;
        let mut packages = apt.missing(&PROGRAMS)?;
        packages.extend(foreign(&packages)?);
        progress::now(&format!(
            "fetching and unpacking {} packages (400 MB, 1.8 GB unpacked)",
            packages.len()
        ));
        let system = system(&self.folder);
        let _ = std::fs::remove_dir_all(&system);
        let unpacked = apt.unpack(&packages, &system);
        if unpacked.is_err() {
            apt.forget();
        }
        unpacked?;
        furnish(&system)?;
        let stamp = Stamp { asked_for: asked_for(), unpacked: packages };
        std::fs::write(self.stamp(), serde_json::to_vec_pretty(&stamp)?)
            .context("can't stamp what was fetched")
    }

    /// The folder for the sources of the dependencies.
    pub(super) fn vendor(&self) -> PathBuf {
        self.folder.join("vendor")
    }

    /// The release of the system's compiler, such as 1.85.1.
    pub(super) fn compiler(&self) -> Result<String> {
        let said = succeed(self.command("/usr/bin/rustc").arg("--version"), VERSION_TIMEOUT)?;
        let release = said.strip_prefix("rustc ").and_then(|rest| rest.split_whitespace().next());
        release.map(Into::into).with_context(|| format!("the compiler calls itself {said:?}"))
    }

    /// The system's Cargo, which takes dependencies from [`Root::vendor`].
    pub(super) fn cargo(&self) -> Command {
        let mut command = self.command("/usr/bin/cargo");
        let directory = format!("source.vendored.directory='{FOLDER_INSIDE}/vendor'");
        for setting in ["source.crates-io.replace-with='vendored'", &directory] {
            command.args(["--config", setting]);
        }
        command
            .env("CARGO_HOME", format!("{FOLDER_INSIDE}/cargo"))
            .env("CARGO_TARGET_DIR", format!("{FOLDER_INSIDE}/build"));
        command
    }

    /// A command that runs a program of the system, inside it, on the checkout.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.arg("cross-inside").arg(&self.folder).arg("--").arg(program);
        let wishes = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            WISHES.iter().any(|wish| name.starts_with(wish))
        });
        command.env_clear().envs(wishes);
        command.envs([("PATH", "/usr/bin"), ("HOME", "/tmp"), ("LC_ALL", "C.UTF-8")]);
        command
    }
}

/// The names of the packages. If they change, everything is fetched again.
fn asked_for() -> Vec<String> {
    let foreign = FOREIGN.iter().flat_map(|architecture| {
        LIBRARIES.iter().map(move |library| format!("{library}:{architecture}"))
    });
    PROGRAMS.iter().map(ToString::to_string).chain(foreign).collect()
}

/// The libraries for other targets, in the same versions as this machine's among `packages`: a
/// compiler accepts only its own version of the standard library.
fn foreign(packages: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for library in LIBRARIES {
        let version = packages
            .iter()
            .find_map(|package| package.strip_prefix(library)?.strip_prefix('='))
            .with_context(|| format!("{library} is not among what the compiler needs"))?;
        found.extend(FOREIGN.map(|architecture| format!("{library}:{architecture}={version}")));
    }
    Ok(found)
}

/// Creates the files of a system that come from no package, or that only an installation would set
/// up.
fn furnish(system: &Path) -> Result<()> {
    for (link, target) in
        [("bin", "usr/bin"), ("lib", "usr/lib"), ("lib64", "usr/lib64"), ("usr/bin/cc", "gcc")]
    {
        symlink(target, system.join(link))
            .with_context(|| format!("can't make the system's /{link}"))?;
    }
    for folder in ["/dev", "/proc", "/tmp", "/etc", CHECKOUT_INSIDE, FOLDER_INSIDE] {
        let folder = system.join(folder.trim_start_matches('/'));
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
    }
    // No other name may resolve: tests must not depend on a network.
    std::fs::write(system.join("etc/hosts"), "127.0.0.1 localhost\n::1 localhost\n")
        .context("can't write the system's /etc/hosts")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_libraries_have_the_versions_of_the_native_ones() {
        let native = [
            "cargo=1.85.1-1",
            "libc6-dev=9",
            "libc6=2.41-12",
            "libgcc-s1=14.2",
            "libstd-rust-dev=1.85.1-1",
        ];
        let native = native.map(String::from);
        assert_eq!(
            foreign(&native).unwrap(),
            [
                "libstd-rust-dev:i386=1.85.1-1",
                "libstd-rust-dev:s390x=1.85.1-1",
                "libc6:i386=2.41-12",
                "libc6:s390x=2.41-12",
                "libgcc-s1:i386=14.2",
                "libgcc-s1:s390x=14.2",
            ]
        );
        assert!(foreign(&native[..3]).is_err());
    }
}
