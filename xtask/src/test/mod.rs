//! `cargo xtask test`: runs all of the project's checks, step by step.

pub(crate) mod counts;
mod load;
mod packages;
mod summary;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use lab::kernel::Choice;
use lab::userland::SERVERS;
use lab::{Job, KernelOptions, Program, ReadyKernel, paths, progress};

use crate::cargo::{self, cargo};
use crate::{dist, docs, site};
use counts::Counts;
use load::Load;
use summary::Summary;

/// The timeout for all integration tests together on one kernel. They take up to half an hour, and
/// so does the endurance test, which runs only on request.
const KERNEL_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The tools that integration tests run, besides our own programs.
const TOOLS: &[&str] = &[
    "ip",
    "tc",
    "modprobe",
    "ipvsadm",
    "iptables-legacy",
    "nginx",
    "curl",
    "socat",
    "vsftpd",
    "tcpdump",
];

/// The package whose tests need a kernel with IPVS; all other steps that run code leave it out.
const INTEGRATION: &str = "ipvs-tests";

/// Tells tests which kernel they run on.
const KERNEL_VARIABLE: &str = "IPVS_KERNEL";

#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Run only tests whose name contains this, and no lints
    filter: Option<String>,
    /// Run only the integration tests
    #[arg(long)]
    integration: bool,
    /// Run the integration tests this many times on each kernel
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    times: u16,
    /// Keep this many busy loops running while the integration tests run
    #[arg(long, value_name = "N", default_value_t = 0)]
    load: u16,
    #[command(flatten)]
    kernels: KernelOptions,
}

/// A step that runs Cargo.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Checks the code, and passes or fails as a whole.
    Check,
    /// Runs tests.
    Tests,
}

const STEPS: [Step; 9] = [
    Step { name: "format", arguments: &["fmt", "--all", "--check"], kind: Kind::Check },
    Step {
        name: "lints",
        arguments: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        kind: Kind::Check,
    },
    Step {
        name: "lints with every feature",
        arguments: &[
            "clippy",
            "-p",
            "ipvs-sys",
            "-p",
            "ipvs-client",
            "--all-targets",
            "--all-features",
            "--",
            "-D",
            "warnings",
        ],
        kind: Kind::Check,
    },
    Step {
        // These aren't among the default test targets, so the other lints don't cover them.
        name: "lints of the guest's tests",
        arguments: &[
            "clippy",
            "-p",
            "lab",
            "--test",
            "guest",
            "--test",
            "processor_state",
            "--test",
            "doctor",
            "--",
            "-D",
            "warnings",
        ],
        kind: Kind::Check,
    },
    Step {
        name: "documentation",
        arguments: &["doc", "--workspace", "--no-deps", "--all-features"],
        kind: Kind::Check,
    },
    Step {
        // The packages to publish build on their own, without the rest of the workspace.
        name: "packages",
        arguments: &[
            "package",
            "--target-dir",
            packages::TARGET,
            "--workspace",
            "--exclude",
            "ipvs-testkit",
            "--exclude",
            "uml-xstate",
            "--exclude",
            "ipvs-fuzz-targets",
            "--exclude",
            INTEGRATION,
            "--exclude",
            "ipvs-benches",
            "--exclude",
            "lab",
            "--exclude",
            "splitmix",
            "--exclude",
            "xtask",
            "--quiet",
            "--allow-dirty",
        ],
        kind: Kind::Check,
    },
    Step {
        name: "unit and doc tests",
        arguments: &["test", "--workspace", "--exclude", INTEGRATION, "--no-fail-fast"],
        kind: Kind::Tests,
    },
    Step {
        name: "unit and doc tests with every feature",
        arguments: &[
            "test",
            "-p",
            "ipvs-sys",
            "-p",
            "ipvs-client",
            "--all-features",
            "--no-fail-fast",
        ],
        kind: Kind::Tests,
    },
    Step {
        name: "the integration tests' own parts",
        arguments: &["test", "-p", INTEGRATION, "--lib", "--no-fail-fast"],
        kind: Kind::Tests,
    },
];

/// Tests what `cargo xtask kernel` promises about a guest, on a fetched kernel.
const GUEST: Step = Step {
    name: "the guest itself",
    arguments: &[
        "test",
        "-p",
        "lab",
        "--test",
        "guest",
        "--test",
        "processor_state",
        "--test",
        "doctor",
        "--no-fail-fast",
    ],
    kind: Kind::Tests,
};

