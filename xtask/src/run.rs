//! `cargo xtask kernel`: kernels, and commands in them.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::kernel::fetch::{self, Kernel};
use crate::kernel::{Choice, SERIES};
use crate::progress;
use crate::work::{Place, Where, Work, several};

#[derive(Subcommand)]
pub(crate) enum KernelTask {
    /// Fetch kernels, without root, into target/kernels
    Fetch {
        /// Which; all if not given
        #[arg(value_name = "KERNEL", value_parser = several())]
        kernels: Vec<Vec<Choice>>,
    },
    /// List the kernels and whether they are there
    List,
    /// Run a command as root in a kernel with IPVS
    ///
    /// The command sees this machine's files and may change them: what it changes is forgotten at
    /// the end, but for the folders named with --writable. Its standard output and error, its exit
    /// status and the environment pass through, and so does standard input unless that is a
    /// terminal.
    ///
    /// The exit status is the command's, 128 + n if signal n ended it, 124 at the deadline, and 125
    /// if the command could not be run or the kernel failed.
    Run(Run),
    /// Open a root shell in a kernel with IPVS
    ///
    /// What it changes is forgotten at the end, but for the folders named with --writable.
    Shell(Shell),
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    writable: Writable,
    /// End the command after this many seconds; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Give the command this terminal, as `shell` does
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
    #[command(flatten)]
    writable: Writable,
}

#[derive(Debug, Args)]
struct Writable {
    /// A folder in which changes last; may be given several times
    #[arg(long, value_name = "FOLDER")]
    writable: Vec<PathBuf>,
}

impl KernelTask {
    pub(crate) fn run(self) -> Result<u8> {
        match self {
            Self::Fetch { kernels } => fetch_all(&kernels.concat()),
            Self::List => list(),
            Self::Run(Run { place, writable, timeout, tty, command }) => {
                let timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
                in_kernel(&place, writable, command, tty, timeout)
            }
            Self::Shell(Shell { place, writable }) => {
                let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
                // Like ssh: commands that come through a pipe need no terminal.
                in_kernel(&place, writable, vec![shell], std::io::stdin().is_terminal(), None)
            }
        }
    }
}

fn fetch_all(kernels: &[Choice]) -> Result<u8> {
    let kernels = if kernels.is_empty() { &Choice::FETCHED } else { kernels };
    for choice in kernels {
        let series = choice.series().context("the host's own kernel can't be fetched")?;
        let kernel = fetch::ensure(series)?;
        progress::done();
        println!("{:6}{}", series.name, describe(&kernel));
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
    println!("{:6}Linux {}, this machine's own", "host", Place::Host.release());
    Ok(0)
}

fn describe(kernel: &Kernel) -> String {
    format!("Linux {}, user-mode-linux {}", kernel.release, kernel.package)
}

fn in_kernel(
    place: &Where,
    Writable { writable }: Writable,
    command: Vec<OsString>,
    terminal: bool,
    timeout: Option<Duration>,
) -> Result<u8> {
    let work = Work {
        command,
        environment: Vec::new(),
        programs: Vec::new(),
        tools: &[],
        writable,
        terminal,
        timeout,
        machine: place.machine,
    };
    work.run(&Place::prepare(place.choice(), place.machine)?)
}
