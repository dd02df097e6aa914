//! `cargo xtask dist`: what a distribution needs besides the source. That is the manual pages and
//! completions, generated from the programs' own tables, and Debian packages: two that replace Debian's
//! `ipvsadm` and `ldirectord`, and `vipd` and `director`.

mod boot;
mod daemon;
mod director_texts;
mod failover;
mod package;
mod packages;
mod replace;
mod service;
mod texts;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use clap::builder::PossibleValuesParser;

use lab::kernel::Choice;
use lab::paths::{self, Lock};
use lab::{KernelOption, ReadyKernel, progress};

use self::package::Package;
use self::texts::Texts;
use crate::cargo;

pub(crate) use self::boot::inside as boot_inside;
pub(crate) use self::daemon::inside as daemon_inside;
pub(crate) use self::failover::inside as failover_inside;

#[derive(Debug, Args)]
pub(crate) struct Dist {
    /// The program whose package is built [default: all]
    #[arg(value_name = "PROGRAM", value_parser = programs())]
    programs: Vec<String>,
    /// Also test the packages: that two replace Debian's, and what their services are allowed to do
    ///
    /// Runs in a fetched kernel, where changes to this machine's files are discarded: installs
    /// Debian's packages, replaces them, uses the services, purges, and goes back; and boots machines
    /// under systemd, with valid and with invalid rules and configuration files.
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    kernel: KernelOption,
}

fn programs() -> PossibleValuesParser {
    PossibleValuesParser::new(packages::ALL.map(|package| package.program))
}

/// A package that was built.
struct Built {
    package: Package,
    texts: Texts,
    program: PathBuf,
    file: PathBuf,
}

impl Dist {
    pub(crate) fn run(&self) -> Result<u8> {
        let folder = paths::root().join("target/dist");
        let _lock = Lock::folder(&folder)?;
        let texts = texts::write_all(&folder)?;
        texts::check(&texts)?;
        let mut built = Vec::new();
        for (package, texts) in packages::ALL.into_iter().zip(texts) {
            if !self.wants(&package) {
                continue;
            }
            progress::note(&format!("building {}", package.program));
            let program = package.program()?;
            let file = package.build(&folder, &texts, &program)?;
            built.push(Built { package, texts, program, file });
        }
        progress::done();
        for file in built.iter().flat_map(|it| it.texts.all().chain([&it.file])) {
            println!("{}", file.display());
        }
        if self.check {
            return self.check(&folder, &built);
        }
        Ok(0)
    }

    fn wants(&self, package: &Package) -> bool {
        self.programs.is_empty() || self.programs.iter().any(|it| it == package.program)
    }

    fn check(&self, folder: &Path, built: &[Built]) -> Result<u8> {
        for it in built {
            service::check(folder, &it.package)?;
            it.package.lint(&it.file)?;
        }
        let kernel = ReadyKernel::prepare(self.choice()?, self.kernel.guest, &cargo::lab()?)?;
        for it in built {
            let status = match it.package.program {
                "ipvsadm" => {
                    boot::check(folder, &it.file, &kernel)?;
                    replace::check(folder, &it.file, &kernel)?
                }
                "ldirectord" => {
                    daemon::check(folder, it, &kernel)?;
                    0
                }
                // These two are tried together.
                _ => 0,
            };
            if status != 0 {
                return Ok(status);
            }
        }
        let pair: Vec<&Built> = ["vipd", "director"]
            .into_iter()
            .filter_map(|program| built.iter().find(|it| it.package.program == program))
            .collect();
        match pair.len() {
            0 => {}
            2 => failover::check(folder, &pair, &kernel)?,
            _ => bail!("vipd and director are tried together: name both"),
        }
        Ok(0)
    }

    fn choice(&self) -> Result<Choice> {
        let choice = self.kernel.choice();
        // On the host, the changes to this machine's files would be permanent.
        ensure!(choice != Choice::Host, "this needs a fetched kernel, not this machine's own");
        Ok(choice)
    }
}

/// What takes no kernel and no release build, for `cargo xtask test`: tests manual pages and
/// completions in the programs that read them, and builds the packages around a stand-in.
pub(crate) fn prove() -> Result<()> {
    let folder = paths::root().join("target/dist");
    let _lock = Lock::folder(&folder)?;
    let texts = texts::write_all(&folder)?;
    texts::check(&texts)?;
    progress::note("building packages around a stand-in");
    let folder = folder.join("stand-in");
    for (package, texts) in packages::ALL.iter().zip(&texts) {
        package.prove(&folder, texts)?;
    }
    clear(&folder)
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
