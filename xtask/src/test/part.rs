//! The parts of a run that need a kernel. Each can be a process of its own, because a process has one
//! guest at a time, and several can then run at once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use lab::kernel::Choice;
use lab::process::{Event, watch_several};
use lab::userland::{MANAGERS, RIVALS, SERVERS};
use lab::{GuestOptions, Job, Program, ReadyKernel, paths, progress};
use rustix::process::{Signal, set_parent_process_death_signal};

use super::counts::{self, Counts};
use super::load::Load;
use super::summary::{Row, Summary};
use super::turns::Turns;
use super::{GUEST, INTEGRATION, KERNEL_VARIABLE, ON_KERNEL, Outcome, ROOMS_FOLLOW};
use crate::demo::Topic;
use crate::{cargo, docs};

/// The timeout for the integration tests of a part. They take a quarter of an hour at most.
const KERNEL_TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The timeout for those that were asked for by name. The endurance tests run only then and take hours, and
/// each test has a limit of its own.
const CHOSEN_TIMEOUT: Duration = Duration::from_secs(12 * 60 * 60);

/// The timeout for everything else that a part does: fetching, and a build.
const OTHER_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// How many files the original ldirectord and ours read in each run, and of how many they make tables.
/// Together these take two minutes.
const PARITY_FILES: u64 = 300;

/// See [`PARITY_FILES`].
const PARITY_TABLES: u64 = 20;

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

/// A part of a run.
#[derive(Debug, Clone, Args)]
pub(crate) struct Part {
    #[arg(long)]
    pub(super) what: What,
    #[arg(long, value_parser = Choice::named)]
    pub(super) kernel: Choice,
    #[command(flatten)]
    pub(super) guest: GuestOptions,
    #[command(flatten)]
    pub(super) programs: Programs,
    #[arg(long)]
    pub(super) rooms: Option<Rooms>,
    #[arg(long)]
    pub(super) filter: Option<String>,
    #[arg(long)]
    pub(super) times: u16,
    #[arg(long)]
    pub(super) load: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum What {
    /// The tests of the guest itself, and the integration tests.
    Kernel,
    /// The integration tests.
    Integration,
    Demo,
    /// The original ldirectord and ours, with a few files.
    Parity,
}

/// Rooms of the integration tests, which a guest of their own runs. Daemons and those who watch them mostly wait; the
/// others keep a processor busy. So guests share one well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Rooms {
    Failover,
    Director,
    /// All that the others leave.
    Tables,
}

impl Rooms {
    /// In the order in which they start: the longest one first, so that nothing is left to run alone, and beside it the
    /// one that keeps a processor busy.
    pub(super) const ALL: [Self; 3] = [Self::Failover, Self::Tables, Self::Director];

    /// What the names of its tests have in common; nothing for the rest.
    const fn prefix(self) -> Option<&'static str> {
        match self {
            Self::Failover => Some("failover::"),
            Self::Director => Some("director::"),
            Self::Tables => None,
        }
    }

    /// What they are called in reports.
    const fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::Director => "director",
            Self::Tables => "tables and traffic",
        }
    }

    /// The arguments with which the program of the integration tests runs these. Each test is in one of them,
    /// because the rest is what no other has.
    fn arguments(self) -> Vec<OsString> {
        match self.prefix() {
            Some(prefix) => vec![prefix.into()],
            None => {
                let others = Self::ALL.into_iter().filter_map(Self::prefix);
                others.flat_map(|prefix| ["--skip".into(), prefix.into()]).collect()
            }
        }
    }
}

