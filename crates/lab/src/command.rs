//! The command line of `lab`. Most of it also serves `cargo xtask kernel` and `cargo xtask doctor`.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use crate::guest::keeper::{self, Start};
use crate::job::{GuestOptions, Job, KernelOption, ReadyKernel, host_release, several};
use crate::kernel::fetch::{self, Kernel};
use crate::kernel::{Choice, SERIES};
use crate::program::Program;
use crate::{doctor, failure, init, namespaces, native, progress};

/// Runs commands on real Linux kernels with IPVS.
///
/// The kernels are User-Mode Linux, which is an ordinary program: fetched from Debian, it starts in
/// a second and needs no root.
#[derive(Parser)]
#[command(name = "lab", version, disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    #[command(flatten)]
    Kernel(KernelCommand),
    /// Find what this machine lacks for booting kernels, and what to do about it
    Doctor(DoctorCommand),

    /// Internal: keeps a guest from outliving the process that started it.
    #[command(hide = true)]
    Keeper { folders: Vec<PathBuf> },
    /// Internal: becomes a guest's kernel when it is told to.
    #[command(hide = true)]
    Gate(Start),
    /// Internal: becomes a command on a terminal.
    #[command(hide = true)]
    Terminal {
        terminal: PathBuf,
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Internal: a process to be traced.
    #[command(hide = true)]
    Tracee,
    /// Internal: makes namespaces, to show that they can be made.
    #[command(hide = true)]
    Namespaces,
    /// Internal: makes namespaces on this machine's own kernel.
    #[command(hide = true)]
    NativeNamespaces {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
    /// Internal: PID 1 of a process namespace on this machine's own kernel.
    #[command(hide = true)]
    NativeInit {
        #[arg(last = true)]
        command: Vec<OsString>,
    },
}

/// Runs the program `lab`. As the PID 1 of a guest, it never returns.
pub fn main() -> ExitCode {
    if init::is_init() {
        init::init();
    }
    match run(Arguments::parse().command) {
        Ok(status) => ExitCode::from(status),
        Err(error) => failure::report(&error),
    }
}

fn run(task: Task) -> Result<u8> {
    match task {
        Task::Kernel(command) => command.run(&Program::own()),
        Task::Doctor(command) => command.run(&Program::own()),
        Task::Keeper { folders } => keeper::keep(&folders),
        Task::Gate(start) => match keeper::pass_gate(&start)? {},
        Task::Terminal { terminal, command } => {
            match init::exec_on_terminal(&terminal, &command)? {}
        }
        Task::Tracee => match doctor::trial::tracee()? {},
        Task::Namespaces => namespaces::enter_own().map(|()| 0),
        Task::NativeNamespaces { command } => native::enter(&command),
        Task::NativeInit { command } => native::init(&command),
    }
}

/// Fetches kernels, lists them, and runs commands in them.
#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Fetch kernels, without root, into target/kernels
    Fetch {
        /// Which ones [default: all]
        #[arg(value_name = "KERNEL", value_parser = several())]
        kernels: Vec<Vec<Choice>>,
    },
    /// List the kernels and whether they are fetched
    List,
    /// Run a command as root in a kernel with IPVS
    ///
    /// The command sees this machine's files and may change them. Its changes are discarded at the
    /// end, except in folders named with --writable. Standard output, standard error, the exit
    /// status and the environment pass through; so does standard input, unless it is a terminal.
    ///
    /// The exit status is the command's, 128 + n if signal n killed it, 124 at the deadline, and 125
    /// if the command could not be run or the kernel failed.
    Run(Run),
    /// Open a root shell in a kernel with IPVS
    ///
    /// Its changes are discarded at the end, except in folders named with --writable.
    Shell(Shell),
}

/// Runs a command.
#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    kernel: KernelOption,
    #[command(flatten)]
    writable: Writable,
    /// Kill the command after this many seconds; 0 means no limit
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Give the command this terminal, as `shell` does
    #[arg(long, short)]
    tty: bool,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

/// Opens a shell.
#[derive(Debug, Args)]
pub struct Shell {
    #[command(flatten)]
    kernel: KernelOption,
    #[command(flatten)]
    writable: Writable,
}

#[derive(Debug, Args)]
struct Writable {
    /// A folder whose changes are kept; may be given several times
    #[arg(long, value_name = "FOLDER")]
    writable: Vec<PathBuf>,
}

/// Looks for what this machine lacks.
#[derive(Debug, Args)]
pub struct DoctorCommand {
    #[command(flatten)]
    options: GuestOptions,
}

impl DoctorCommand {
    /// Prints all findings; returns 1 if something is missing.
    ///
    /// # Errors
    ///
    /// The records of what was fetched can't be read.
    pub fn run(&self, program: &Program) -> Result<u8> {
        doctor::print(self.options, program)
    }
}

impl KernelCommand {
    /// Executes the command and returns the exit status.
    ///
    /// # Errors
    ///
    /// A kernel can't be fetched or booted, or a command can't be run in it.
    pub fn run(self, program: &Program) -> Result<u8> {
        match self {
            Self::Fetch { kernels } => fetch_all(&kernels.concat()),
            Self::List => list(),
            Self::Run(Run { kernel, writable, timeout, tty, command }) => {
                let timeout = (timeout > 0).then(|| Duration::from_secs(timeout));
                in_kernel(&kernel.prepare(program)?, writable, command, tty, timeout)
            }
            Self::Shell(Shell { kernel, writable }) => {
                let shell = std::env::var_os("SHELL").unwrap_or_else(|| "/bin/sh".into());
                // As with ssh, commands from a pipe need no terminal.
                let terminal = std::io::stdin().is_terminal();
                in_kernel(&kernel.prepare(program)?, writable, vec![shell], terminal, None)
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
    println!("{:6}Linux {}, this machine's own", "host", host_release());
    Ok(0)
}

fn describe(kernel: &Kernel) -> String {
    format!("Linux {}, user-mode-linux {}", kernel.release, kernel.package)
}

fn in_kernel(
    kernel: &ReadyKernel,
    Writable { writable }: Writable,
    command: Vec<OsString>,
    terminal: bool,
    timeout: Option<Duration>,
) -> Result<u8> {
    Job { command, writable, terminal, timeout, ..Job::default() }.run(kernel)
}
