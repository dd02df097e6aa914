//! `cargo xtask cross`: tests the published crates with the oldest compiler they support, and on
//! 32-bit and big-endian machines.
//!
//! Debian's stable release has exactly that compiler, with a standard library and a linker for
//! every architecture it supports. So a small Debian is unpacked under `target/cross`, never
//! installed, and Cargo runs in it. It builds natively, for 32-bit x86, which the same machine
//! runs, and for a big-endian machine, which qemu-user emulates. IPVS's messages have the byte
//! order and alignment of the machine. A decoder that gets this wrong still works on `x86_64`, by
//! luck.

mod crates;
mod enter;
mod log;
mod root;

use std::fmt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

pub(crate) use self::enter::enter;

use self::crates::Crate;
use self::log::Log;
use self::root::Root;
use lab::paths::{self, Lock};
use lab::{process, progress};

use crate::test::counts::Counts;

/// Enough for a slow machine to build everything for one target and test it in an emulator.
const TIMEOUT: Duration = Duration::from_secs(3600);

#[derive(Debug, Args)]
pub(crate) struct Cross {
    /// Which target
    #[arg(long, value_enum, default_value_t = Which::All)]
    target: Which,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// 64-bit little-endian, this machine's own
    #[value(name = "x86_64")]
    X86_64,
    /// 32-bit little-endian
    I686,
    /// 64-bit big-endian, in an emulator
    S390x,
    All,
}

/// A kind of machine.
#[derive(Debug)]
struct Target {
    triple: &'static str,
    kind: &'static str,
    linker: &'static str,
    /// Runs its programs, if this machine can't.
    emulator: Option<&'static str>,
    /// The calls of Cargo, in order.
    steps: &'static [Step],
}

/// A call of Cargo.
#[derive(Debug)]
struct Step {
    arguments: &'static [&'static str],
    /// Selects the crates it applies to.
    concerns: fn(&Crate) -> bool,
}

/// Builds without tests, because they add dependencies and features that users of the crates don't
/// have.
const BUILD: Step = Step { arguments: &["build"], concerns: |_| true };

const TEST: Step = Step { arguments: &["test", "--no-fail-fast"], concerns: |_| true };

const TEST_LIBRARIES: Step =
    Step { arguments: &["test", "--no-fail-fast"], concerns: |one| !one.starts_programs() };

/// Runs only the unit tests of crates whose integration tests start a program. An emulated program
/// can't start one unless the machine's kernel knows the emulator.
const TEST_UNITS: Step =
    Step { arguments: &["test", "--no-fail-fast", "--lib"], concerns: Crate::starts_programs };

const TARGETS: [Target; 3] = [
    Target {
        triple: "x86_64-unknown-linux-gnu",
        kind: "64-bit little-endian",
        linker: "cc",
        emulator: None,
        // The promised compiler version is the same for all targets.
        steps: &[BUILD, TEST],
    },
    Target {
        triple: "i686-unknown-linux-gnu",
        kind: "32-bit little-endian",
        linker: "i686-linux-gnu-gcc",
        emulator: None,
        steps: &[TEST],
    },
    Target {
        triple: "s390x-unknown-linux-gnu",
        kind: "64-bit big-endian",
        linker: "s390x-linux-gnu-gcc",
        emulator: Some("qemu-s390x"),
        steps: &[TEST_LIBRARIES, TEST_UNITS],
    },
];

impl Which {
    fn targets(self) -> &'static [Target] {
        match self {
            Self::X86_64 => &TARGETS[..1],
            Self::I686 => &TARGETS[1..2],
            Self::S390x => &TARGETS[2..],
            Self::All => &TARGETS,
        }
    }
}