/// Runs parts, at most `at_once` of them at a time. Returns what each of them reported, in their
/// order, in which their output comes, too.
pub(super) fn run_all(parts: &[Part], at_once: usize) -> Result<Vec<Row>> {
    if at_once == 1 || parts.len() == 1 {
        let mut summary = Summary::default();
        parts.iter().for_each(|part| part.run(&mut summary));
        return Ok(summary.rows);
    }
    let count = at_once.min(parts.len());
    progress::note(&format!("running {count} kernels at once; what each prints comes as a whole"));
    // One load for all, not one for each.
    let _load = Load::start(parts.iter().map(|part| part.load).max().unwrap_or(0));
    let limit = parts.iter().map(Part::limit).max().unwrap_or_default();
    let outcomes = parts.iter().map(Part::outcome).collect::<Result<Vec<PathBuf>>>()?;
    let commands = parts.iter().zip(&outcomes).map(|(part, outcome)| {
        let mut command = Command::new("/proc/self/exe");
        command.arg("test-part").args(Part { load: 0, ..part.clone() }.arguments()).arg(outcome);
        command
    });
    let mut commands: Vec<Command> = commands.collect();
    let mut turns = Turns::default();
    let mut ends = vec![None; parts.len()];
    watch_several(&mut commands, at_once, limit, &mut |part, event| {
        let print = &mut |line: &str| println!("{line}");
        match event {
            Event::Line(line) => turns.line(part, line, print),
            Event::End(status) => {
                ends[part] = Some(status);
                turns.end(part, print);
            }
        }
    })?;
    let mut summary = Summary::default();
    for ((part, outcome), end) in parts.iter().zip(&outcomes).zip(ends) {
        let rows = match end {
            Some(status) => read_rows(outcome).with_context(|| format!("it ended with {status}")),
            None => Err(anyhow::anyhow!("not run")),
        };
        match rows {
            Ok(rows) => summary.rows.extend(rows),
            Err(error) => summary.time(part.name(), || Err(error)),
        }
    }
    Ok(summary.rows)
}

/// What a part reported before it ended.
fn read_rows(outcome: &Path) -> Result<Vec<Row>> {
    let file = File::open(outcome).context("it left no outcome")?;
    let rows: Vec<Row> = serde_json::from_reader(file).context("it left half an outcome")?;
    ensure!(!rows.is_empty(), "it left an empty outcome");
    Ok(rows)
}

impl Part {
    /// The part as a process of its own, whose outcome goes to a file.
    pub(crate) fn run_alone(&self, outcome: &Path) -> Result<u8> {
        // A process that started this one and was killed reads no outcome. Guests end by this signal
        // together with all they consist of.
        set_parent_process_death_signal(Some(Signal::TERM))
            .context("can't tie this process to the one that started it")?;
        let mut summary = Summary::default();
        self.run(&mut summary);
        let file =
            File::create(outcome).with_context(|| format!("can't make {}", outcome.display()))?;
        serde_json::to_writer(file, &summary.rows).context("can't write the outcome")?;
        Ok(u8::from(summary.has_failed()))
    }

    fn run(&self, summary: &mut Summary) {
        match self.what {
            What::Demo => self.demo(summary),
            What::Parity => self.parity(summary),
            What::Kernel | What::Integration => self.in_kernel(summary),
        }
    }

    /// What to call it if it can't speak for itself.
    fn name(&self) -> String {
        match self.what {
            What::Demo => "demo".to_owned(),
            What::Parity => "parity of ldirectord".to_owned(),
            What::Kernel | What::Integration => {
                let rooms =
                    self.rooms.map(|rooms| format!(", {}", rooms.name())).unwrap_or_default();
                format!("kernel {}{rooms}", self.kernel.name())
            }
        }
    }

    fn limit(&self) -> Duration {
        on_kernel(self.filter.as_deref()) * u32::from(self.times) + OTHER_TIMEOUT
    }

    /// The file for its outcome, which isn't there.
    fn outcome(&self) -> Result<PathBuf> {
        let path = in_reports(&format!("{}.json", self.name()));
        make(path.parent().unwrap_or(&path))?;
        remove(&path)?;
        Ok(path)
    }

    /// The arguments of `test-part`.
    fn arguments(&self) -> Vec<OsString> {
        let Self { what, kernel, guest, programs, rooms, filter, times, load } = self;
        let what = word(what);
        let mut arguments = vec![
            format!("--what={what}").into(),
            format!("--kernel={}", kernel.name()).into(),
            format!("--times={times}").into(),
            format!("--load={load}").into(),
        ];
        arguments.extend(guest.arguments().into_iter().map(OsString::from));
        arguments.extend(programs.arguments());
        arguments.extend(rooms.map(|rooms| format!("--rooms={}", word(&rooms)).into()));
        arguments.extend(filter.as_ref().map(|filter| format!("--filter={filter}").into()));
        arguments
    }

