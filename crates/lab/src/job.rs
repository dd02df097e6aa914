//! A command and the kernel it runs in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};

use crate::guest::boot::{Guest, terminal_size};
use crate::guest::spec::Spec;
use crate::kernel::fetch::{self, Kernel};
use crate::kernel::{Choice, SERIES};
use crate::program::Program;
use crate::userland::{self, Userland};
use crate::{doctor, native, progress, tools};

/// Variables that are meaningless in the guest, where root isn't the caller and /run is empty.
const NOT_PASSED: [&str; 6] = ["PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_RUNTIME_DIR"];

/// The options that choose one kernel.
#[derive(Debug, Args)]
pub struct KernelOption {
    /// The kernel [default: 6.1 if it can be fetched, else host]
    ///
    /// 6.1, 6.12 and 7.2 are fetched from Debian and run as an ordinary program. `host` is this
    /// machine's own kernel: it needs root and IPVS (`modprobe ip_vs`), gives the command its own
    /// namespaces, and lets it change this machine's files.
    #[arg(long, value_name = "KERNEL", value_parser = one())]
    kernel: Option<Choice>,
    /// How a kernel that was fetched runs here.
    #[command(flatten)]
    pub guest: GuestOptions,
}

/// The options that choose kernels, one after the other.
#[derive(Debug, Args)]
pub struct KernelOptions {
    /// The kernel; may be given several times, and `all` means 6.1, 6.12 and 7.2 [default: 6.1 if it
    /// can be fetched, else host]
    #[arg(long = "kernel", value_name = "KERNEL", value_parser = several())]
    kernels: Vec<Vec<Choice>>,
    /// How kernels that were fetched run here.
    #[command(flatten)]
    pub guest: GuestOptions,
}

/// The options about how a kernel that was fetched runs on this machine.
#[derive(Debug, Clone, Copy, Args)]
pub struct GuestOptions {
    /// Memory of a fetched kernel, in MiB; it takes from this machine only what it uses
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = memory())]
    pub memory: u64,
    /// Which of this machine's processors run a fetched kernel; on one, its work takes half the time
    /// [default: one]
    #[arg(long, value_name = "WHICH")]
    pub processors: Option<Processors>,
}

impl GuestOptions {
    /// How many guests with these options this machine has memory for, if `each` of them share a processor;
    /// at least one. Guests that mostly wait share one well.
    pub fn at_once(self, each: usize) -> usize {
        doctor::guests_at_once(self, each)
    }

    /// The arguments that give another process the same options.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![format!("--memory={}", self.memory)];
        if let Some(value) = self.processors.and_then(|which| which.to_possible_value()) {
            arguments.push(format!("--processors={}", value.get_name()));
        }
        arguments
    }
}

/// Processors of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Processors {
    /// One; each gets a first fetched kernel before any gets a second one
    One,
    /// Whichever this machine chooses
    Any,
}

fn memory() -> impl TypedValueParser<Value = u64> {
    clap::value_parser!(u64).range(doctor::LEAST_MEMORY..)
}

fn one() -> impl TypedValueParser<Value = Choice> {
    PossibleValuesParser::new(Choice::ALL.map(Choice::name)).try_map(|name| Choice::named(&name))
}

/// Parses the name of a kernel, or `all`.
pub(crate) fn several() -> impl TypedValueParser<Value = Vec<Choice>> {
    let names = Choice::ALL.map(Choice::name).into_iter().chain(["all"]);
    PossibleValuesParser::new(names).try_map(|name| match name.as_str() {
        "all" => Ok(Choice::FETCHED.to_vec()),
        name => Choice::named(name).map(|choice| vec![choice]),
    })
}

impl KernelOption {
    /// The requested kernel, or else the one available here.
    pub fn choice(&self) -> Choice {
        self.kernel.unwrap_or_else(default_choice)
    }

    /// Prepares the kernel for running jobs.
    ///
    /// # Errors
    ///
    /// Those of [`ReadyKernel::prepare`].
    pub fn prepare(&self, program: &Program) -> Result<ReadyKernel> {
        ReadyKernel::prepare(self.choice(), self.guest, program)
    }
}

