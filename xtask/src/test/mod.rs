//! `cargo xtask test`: runs all of the project's checks, step by step.

pub(crate) mod counts;
mod load;
mod packages;
pub(crate) mod part;
mod summary;
mod turns;

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use lab::kernel::Choice;
use lab::{KernelOptions, progress};

use crate::cargo::{self, cargo};
use crate::{dist, parity, site};
use counts::Counts;
use part::{Part, Programs, Rooms, What};
use summary::{Row, Summary};

/// The package whose tests need a kernel with IPVS; all other steps that run code leave it out.
const INTEGRATION: &str = "ipvs-tests";

/// The prefix of the names of steps that run the integration tests.
const ON_KERNEL: &str = "integration tests on ";

/// What is between the kernel and the rooms in such a name.
const ROOMS_FOLLOW: &str = ": ";

/// How many guests share a processor. Tests of daemons wait for more than half of the time.
const GUESTS_A_PROCESSOR: usize = 2;

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
    /// How many guests to run at once [default: two a processor, as far as memory goes]
    ///
    /// What each of them prints comes as a whole. One at a time is for measuring how long they take.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    at_once: Option<u16>,
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
            // It needs vip, which isn't published yet either.
            "--exclude",
            "director-command",
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
            let name = "manual pages, completions and packages";
            progress::note(name);
            summary.time(name.to_owned(), || dist::prove().map(|()| None));
            progress::note("the site");
            summary.time("site".to_owned(), || site::build().map(|_| None));
        }
        progress::note("building the programs for the kernel");
        let mut programs = None;
        summary.time("build for the kernel".to_owned(), || {
            programs = Some(Programs::build(&lab)?);
            if whole {
                parity::ldirectord::build()?;
            }
            if !self.integration {
                GUEST.build()?;
            }
            Ok(None)
        });
        match &programs {
            Some(programs) => summary.rows.extend(self.run_parts(programs, &choices, whole)?),
            None => choices.iter().for_each(|choice| {
                summary.missed(format!("kernel {}", choice.name()));
            }),
        }
        // A test that one kernel is too old or too new for must run on another.
        if Choice::FETCHED.iter().all(|choice| choices.contains(choice)) {
            let never = summary.never_run();
            if !never.is_empty() {
                summary.fail(format!("skipped on every kernel: {}", never.join(", ")));
            }
        }
        if filter.is_some() && summary.counts().total() == 0 {
            summary.fail("no test has a name that contains the filter".to_owned());
        }
        print!("{summary}");
        Ok(u8::from(summary.has_failed()))
    }

    /// Runs what needs a kernel, several kernels at once if the machine has room for that.
    fn run_parts(&self, programs: &Programs, choices: &[Choice], whole: bool) -> Result<Vec<Row>> {
        let part = |kernel, what, rooms| Part {
            what,
            kernel,
            rooms,
            guest: self.kernels.guest,
            programs: programs.clone(),
            filter: self.filter.clone(),
            times: self.times,
            load: self.load,
        };
        let what = if self.integration { What::Integration } else { What::Kernel };
        // A test that was asked for is in one of the rooms, and this machine's own kernel has one guest.
        let (split, one): (Vec<Choice>, Vec<Choice>) =
            choices.iter().partition(|it| self.filter.is_none() && it.series().is_some());
        let mut parts: Vec<Part> = one.into_iter().map(|choice| part(choice, what, None)).collect();
        for rooms in Rooms::ALL {
            parts.extend(split.iter().map(|choice| part(*choice, what, Some(rooms))));
        }
        if whole {
            parts.extend(choices.first().map(|choice| part(*choice, What::Demo, None)));
            parts.extend(choices.first().map(|choice| part(*choice, What::Parity, None)));
        }
        let at_once = match self.at_once {
            Some(count) => count.into(),
            // Nothing keeps parts on the machine's own kernel apart.
            None if choices.contains(&Choice::Host) => 1,
            None => self.kernels.guest.at_once(GUESTS_A_PROCESSOR),
        };
        part::run_all(&parts, at_once)
    }
}

/// The outcome of a step that runs tests.
#[derive(Debug)]
struct Outcome {
    counts: Counts,
    /// A problem that no test reported.
    problem: Option<String>,
}

impl Step {
    /// Builds its tests without running them.
    fn build(&self) -> Result<()> {
        let mut command = cargo();
        command.args(self.arguments).args(["--no-run", "--quiet"]);
        let built = cargo::watch(&mut command, |line| println!("{line}"))?;
        anyhow::ensure!(built, "`cargo {} --no-run` failed", self.arguments.join(" "));
        Ok(())
    }

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

/// Runs `work`, and returns its result and how long it took.
fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    (work(), start.elapsed())
}
