//! `cargo xtask kernel`: kernels, and commands in them.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::kernel::boot::{Guest, terminal_size};
use crate::kernel::fetch::{self, Kernel};
use crate::kernel::job::Job;
use crate::kernel::{Choice, SERIES, Series};
use crate::{progress, tools};

/// Enough for the integration tests; a guest takes from the host only what it uses.
const MEMORY: u64 = 1024;

#[derive(Subcommand)]
pub(crate) enum KernelTask {
    /// Fetch kernels, without root, into target/kernels
    Fetch {
        /// Which series
        #[arg(default_value = "all")]
        which: Which,
    },
    /// List the kernels and whether they are there
    List,
    /// Run a command as root in a kernel with IPVS
    ///
    /// The command sees this machine's files, and may change them: what it changes is forgotten at the end, but for the folders
    /// named with --writable. Its standard output and error, its exit status and the environment pass through, and so does
    /// standard input unless that is a terminal.
    ///
    /// The exit status is the command's, 128 + n if signal n ended it, 124 at the deadline, and 125 if the command could not
    /// be run or the kernel failed.
    Run(Run),
    /// Open a root shell in a kernel with IPVS
    ///
    /// What it changes is forgotten at the end, but for the folders named with --writable.
    Shell(Shell),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Which {
    /// Linux 6.1, of Debian 12
    #[value(name = "6.1")]
    V6_1,
    /// Linux 6.12, of Debian 13
    #[value(name = "6.12")]
    V6_12,
    /// Linux 7.2, of Debian's unstable branch
    #[value(name = "7.2")]
    V7_2,
    All,
}

/// Options of everything that boots a kernel.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The kernel [default: 6.1 where it can be had, else host]
    #[arg(long, value_enum)]
    pub kernel: Option<Choice>,
    /// The guest's memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = MEMORY, value_parser = clap::value_parser!(u64).range(128..))]
    pub memory: u64,
    /// A folder that the guest may change; may be given several times
    #[arg(long, value_name = "FOLDER")]
    pub writable: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    place: Where,
    /// End the guest after this many seconds; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Give the command a terminal, as `shell` does
    #[arg(long, short)]
    tty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    place: Where,
}

impl KernelTask {
    pub(crate) fn run(self) -> Result<u8> {
        match self {
            Self::Fetch { which } => fetch_all(which),
            Self::List => list(),
            Self::Run(Run { place, timeout, tty, command }) => {
                let timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
                in_kernel(&place, command, tty, timeout)
            }
            Self::Shell(Shell { place }) => {
                let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
                // Like ssh: commands that come through a pipe need no terminal.
                in_kernel(&place, vec![shell], std::io::stdin().is_terminal(), None)
            }
        }
    }
}

impl Which {
    fn series(self) -> &'static [Series] {
        match self {
            Self::V6_1 => &SERIES[..1],
            Self::V6_12 => &SERIES[1..2],
            Self::V7_2 => &SERIES[2..],
            Self::All => &SERIES,
        }
    }
}

fn fetch_all(which: Which) -> Result<u8> {
    for series in which.series() {
        let kernel = fetch::ensure(*series)?;
        progress::done();
        println!("{}  {}", series.name, describe(&kernel));
    }
    Ok(0)
}

fn list() -> Result<u8> {
    for series in SERIES {
        let state = match fetch::find(series)? {
            Some(kernel) => describe(&kernel),
            None => "not fetched".to_owned(),
        };
        println!("{:6}{state}", series.name);
    }
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    println!("{:6}Linux {release}, this machine's own", "host");
    Ok(0)
}

fn describe(kernel: &Kernel) -> String {
    format!("Linux {}, user-mode-linux {}", kernel.release, kernel.package)
}

impl Where {
    /// The kernel that was asked for, or the one that can be had.
    pub(crate) fn choice(&self) -> Choice {
        self.kernel.unwrap_or_else(|| {
            let can_be_had =
                matches!(fetch::find(SERIES[0]), Ok(Some(_))) || fetch::obstacle().is_none();
            if can_be_had { Choice::V6_1 } else { Choice::Host }
        })
    }
}

/// Runs a command in the kernel that was asked for; its exit status.
fn in_kernel(
    place: &Where,
    command: Vec<OsString>,
    tty: bool,
    timeout: Option<Duration>,
) -> Result<u8> {
    let Some(series) = place.choice().series() else { bail!("not yet") };
    let kernel = fetch::ensure(series)?;
    let folders = tools::ensure(&tools::BASE)?;
    let job = Job {
        command,
        environment: environment(&folders),
        directory: std::env::current_dir().context("can't tell the current folder")?,
        writable: place.writable.iter().map(|folder| absolute(folder)).collect::<Result<_>>()?,
        modules: PathBuf::new(),
        terminal: tty.then(terminal_size),
    };
    progress::now(&format!("booting Linux {}", kernel.release));
    Guest { kernel: &kernel, job, timeout, memory: place.memory }.run()
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))
}

/// The environment for a command in a guest: the caller's, with what doesn't hold there replaced.
fn environment(folders: &[PathBuf]) -> Vec<(OsString, OsString)> {
    let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| {
            !["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR"]
                .iter()
                .any(|own| name == own)
        })
        .collect();
    for (name, value) in [
        ("PATH", tools::path(folders)),
        ("HOME", "/root".into()),
        ("USER", "root".into()),
        ("LOGNAME", "root".into()),
    ] {
        environment.push((name.into(), value));
    }
    environment
}