impl KernelOptions {
    /// The requested kernels, each once, or else the one available here.
    pub fn choices(&self) -> Vec<Choice> {
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

/// A kernel that is ready to run jobs.
#[derive(Debug)]
pub struct ReadyKernel {
    program: Program,
    options: GuestOptions,
    /// `None` for this machine's own kernel.
    fetched: Option<Kernel>,
}

impl ReadyKernel {
    /// Checks that the kernel can boot here, then fetches it if necessary.
    ///
    /// # Errors
    ///
    /// The kernel can't boot on this machine, or can't be fetched.
    pub fn prepare(choice: Choice, options: GuestOptions, program: &Program) -> Result<Self> {
        let fetched = match choice.series() {
            Some(series) => {
                doctor::before_boot(options, program)?;
                Some(fetch::ensure(series)?)
            }
            None => None,
        };
        Ok(Self { program: program.clone(), options, fetched })
    }

    /// The kernel's release.
    pub fn release(&self) -> String {
        match &self.fetched {
            Some(kernel) => kernel.release.clone(),
            None => host_release(),
        }
    }

    /// Whether this is a fetched kernel and not the machine's own.
    pub fn is_fetched(&self) -> bool {
        self.fetched.is_some()
    }

    /// The same kernel on these processors.
    #[must_use]
    pub fn on(&self, processors: Processors) -> Self {
        let options = GuestOptions { processors: Some(processors), ..self.options };
        Self { program: self.program.clone(), options, fetched: self.fetched.clone() }
    }
}

/// The release of this machine's own kernel.
pub(crate) fn host_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// A command to run as root in a kernel with IPVS.
#[derive(Debug, Default)]
pub struct Job {
    /// The command and its arguments.
    pub command: Vec<OsString>,
    /// Variables to add to the caller's environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// Folders to search for programs before all others.
    pub programs: Vec<PathBuf>,
    /// Tools that the command needs.
    pub tools: &'static [&'static str],
    /// Debian userlands that the command needs; [`Userland::variable`] says where each is.
    pub userlands: &'static [Userland],
    /// Folders that the command may change, if the kernel is not the host's.
    pub writable: Vec<PathBuf>,
    /// Whether the command gets the user's terminal.
    pub terminal: bool,
    /// `None`: no limit.
    pub timeout: Option<Duration>,
}

impl Job {
    /// Runs the command and returns its exit status.
    ///
    /// # Errors
    ///
    /// The command couldn't be run, or the kernel failed.
    pub fn run(self, kernel: &ReadyKernel) -> Result<u8> {
        let base = tools::ensure(&tools::BASE)?;
        let tools = tools::ensure(self.tools)?;
        let userlands = userland::variables(self.userlands)?;
        let folders = [self.programs, tools, base].concat();
        let mut environment: Vec<(OsString, OsString)> = std::env::vars_os()
            .filter(|(name, _)| !NOT_PASSED.iter().any(|own| name == own))
            .collect();
        let own = [("HOME", "/root".into()), ("USER", "root".into()), ("LOGNAME", "root".into())];
        let path = [("PATH", tools::path(&folders))];
        for (name, value) in own.into_iter().chain(path).chain(userlands).chain(self.environment) {
            environment.push((name.into(), value));
        }
        let spec = Spec {
            command: self.command,
            environment,
            directory: std::env::current_dir().context("can't tell the current folder")?,
            writable: self.writable.iter().map(|folder| absolute(folder)).collect::<Result<_>>()?,
            modules: PathBuf::new(),
            terminal: self.terminal.then(terminal_size),
        };
        let ReadyKernel { program, options: GuestOptions { memory, processors }, fetched } = kernel;
        let Some(kernel) = fetched else {
            progress::done();
            return native::run(&spec, self.timeout, program);
        };
        progress::now(&format!("booting Linux {}", kernel.release));
        let spread = *processors == Some(Processors::Any);
        Guest { program, kernel, spec, timeout: self.timeout, memory: *memory, spread }.run()
    }
}

fn absolute(folder: &Path) -> Result<PathBuf> {
    folder.canonicalize().with_context(|| format!("there is no folder {}", folder.display()))
}
