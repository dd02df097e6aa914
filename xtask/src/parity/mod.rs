//! `cargo xtask parity`: runs the same commands with our ipvsadm and the C program, and compares
//! the results.

pub(crate) mod ldirectord;
mod ldirectord_page;
mod ldirectord_sample;
mod report;
mod results;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};

use lab::kernel::Choice;
use lab::process::Running;
use lab::{Job, KernelOption, KernelOptions, Program, ReadyKernel, paths, progress};

use crate::cargo;
use results::{Corpus, Generated};

/// The timeout for a sequence, in seconds: several times what it takes on a busy machine.
const SECONDS_A_SEQUENCE: u64 = 10;

/// The timeout for the corpus.
const CORPUS: Duration = Duration::from_secs(40 * 60);

/// Many times longer than it takes to boot a kernel and shut it down.
const BOOT: Duration = Duration::from_secs(300);

/// The tools that the programs need.
const TOOLS: &[&str] = &["ip", "modprobe", "ipvsadm"];

/// The kernels that the documents' tables come from, each with the divisor of the number of random
/// sequences to run there. A process takes three times as long in the older guest.
const DOCS_KERNELS: [(Choice, u64); 2] = [(Choice::V6_1, 20), (Choice::V7_2, 1)];

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Parity {
    #[command(subcommand)]
    other: Option<Other>,
    #[command(flatten)]
    kernels: KernelOptions,
    /// The number of random command sequences
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
    sequences: u64,
    /// The seed of the random sequences: the same seed gives the same ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How many kernels run the random sequences at the same time [default: one for each processor]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..=64))]
    guests: Option<u64>,
    /// Compare with this other build of ours instead of the C program: then nothing may differ,
    /// neither JSON nor the bytes of requests
    #[arg(long, value_name = "PROGRAM", conflicts_with = "into_docs")]
    reference: Option<PathBuf>,
    /// Put the figures into docs/parity.md and README.md, from kernels 6.1 (with a twentieth of the
    /// random sequences) and 7.2
    #[arg(long, conflicts_with = "kernels")]
    into_docs: bool,
}

/// Another program than ipvsadm.
#[derive(Debug, Subcommand)]
enum Other {
    /// Compare our ldirectord with the original, on files made from a seed
    ///
    /// Both read each file: which of them they accept, and where the first error is, must be the same,
    /// except for the differences that ldirectord's README lists. Some files are also started with, in
    /// a kernel, and must lead to the same table.
    Ldirectord(ldirectord::Ldirectord),
}

/// A comparison in one kernel.
#[derive(Debug, Args)]
pub(crate) struct Part {
    #[command(flatten)]
    kernel: KernelOption,
    #[arg(long)]
    lab: PathBuf,
    #[arg(long)]
    program: PathBuf,
    #[arg(long)]
    ipvsadm: PathBuf,
    #[arg(long)]
    seconds: u64,
    /// The file for the results, and the programs to compare.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

impl Part {
    pub(crate) fn run(self) -> Result<u8> {
        let file = self.arguments.first().map(Path::new).context("no file for the results")?;
        let folder = file.parent().context("a file without a folder")?.to_owned();
        let command = [vec![self.program.into_os_string()], self.arguments].concat();
        let job = Job {
            command,
            environment: vec![("IPVSADM", self.ipvsadm.into())],
            tools: TOOLS,
            writable: vec![folder],
            timeout: Some(Duration::from_secs(self.seconds)),
            ..Job::default()
        };
        job.run(&self.kernel.prepare(&Program::at(self.lab))?)
    }
}

/// The programs that were built.
struct Programs {
    lab: Program,
    parity: PathBuf,
    ipvsadm: PathBuf,
}

impl Parity {
    pub(crate) fn run(self) -> Result<u8> {
        if let Some(Other::Ldirectord(ldirectord)) = &self.other {
            return ldirectord.run();
        }
        progress::now("building the programs");
        let programs = Programs {
            lab: cargo::lab()?,
            parity: cargo::build(&["build", "-p", "ipvs-tests", "--bin", "parity"], "parity")?,
            ipvsadm: cargo::build(&["build", "-p", "ipvsadm", "--release"], "ipvsadm")?,
        };
        let choices = match self.into_docs {
            true => DOCS_KERNELS.to_vec(),
            false => self.kernels.choices().into_iter().map(|choice| (choice, 1)).collect(),
        };
        let mut runs = Vec::new();
        let mut problems = Vec::new();
        for (choice, divisor) in choices {
            let release =
                ReadyKernel::prepare(choice, self.kernels.guest, &programs.lab)?.release();
            let corpus = self.corpus(choice, &programs)?;
            let generated = self.generated(choice, self.sequences.div_ceil(divisor), &programs)?;
            progress::done();
            print!("{}", report::summary(&release, &corpus, &generated));
            problems.extend(results::problems(&release, &corpus, &generated));
            runs.push(report::Run { release, corpus, generated });
        }
        for problem in &problems {
            println!("{problem}");
        }
        if problems.is_empty() && self.into_docs {
            report::write_docs(&runs)?;
        }
        Ok(u8::from(!problems.is_empty()))
    }