impl Cross {
    /// Runs the tests and returns the exit status.
    pub(crate) fn run(self) -> Result<u8> {
        let folder = paths::root().join("target/cross");
        let _lock = Lock::folder(&folder)?;
        let crates = crates::published()?;
        let root = root::ensure(&folder)?;
        let compiler = root.compiler()?;
        for published in &crates {
            ensure!(
                published.promises(&compiler),
                "{} promises to build with Rust {}, but Debian {} has {compiler}: one of the two has to change",
                published.name,
                published.rust_version.as_deref().unwrap_or("(no rust-version)"),
                root::SUITE
            );
        }
        progress::now("copying the dependencies' sources");
        crates::vendor(&root.vendor())?;

        let outcomes = self
            .target
            .targets()
            .iter()
            .map(|target| Ok((target, target.run(&root, &crates)?)))
            .collect::<Result<Vec<_>>>()?;
        progress::done();
        let names: Vec<&str> = crates.iter().map(|published| published.name.as_str()).collect();
        println!("{} with Rust {compiler} of Debian {}:", names.join(", "), root::SUITE);
        for (target, outcome) in &outcomes {
            println!("{:28}{:22}{outcome}", target.triple, target.kind);
            if target.emulator.is_some() {
                println!("{:28}(without the tests that start a program of ours)", "");
            }
        }
        Ok(u8::from(outcomes.iter().any(|(_, outcome)| !outcome.is_good())))
    }
}

/// The result for a target.
#[derive(Debug)]
struct Outcome {
    tests: Counts,
    /// The step that failed: a test failed or crashed, or something doesn't build.
    failed: Option<&'static str>,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.failed.is_none() && self.tests.failed == 0 && self.tests.passed > 0
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { passed, failed, skipped, .. } = self.tests;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")?;
        self.failed.map_or(Ok(()), |step| write!(f, "; cargo {step} FAILED"))
    }
}

impl Target {
    fn run(&self, root: &Root, crates: &[Crate]) -> Result<Outcome> {
        let mut outcome = Outcome { tests: Counts::default(), failed: None };
        let mut log = Log::default();
        // Given no package, Cargo would take all of them.
        let has_work = |step: &&Step| crates.iter().any(|one| (step.concerns)(one));
        for step in self.steps.iter().filter(has_work) {
            let name = step.arguments[0];
            progress::now(&format!("{}: cargo {name}", self.triple));
            let status = process::watch_all(&mut self.cargo(root, step, crates), TIMEOUT, |line| {
                outcome.tests.read_line(line);
                if let Some(doing) = log::doing(line) {
                    progress::now(&format!("{}: {doing}", self.triple));
                }
                log.push(line);
            });
            // Save the log on a timeout too: its last lines show what hung.
            let path = log.save(&root.folder, self.triple)?;
            let all_of_it = format!("all that was said is in {}", path.display());
            if !status.with_context(|| all_of_it.clone())?.success() {
                progress::done();
                log.show();
                progress::note(&all_of_it);
                outcome.failed = Some(name);
                break;
            }
        }
        progress::note(&format!("{}: {outcome}", self.triple));
        Ok(outcome)
    }

    fn cargo(&self, root: &Root, step: &Step, crates: &[Crate]) -> Command {
        let mut command = root.cargo();
        command.args(step.arguments).args(["--locked", "--offline", "--target", self.triple]);
        for concerned in crates.iter().filter(|one| (step.concerns)(one)) {
            command.args(["--package", &concerned.name]);
        }
        if step.arguments.contains(&"test") && self.triple != TARGETS[0].triple {
            // Before Rust 1.89, doc tests run on another target only with this flag, and a stable
            // compiler accepts it only with that variable. The variable also lets dependencies use
            // unstable features, so the promised compiler version is tested without it, on the
            // first target.
            command.args(["-Z", "doctest-xcompile"]).env("RUSTC_BOOTSTRAP", "1");
        }
        // Build scripts and procedural macros run on this machine, whatever the target.
        for target in [&TARGETS[0], self] {
            command.env(target.variable("LINKER"), target.linker);
        }
        if let Some(emulator) = self.emulator {
            command.env(self.variable("RUNNER"), emulator);
            // Emulated tests are slow: optimizing saves more time than it costs. Overflow checks
            // stay on.
            command.env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
        }
        command
    }

    /// The name of Cargo's environment variable for a setting of this target.
    fn variable(&self, setting: &str) -> String {
        format!("CARGO_TARGET_{}_{setting}", self.triple.to_uppercase().replace('-', "_"))
    }
}