impl Test {
    pub(crate) fn run(self) -> Result<u8> {
        let lab = cargo::lab()?;
        let choices = self.kernels.choices();
        if choices.iter().any(|choice| choice.series().is_some()) {
            // Fail now, not after minutes of other tests.
            lab::before_boot(self.kernels.guest, &lab)?;
        }
        let mut summary = Summary::default();
        let filter = self.filter.as_deref();
        let whole = filter.is_none() && !self.integration;
        let wanted = |step: &Step| whole || !self.integration && step.kind == Kind::Tests;
        for step in STEPS.iter().filter(|step| wanted(step)) {
            progress::note(step.name);
            summary.time(step.name.to_owned(), || step.run(filter, None));
        }
        if whole {
            let name = "manual pages and completions";
            progress::note(name);
            summary.time(name.to_owned(), || dist::prove_texts().map(|()| None));
            progress::note("the site");
            summary.time("site".to_owned(), || site::build().map(|_| None));
        }
        progress::note("building the programs for the kernel");
        let mut programs = None;
        summary.time("build for the kernel".to_owned(), || {
            programs = Some(Programs::build()?);
            Ok(None)
        });
        for choice in &choices {
            match &programs {
                Some(programs) => self.in_kernel(*choice, &lab, programs, &mut summary),
                None => summary.missed(format!("kernel {}", choice.name())),
            }
        }
        // A test that one kernel is too old or too new for must run on another.
        if Choice::FETCHED.iter().all(|choice| choices.contains(choice)) {
            let never = summary.never_run();
            if !never.is_empty() {
                summary.fail(format!("skipped on every kernel: {}", never.join(", ")));
            }
        }
        if let (true, Some(choice)) = (whole, choices.first()) {
            demo(*choice, &mut summary);
        }
        if filter.is_some() && summary.counts().total() == 0 {
            summary.fail("no test has a name that contains the filter".to_owned());
        }
        print!("{summary}");
        Ok(u8::from(summary.has_failed()))
    }

    fn in_kernel(&self, choice: Choice, lab: &Program, programs: &Programs, summary: &mut Summary) {
        let kernel = match ReadyKernel::prepare(choice, self.kernels.guest, lab) {
            Ok(kernel) => kernel,
            Err(error) => {
                summary.time(format!("kernel {}", choice.name()), || Err(error));
                return;
            }
        };
        let name = match choice {
            Choice::Host => format!("Linux {} (this machine's own)", kernel.release()),
            _ => format!("Linux {}", kernel.release()),
        };
        let filter = self.filter.as_deref();
        if kernel.is_fetched() && !self.integration {
            let step = format!("{} on {name}", GUEST.name);
            progress::note(&step);
            summary.time(step, || GUEST.run(filter, Some(choice)));
        }
        for time in 1..=self.times {
            let mut step = format!("{ON_KERNEL}{name}");
            if self.times > 1 {
                write!(step, ", {time} of {}", self.times).expect("a string takes any text");
            }
            progress::note(&step);
            summary.time(step, || {
                let _load = Load::start(self.load);
                self.run_integration(choice, programs, &kernel)
            });
        }
    }

    /// Runs the integration tests once.
    fn run_integration(
        &self,
        choice: Choice,
        programs: &Programs,
        kernel: &ReadyKernel,
    ) -> Result<Option<Outcome>> {
        let filter = self.filter.as_deref();
        let report = Report::new(choice)?;
        let status = programs.job(choice, filter, &report.folder).run(kernel)?;
        let counts = report.read()?;
        // The filter may be meant for other tests.
        let problem = if counts.total() == 0 && filter.is_none() {
            Some("they reported no test".to_owned())
        } else {
            // A reported failure needs no further explanation.
            (status != 0 && counts.failed == 0).then(|| format!("they ended with status {status}"))
        };
        Ok(Some(Outcome { counts, problem }))
    }
}

/// Runs the demo, which checks its own claims, and compares its output with the transcript. The
/// transcript comes from a single kernel.
fn demo(choice: Choice, summary: &mut Summary) {
    progress::note("the demo");
    summary.time("demo".to_owned(), || {
        let printed = docs::transcript(choice)?;
        if choice == docs::KERNEL {
            docs::check_transcript(&printed)?;
        }
        Ok(None)
    });
}