    fn in_kernel(&self, summary: &mut Summary) {
        let choice = self.kernel;
        let lab = Program::at(self.programs.lab.clone());
        let kernel = match ReadyKernel::prepare(choice, self.guest, &lab) {
            Ok(kernel) => kernel,
            Err(error) => {
                summary.time(self.name(), || Err(error));
                return;
            }
        };
        let name = match choice {
            Choice::Host => format!("Linux {} (this machine's own)", kernel.release()),
            _ => format!("Linux {}", kernel.release()),
        };
        let filter = self.filter.as_deref();
        let has_guest = matches!(self.rooms, None | Some(Rooms::Tables));
        if kernel.is_fetched() && self.what == What::Kernel && has_guest {
            let step = format!("{} on {name}", GUEST.name);
            progress::note(&step);
            summary.time(step, || GUEST.run(filter, Some(choice)));
        }
        for time in 1..=self.times {
            let mut step = format!("{ON_KERNEL}{name}");
            if self.times > 1 {
                write!(step, ", {time} of {}", self.times).expect("a string takes any text");
            }
            if let Some(rooms) = self.rooms {
                write!(step, "{ROOMS_FOLLOW}{}", rooms.name()).expect("a string takes any text");
            }
            progress::note(&step);
            summary.time(step, || {
                let _load = Load::start(self.load);
                self.run_integration(&kernel)
            });
        }
    }

    /// Runs the integration tests once.
    fn run_integration(&self, kernel: &ReadyKernel) -> Result<Option<Outcome>> {
        let filter = self.filter.as_deref();
        let report = Report::new(&self.name())?;
        let chosen = self
            .rooms
            .map_or_else(|| filter.into_iter().map(Into::into).collect(), Rooms::arguments);
        let limit = on_kernel(filter);
        let status = self.programs.job(self.kernel, chosen, limit, &report.folder).run(kernel)?;
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

    /// Compares the original ldirectord and ours with a few files: the same ones each time, because a
    /// test shouldn't fail by chance.
    fn parity(&self, summary: &mut Summary) {
        progress::note(&self.name());
        summary.time(self.name(), || {
            let mut command = Command::new("/proc/self/exe");
            command.args(["parity", "ldirectord", "--guests=1", "--kernel", self.kernel.name()]);
            command.args(self.guest.arguments());
            command.arg(format!("--files={PARITY_FILES}")).arg(format!("--tables={PARITY_TABLES}"));
            let succeeded = cargo::watch(&mut command, |line| println!("{line}"))?;
            ensure!(succeeded, "the original and ours differ");
            Ok(None)
        });
    }

    /// Runs the demos, which check their own claims, and compares what that of routing prints with its
    /// transcript, which comes from a single kernel.
    fn demo(&self, summary: &mut Summary) {
        for topic in [Topic::Routing, Topic::Cluster] {
            progress::note(&format!("the demo of {}", topic.what()));
            summary.time(format!("demo of {}", topic.what()), || {
                let printed = docs::transcript(topic, self.kernel)?;
                if self.kernel == docs::KERNEL && topic == Topic::Routing {
                    docs::check_transcript(&printed)?;
                }
                Ok(None)
            });
        }
    }
}

/// The programs that the integration tests consist of.
#[derive(Debug, Clone, Args)]
pub(crate) struct Programs {
    #[arg(long)]
    lab: PathBuf,
    #[arg(long)]
    tests: PathBuf,
    #[arg(long)]
    ipvsadm: PathBuf,
    #[arg(long)]
    ldirectord: PathBuf,
    #[arg(long)]
    vipd: PathBuf,
    #[arg(long)]
    director: PathBuf,
    /// The library's example that is tested under traffic.
    #[arg(long)]
    controller: PathBuf,
}

impl Programs {
    pub(crate) fn build(lab: &Program) -> Result<Self> {
        Ok(Self {
            lab: lab.path().to_owned(),
            tests: cargo::build(
                &["test", "-p", INTEGRATION, "--test", "integration", "--no-run"],
                "integration",
            )?,
            ipvsadm: cargo::build(&["build", "-p", "ipvsadm"], "ipvsadm")?,
            ldirectord: cargo::build(&["build", "-p", "ldirectord"], "ldirectord")?,
            vipd: cargo::build(&["build", "-p", "vip"], "vipd")?,
            director: cargo::build(&["build", "-p", "director-command"], "director")?,
            controller: cargo::build(
                &["build", "-p", "ipvs-client", "--features", "serde", "--example", "controller"],
                "controller",
            )?,
        })
    }

