//! A command and the kernel it runs in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::kernel::boot::{Guest, terminal_size};
use crate::kernel::fetch::{self, Kernel};
use crate::kernel::job::Job;
use crate::kernel::{Choice, SERIES, native};
use crate::{doctor, progress, tools};

/// What doesn't hold in the guest, where root is another user than the caller and /run is empty.
const NOT_PASSED: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR"];

/// The kernel to work in.
#[derive(Debug, Args)]
pub(crate) struct Where {
    /// The kernel [default: 6.1 where it can be had, else host]
    ///
    /// 6.1, 6.12 and 7.2 are fetched from Debian and run as an ordinary program. `host` is this
    /// machine's own kernel: that wants root and IPVS (`modprobe ip_vs`), gives the command
    /// namespaces of its own, and lets it change this machine's files.
    #[arg(long, value_name = "KERNEL", value_parser = one())]
    pub(crate) kernel: Option<Choice>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

/// The kernels to work in, one after the other.
#[derive(Debug, Args)]
pub(crate) struct Everywhere {
    /// The kernel; may be given several times, `all` is every one that is fetched [default: 6.1
    /// where it can be had, else host]
    #[arg(long = "kernel", value_name = "KERNEL", value_parser = several())]
    kernels: Vec<Vec<Choice>>,
    #[command(flatten)]
    pub(crate) machine: Machine,
}

#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Machine {
    /// The memory of a kernel that was fetched, in MiB; it takes from this machine only what it
    /// uses
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = memory())]
    pub(crate) memory: u64,
    /// Where this machine runs a kernel that was fetched: on `one` processor, that no other such
    /// kernel is on, what it does takes half the time [default: one]
    #[arg(long, value_name = "WHICH")]
    pub(crate) processors: Option<Processors>,
}

impl Machine {
    /// What says the same to another xtask.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--memory={}", self.memory)];
        if let Some(value) = self.processors.and_then(|which| which.to_possible_value()) {
            arguments.push(format!("--processors={}", value.get_name()));
        }
        arguments
    }
}

/// Processors of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Processors {
    One,
    Any,
}

fn memory() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(doctor::LEAST_MEMORY..)
}

fn one() -> impl TypedValueParser<Value = Choice> {
    PossibleValuesParser::new(Choice::ALL.map(Choice::name)).try_map(|name| Choice::named(&name))
}

/// Reads the name of a kernel, or `all`.
pub(crate) fn several() -> impl TypedValueParser<Value = Vec<Choice>> {
    let names = Choice::ALL.map(Choice::name).into_iter().chain(["all"]);
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "all" => Ok(Choice::FETCHED.to_vec()),
        name => Choice::named(name).map(|choice| vec![choice]),
    })
}

impl Where {
    /// The kernel that was asked for, or the one that can be had.
    pub(crate) fn choice(&self) -> Choice {
        self.kernel.unwrap_or_else(default_choice)
    }
}

impl Everywhere {
    /// The kernels that were asked for, each once, or the one that can be had.
    pub(crate) fn choices(&self) -> Vec<Choice> {
        let mut choices = Vec::new();
        for choice in self.kernels.iter().flatten() {
            if !choices.contains(choice) {
                choices.push(*choice);
            }
        }
        if choices.is_empty() {
            choices.push(default_choice());
        }
        choices
    }
}

fn default_choice() -> Choice {
    if matches!(fetch::find(SERIES[0]), Ok(Some(_))) {
        return Choice::V6_1;
    }
    match fetch::obstacle() {
        None => Choice::V6_1,
        Some(obstacle) => {
            progress::note(&format!(
                "using this machine's own kernel, because no other can be fetched: {obstacle}"
            ));
            Choice::Host
        }
    }
}

/// A command to be run as root in a kernel with IPVS.
#[derive(Debug)]
pub(crate) struct Work {
    /// The command and its arguments.
    pub(crate) command: Vec<OsString>,
    /// What is added to the caller's environment.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Folders to look for programs in before all others.
    pub(crate) programs: Vec<PathBuf>,
    /// Tools that the command wants.
    pub(crate) tools: &'static [&'static str],
    /// Folders that the command may change, if the kernel isn't the host's.
    pub(crate) writable: Vec<PathBuf>,
    /// Whether the command gets the user's terminal.
    pub(crate) terminal: bool,
    /// None: until the command ends by itself.
    pub(crate) timeout: Option<Duration>,
    pub(crate) machine: Machine,
}

/// A kernel that is ready for work.
#[derive(Debug)]
pub(crate) enum Place {
    Fetched(Kernel),
    Host,
}

impl Place {
    /// Fetches the kernel if need be, once it's clear that it can boot here.
    pub(crate) fn prepare(choice: Choice, machine: Machine) -> Result<Self> {
        let Some(series) = choice.series() else { return Ok(Self::Host) };
        doctor::before_boot(machine)?;
        fetch::ensure(series).map(Self::Fetched)
    }

    /// The kernel's release.
    pub(crate) fn release(&self) -> String {
        match self {
            Self::Fetched(kernel) => kernel.release.clone(),
            Self::Host => rustix::system::uname().release().to_string_lossy().into_owned(),
        }
    }
}

impl Work {
    /// Runs it; the exit status of the command.
    pub(crate) fn run(self, place: &Place) -> Result<u8> {
        let base = tools::ensure(&tools::BASE)?;
        let tools = tools::ensure(self.tools)?;
        let folders = [self.programs, tools, base].concat();
        let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| !NOT_PASSED.iter().any(|own| name == own))
            .collect();
        let own = [("HOME", "/root".into()), ("USER", "root".into()), ("LOGNAME", "root".into())];
        let path = [("PATH", tools::path(&folders))];
        for (name, value) in own.into_iter().chain(path).chain(self.environment) {
            environment.push((name.into(), value));
        }
        let job = Job {
            command: self.command,
            environment,
            directory: std::env::current_dir().context("can't tell the current folder")?,
            writable: self.writable.iter().map(|folder| absolute(folder)).collect::<Result<_>>()?,
            modules: PathBuf::new(),
            terminal: self.terminal.then(terminal_size),
        };
        match place {
            Place::Fetched(kernel) => {
                progress::now(&format!("booting Linux {}", kernel.release));
                let Machine { memory, processors } = self.machine;
                let spread = processors == Some(Processors::Any);
                Guest { kernel, job, timeout: self.timeout, memory, spread }.run()
            }
            Place::Host => {
                progress::done();
                native::run(&job, self.timeout)
            }
        }
    }
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))
}