/// The outcome of a step that runs tests.
#[derive(Debug)]
struct Outcome {
    counts: Counts,
    /// A problem that no test reported.
    problem: Option<String>,
}

impl Step {
    /// Runs the step. A check has no outcome except an error.
    fn run(&self, filter: Option<&str>, kernel: Option<Choice>) -> Result<Option<Outcome>> {
        if self.arguments.first() == Some(&"package") {
            packages::forget_unpacked()?;
        }
        let mut command = cargo();
        command.args(self.arguments);
        if let Some(kernel) = kernel {
            command.env(KERNEL_VARIABLE, kernel.name());
        }
        // rustdoc warns about broken links.
        command.env("RUSTDOCFLAGS", "-D warnings");
        if let (Kind::Tests, Some(filter)) = (self.kind, filter) {
            command.args(["--", filter]);
        }
        let mut counts = Counts::default();
        let succeeded = cargo::watch(&mut command, |line| {
            println!("{line}");
            counts.read_line(line);
        })?;
        let command = || format!("`cargo {}` failed", self.arguments.join(" "));
        match self.kind {
            Kind::Check => {
                anyhow::ensure!(succeeded, command());
                Ok(None)
            }
            Kind::Tests => {
                let problem = (!succeeded && counts.failed == 0).then(command);
                Ok(Some(Outcome { counts, problem }))
            }
        }
    }
}

/// The programs that the integration tests consist of.
#[derive(Debug)]
struct Programs {
    tests: PathBuf,
    ipvsadm: PathBuf,
    ldirectord: PathBuf,
    /// The library's example that is tested under traffic.
    controller: PathBuf,
}

impl Programs {
    fn build() -> Result<Self> {
        Ok(Self {
            tests: cargo::build(
                &["test", "-p", INTEGRATION, "--test", "integration", "--no-run"],
                "integration",
            )?,
            ipvsadm: cargo::build(&["build", "-p", "ipvsadm"], "ipvsadm")?,
            ldirectord: cargo::build(&["build", "-p", "ldirectord"], "ldirectord")?,
            controller: cargo::build(
                &["build", "-p", "ipvs-client", "--features", "serde", "--example", "controller"],
                "controller",
            )?,
        })
    }

    fn job(&self, choice: Choice, filter: Option<&str>, report: &Path) -> Job {
        let mut command = vec![self.tests.clone().into_os_string()];
        command.extend(filter.map(Into::into));
        Job {
            command,
            environment: vec![
                ("IPVSADM", self.ipvsadm.clone().into()),
                ("LDIRECTORD", self.ldirectord.clone().into()),
                ("CONTROLLER", self.controller.clone().into()),
                (KERNEL_VARIABLE, choice.name().into()),
                ("IPVS_TEST_REPORT", report.join(REPORT).into()),
                (
                    "RUST_BACKTRACE",
                    std::env::var_os("RUST_BACKTRACE").unwrap_or_else(|| "1".into()),
                ),
            ],
            tools: TOOLS,
            userlands: &[SERVERS],
            writable: vec![report.to_owned()],
            timeout: Some(KERNEL_TIMEOUT),
            ..Job::default()
        }
    }
}

const REPORT: &str = "report.jsonl";

/// The prefix of the names of steps that run the integration tests.
const ON_KERNEL: &str = "integration tests on ";

/// The report of the integration tests on one kernel. It is a file in its own folder, the only part
/// of the checkout that the guest may change.
struct Report {
    folder: PathBuf,
}

impl Report {
    fn new(choice: Choice) -> Result<Self> {
        let folder = paths::root().join("target/reports").join(choice.name());
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("can't make {}", folder.display()))?;
        let report = folder.join(REPORT);
        match std::fs::remove_file(&report) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error)
                    .with_context(|| format!("can't remove the old {}", report.display()));
            }
            _ => {}
        }
        Ok(Self { folder })
    }

    fn read(&self) -> Result<Counts> {
        let path = self.folder.join(REPORT);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            other => other.with_context(|| format!("can't read {}", path.display()))?,
        };
        let mut counts = Counts::default();
        text.lines().try_for_each(|line| counts.read_report(line))?;
        Ok(counts)
    }
}

/// Runs `work`, and returns its result and how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}