    fn corpus(&self, choice: Choice, programs: &Programs) -> Result<Corpus> {
        let file = folder(choice)?.join("corpus.json");
        let arguments = [file.clone().into(), "corpus".into()];
        let part = self.part(choice, programs, CORPUS, &arguments);
        run_all(vec![part], CORPUS)?;
        results::read(&file)
    }

    fn generated(&self, choice: Choice, sequences: u64, programs: &Programs) -> Result<Generated> {
        let folder = folder(choice)?;
        let guests = match self.guests {
            // This machine has only one kernel of its own.
            _ if choice == Choice::Host => 1,
            Some(guests) => guests,
            None => thread::available_parallelism().map_or(1, |count| count.get() as u64),
        };
        let share = sequences.div_ceil(guests);
        let limit = Duration::from_secs(600 + share * SECONDS_A_SEQUENCE);
        let mut parts = Vec::new();
        let mut files = Vec::new();
        for first in (0..guests).map(|guest| guest * share).filter(|at| *at < sequences) {
            let count = share.min(sequences - first);
            let file = folder.join(format!("generated-{first}.json"));
            let arguments: [OsString; 5] = [
                file.clone().into(),
                "generated".into(),
                self.seed.to_string().into(),
                first.to_string().into(),
                count.to_string().into(),
            ];
            parts.push(self.part(choice, programs, limit, &arguments));
            files.push(file);
        }
        run_all(parts, limit)?;
        let mut all = Generated::default();
        for file in files {
            all.add(results::read(&file)?);
        }
        Ok(all)
    }

    fn part(
        &self,
        choice: Choice,
        programs: &Programs,
        limit: Duration,
        arguments: &[OsString],
    ) -> Command {
        let mut command = Command::new("/proc/self/exe");
        command.args(["parity-part", "--kernel", choice.name()]);
        command.args(self.kernels.guest.arguments());
        command.arg("--lab").arg(programs.lab.path());
        command.arg("--program").arg(&programs.parity).arg("--ipvsadm").arg(&programs.ipvsadm);
        if let Some(reference) = &self.reference {
            // The guest inherits the environment of the process that starts it.
            command.env("IPVSADM_REFERENCE", reference);
        }
        command.arg("--seconds").arg(limit.as_secs().to_string());
        command.arg("--").args(arguments);
        command
    }
}

/// Runs processes in parallel, and fails if one of them fails. Each has the timeout `limit` for its
/// work in the kernel, plus the time to boot.
fn run_all(commands: Vec<Command>, limit: Duration) -> Result<()> {
    let deadline = Instant::now() + limit + BOOT;
    let mut parts = Vec::new();
    for mut command in commands {
        parts.push(Running::start(&mut command)?);
    }
    // Wait for all of them before reporting a failure.
    let mut ends = Vec::new();
    for part in &mut parts {
        ends.push(part.wait(deadline.saturating_duration_since(Instant::now()))?);
    }
    let succeeded = |end: &Option<ExitStatus>| end.is_some_and(|status| status.success());
    ensure!(ends.iter().all(succeeded), "the comparison wasn't completed");
    Ok(())
}

/// Creates the folder for the results of a kernel.
fn folder(choice: Choice) -> Result<PathBuf> {
    let folder = paths::root().join("target/reports").join(choice.name()).join("parity");
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(folder)
}
