//! `cargo xtask dist`: what a distribution needs besides the source. That is the manual pages and
//! completions, generated from ipvsadm's table of flags, and a Debian package that replaces
//! Debian's `ipvsadm`.

mod boot;
mod package;
mod replace;
mod service;
mod texts;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;

use lab::kernel::Choice;
use lab::paths::{self, Lock};
use lab::{KernelOption, ReadyKernel, progress};

use crate::cargo;

pub(crate) use self::boot::inside as boot_inside;
pub(crate) use self::texts::prove as prove_texts;

#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// Also test the package: that it replaces Debian's, and what its service is allowed to do
    ///
    /// Runs in a fetched kernel, where changes to this machine's files are discarded: installs
    /// Debian's ipvsadm, replaces it, uses the boot-time service, purges, and goes back; then boots
    /// a machine under systemd, with valid and with invalid rules.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    kernel: KernelOption,
}

impl Dist {
    pub(crate) fn run(&self) -> Result<u8> {
        let folder = paths::root().join("target/dist");
        let _lock = Lock::folder(&folder)?;
        let texts = texts::write_all(&folder)?;
        texts::check(&texts)?;
        progress::note("building ipvsadm");
        let program = cargo::build(
            &["build", "--release", "--config", "profile.release.strip=true", "-p", "ipvsadm"],
            "ipvsadm",
        )?;
        let package = package::build(&folder, &texts, &program)?;
        progress::done();
        for file in texts.all().chain([&package]) {
            println!("{}", file.display());
        }
        if self.check {
            service::check(&folder)?;
            let kernel = ReadyKernel::prepare(self.choice()?, self.kernel.guest, &cargo::lab()?)?;
            boot::check(&folder, &package, &kernel)?;
            return replace::check(&folder, &package, &kernel);
        }
        Ok(0)
    }
}

impl Dist {
    fn choice(&self) -> Result<Choice> {
        let choice = self.kernel.choice();
        // On the host, the changes to this machine's files would be permanent.
        ensure!(choice != Choice::Host, "this needs a fetched kernel, not this machine's own");
        Ok(choice)
    }
}

/// Writes a file, and creates its parent folders.
fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<PathBuf> {
    let failed = || format!("can't write {}", path.display());
    std::fs::create_dir_all(path.parent().with_context(failed)?).with_context(failed)?;
    std::fs::write(path, content).with_context(failed)?;
    Ok(path.to_owned())
}

/// Removes a folder that an earlier run may have left.
fn clear(folder: &Path) -> Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