    /// Runs the integration tests with this in their name; returns whether each passed.
    pub(crate) fn verdicts(
        &self,
        choice: Choice,
        filter: &str,
        kernel: &ReadyKernel,
    ) -> Result<BTreeMap<String, bool>> {
        let report = Report::new(choice.name())?;
        // A failure is in the report.
        self.job(choice, vec![filter.into()], CHOSEN_TIMEOUT, &report.folder).run(kernel)?;
        counts::verdicts(&report.text()?)
    }

    /// The arguments that give another process the same programs.
    fn arguments(&self) -> [OsString; 14] {
        let Self { lab, tests, ipvsadm, ldirectord, vipd, director, controller } = self;
        let name = |name: &str| OsString::from(name);
        let path = |path: &Path| path.as_os_str().to_owned();
        [
            name("--lab"),
            path(lab),
            name("--tests"),
            path(tests),
            name("--ipvsadm"),
            path(ipvsadm),
            name("--ldirectord"),
            path(ldirectord),
            name("--vipd"),
            path(vipd),
            name("--director"),
            path(director),
            name("--controller"),
            path(controller),
        ]
    }

    /// `chosen` are the arguments that choose tests.
    fn job(&self, choice: Choice, chosen: Vec<OsString>, limit: Duration, report: &Path) -> Job {
        let mut command = vec![self.tests.clone().into_os_string()];
        command.extend(chosen);
        Job {
            command,
            environment: vec![
                ("IPVSADM", self.ipvsadm.clone().into()),
                ("LDIRECTORD", self.ldirectord.clone().into()),
                ("VIPD", self.vipd.clone().into()),
                ("DIRECTOR", self.director.clone().into()),
                ("CONTROLLER", self.controller.clone().into()),
                (KERNEL_VARIABLE, choice.name().into()),
                ("IPVS_TEST_REPORT", report.join(REPORT).into()),
                (
                    "RUST_BACKTRACE",
                    std::env::var_os("RUST_BACKTRACE").unwrap_or_else(|| "1".into()),
                ),
            ],
            tools: TOOLS,
            userlands: &[SERVERS, RIVALS, MANAGERS],
            writable: vec![report.to_owned()],
            timeout: Some(limit),
            ..Job::default()
        }
    }
}

/// How long integration tests may take on one kernel.
const fn on_kernel(filter: Option<&str>) -> Duration {
    match filter {
        Some(_) => CHOSEN_TIMEOUT,
        None => KERNEL_TIMEOUT,
    }
}

const REPORT: &str = "report.jsonl";

/// A word of an option.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
}

/// The report of integration tests in one guest. It is a file in its own folder, the only part
/// of the checkout that the guest may change.
struct Report {
    folder: PathBuf,
}

impl Report {
    fn new(guest: &str) -> Result<Self> {
        let folder = in_reports(guest);
        make(&folder)?;
        let report = folder.join(REPORT);
        remove(&report)?;
        Ok(Self { folder })
    }

    /// What tests have reported; nothing if none has run.
    fn text(&self) -> Result<String> {
        let path = self.folder.join(REPORT);
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            other => other.with_context(|| format!("can't read {}", path.display())),
        }
    }

    fn read(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        self.text()?.lines().try_for_each(|line| counts.read_report(line))?;
        Ok(counts)
    }
}

/// The path of what is kept about a part under this name.
fn in_reports(name: &str) -> PathBuf {
    paths::root().join("target/reports").join(name.replace(", ", "-").replace(' ', "-"))
}

/// Makes a folder.
fn make(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("can't make {}", folder.display()))
}

/// Removes a file that an earlier run may have left.
fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("can't remove the old {}", path.display()))
        }
        _ => Ok(()),
    }
}
