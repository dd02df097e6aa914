//! A test runner for tests that need a kernel.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use lab::kernel::KernelVersion;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::cluster::{Cluster, Layout};
use crate::namespace::{Namespace, panic_message};

/// The default timeout of a test. It exists to end tests that hang, so it is far longer than any
/// test needs, even when sixteen others compete for the processor.
const LIMIT: Duration = Duration::from_secs(180);

/// How many tests run at a time. Network namespaces don't isolate them well enough to run more.
/// Before Linux 7.1, the virtual services of all namespaces share one hash table, and a list skips
/// or repeats some if services in another namespace come or go meanwhile.
const THREADS: usize = 1;

/// The body of a test: an error or a panic means failure.
type Body = fn(&mut Context) -> Result<()>;

/// A feature that a test requires: the only reason to skip a test.
#[derive(Clone, Copy, Debug)]
pub struct Requires {
    feature: &'static str,
    kernels: Kernels,
}

/// The kernels that have a feature.
#[derive(Clone, Copy, Debug)]
enum Kernels {
    Since(KernelVersion),
    Before(KernelVersion),
}

impl Requires {
    /// A feature of kernels from `since` on, `(5, 4)` for example.
    ///
    /// The version alone decides. On an older kernel, the test is skipped with a reason. On this or
    /// a newer one, it runs, and fails if the feature is missing after all.
    pub const fn kernel(feature: &'static str, since: (u32, u32)) -> Self {
        Self { feature, kernels: Kernels::Since(KernelVersion::new(since.0, since.1)) }
    }

    /// A feature that kernels from `end` on no longer have, or only have when configured to.
    ///
    /// Here too, the version alone decides.
    pub const fn kernel_before(feature: &'static str, end: (u32, u32)) -> Self {
        Self { feature, kernels: Kernels::Before(KernelVersion::new(end.0, end.1)) }
    }

    /// Why `running` lacks the feature, if it does.
    fn missing_on(&self, running: KernelVersion) -> Option<String> {
        let (missing, needed) = match self.kernels {
            Kernels::Since(first) => (running < first, format!("Linux {first}")),
            Kernels::Before(end) => (running >= end, format!("a Linux before {end}")),
        };
        missing.then(|| format!("{} needs {needed}, this is {running}", self.feature))
    }
}

/// A test and its requirements.
#[derive(Clone, Debug)]
pub struct Test {
    name: String,
    body: Body,
    requires: Vec<Requires>,
    limit: Duration,
    kernel_wide: bool,
}

impl Test {
    /// Creates the test `name`, by convention `module::function`.
    pub fn new(name: &str, body: Body) -> Self {
        let name = name.to_owned();
        Self { name, body, requires: Vec::new(), limit: LIMIT, kernel_wide: false }
    }

    /// Skips the test on kernels that lack `feature`.
    #[must_use]
    pub fn requires(mut self, feature: Requires) -> Self {
        self.requires.push(feature);
        self
    }

    /// Sets the test's timeout; the default is 3 minutes.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Marks a test that affects more than its own namespaces, for example by unloading a module.
    /// It runs while no other test does, and never on a kernel that is shared with others.
    #[must_use]
    pub fn kernel_wide(mut self) -> Self {
        self.kernel_wide = true;
        self
    }

    fn reason_to_skip(&self, kernel: &Kernel) -> Option<String> {
        if self.kernel_wide && kernel.is_host {
            return Some("host kernel".to_owned());
        }
        self.requires.iter().find_map(|feature| feature.missing_on(kernel.version))
    }
}

/// What a test gets to work with.
#[derive(Debug)]
pub struct Context {
    test: String,
    kernel: KernelVersion,
}

impl Context {
    /// Creates a fresh network namespace.
    ///
    /// # Errors
    ///
    /// See [`Namespace::create`].
    pub fn netns(&mut self, label: &str) -> Result<Namespace> {
        Namespace::create(&format!("{}{label}", namespace_label(&self.test)))
    }

    /// The beginning of the names of this test's namespaces, for what creates them by itself.
    pub fn label(&self) -> String {
        namespace_label(&self.test)
    }

    /// Creates a fresh cluster without web servers.
    ///
    /// # Errors
    ///
    /// See [`Cluster::build`].
    pub fn cluster(&mut self, layout: Layout) -> Result<Cluster> {
        let label = namespace_label(&self.test);
        Cluster::build(label.trim_end_matches(':'), layout, &mut |_| ())
    }

    /// Creates a fresh cluster with IPv4 and IPv6, without web servers.
    ///
    /// # Errors
    ///
    /// See [`Cluster::dual_stack`].
    pub fn dual_stack_cluster(&mut self, layout: Layout) -> Result<Cluster> {
        Cluster::dual_stack(namespace_label(&self.test).trim_end_matches(':'), layout)
    }

    /// The version of the running kernel, for behavior known to differ between versions.
    pub fn kernel(&self) -> KernelVersion {
        self.kernel
    }
}

/// The label of a test's namespaces. It is not a prefix of any other test's label.
fn namespace_label(test: &str) -> String {
    format!("{test}:")
}

/// The kernel that the tests run on.
#[derive(Clone, Copy, Debug)]
struct Kernel {
    version: KernelVersion,
    /// Whether others use it too: `IPVS_KERNEL=host`. Any other value names a kernel that was
    /// booted for the tests.
    is_host: bool,
}

/// Collects tests and runs them.
///
/// ```no_run
/// use ipvs_testkit::{Suite, Test};
///
/// fn main() -> std::process::ExitCode {
///     let mut suite = Suite::default();
///     suite.add(Test::new("netns::exists", |context| {
///         context.netns("one")?;
///         Ok(())
///     }));
///     suite.run()
/// }
/// ```
///
/// The command line is that of Rust's own test programs: a filter, `--list`, `--test-threads`… Two
/// environment variables matter. `IPVS_KERNEL` must name the kernel and is set by the code that
/// provides it; `host` means that the kernel has other users. `IPVS_TEST_REPORT` names a file to
/// which a line of JSON is appended for each test.
#[derive(Debug, Default)]
pub struct Suite {
    tests: Vec<Test>,
    preparation: Option<fn() -> Result<()>>,
}

impl Suite {
    /// Adds a test.
    pub fn add(&mut self, test: Test) {
        self.tests.push(test);
    }

    /// Sets what runs once before the first test; if it fails, no test runs.
    pub fn prepare(&mut self, preparation: fn() -> Result<()>) {
        self.preparation = Some(preparation);
    }

    /// Runs the tests that the command line selects; returns the exit code of the program.
    pub fn run(self) -> ExitCode {
        let mut arguments = Arguments::from_args();
        arguments.test_threads.get_or_insert(THREADS);
        match self.run_with(&arguments) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }

    fn run_with(self, arguments: &Arguments) -> Result<ExitCode> {
        let kernel = env::var_os("IPVS_KERNEL");
        ensure!(
            kernel.is_some() || arguments.list,
            "These tests want root and a Linux kernel with IPVS that they may use.\n\
             `cargo xtask test` boots one and runs them there."
        );
        if !arguments.list {
            println!("on Linux {}", rustix::system::uname().release().to_string_lossy());
            if let Some(prepare) = self.preparation {
                prepare().context("cannot get ready for the tests")?;
            }
        }
        let is_host = kernel.is_some_and(|kernel| kernel == "host");
        let run = Arc::new(Run {
            kernel: Kernel { version: KernelVersion::running()?, is_host },
            lock: env::current_exe().context("cannot find this program's file")?,
            report: Report::from_env()?,
            skipped: Mutex::default(),
        });
        let trials = self.tests.into_iter().map(|test| {
            let run = Arc::clone(&run);
            Trial::ignorable_test(test.name.clone(), move || run.one(&test))
        });
        let conclusion = libtest_mimic::run(arguments, trials.collect());
        if !arguments.list {
            run.print_skipped();
        }
        Ok(conclusion.exit_code())
    }
}

/// State shared by the tests of one run.
#[derive(Debug)]
struct Run {
    kernel: Kernel,
    /// The file whose lock makes tests take turns. It is the test program itself, which every
    /// process of a run has open and which needs no cleaning up.
    lock: PathBuf,
    report: Report,
    /// The names of the skipped tests, by reason.
    skipped: Mutex<BTreeMap<String, Vec<String>>>,
}

impl Run {
    fn one(&self, test: &Test) -> Result<Completion, Failed> {
        let start = Instant::now();
        let outcome = match test.reason_to_skip(&self.kernel) {
            Some(reason) => Outcome::Skipped(reason),
            None => match self.supervise(test) {
                Ok(()) => Outcome::Passed,
                Err(error) => Outcome::Failed(format!("{error:?}")),
            },
        };
        let outcome = match self.report.append(&test.name, &outcome, start.elapsed()) {
            Ok(()) => outcome,
            Err(error) => Outcome::Failed(format!("{error:#}")),
        };
        match outcome {
            Outcome::Passed => Ok(Completion::Completed),
            Outcome::Failed(reason) => Err(Failed::from(reason)),
            Outcome::Skipped(reason) => {
                let mut skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
                skipped.entry(reason.clone()).or_default().push(test.name.clone());
                Ok(Completion::ignored_with(reason))
            }
        }
    }

    /// Runs a test on its own thread, so that a test that hangs merely fails.
    fn supervise(&self, test: &Test) -> Result<()> {
        let _turn = self.take_turn(test.kernel_wide)?;
        let mut context = Context { test: test.name.clone(), kernel: self.kernel.version };
        let (body, limit) = (test.body, test.limit);
        let (done, outcome) = channel();
        let worker = thread::Builder::new()
            .name(test.name.clone())
            .spawn(move || done.send(body(&mut context)))
            .context("cannot start a thread")?;
        match outcome.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                // Unblock a test that waits for a program that doesn't end. The thread itself can't
                // be stopped, but the process exits without waiting for it.
                Namespace::sweep(&namespace_label(&test.name))?;
                Err(anyhow!("not done after {limit:?}"))
            }
            Err(RecvTimeoutError::Disconnected) => match worker.join() {
                Err(panic) => Err(anyhow!("panic: {}", panic_message(&*panic))),
                Ok(_) => Err(anyhow!("the test's thread ended without a result")),
            },
        }
    }

    /// Waits until the test may run. A file lock is used because a runner may start one process per
    /// test. The wait ends because every test has a deadline.
    fn take_turn(&self, alone: bool) -> Result<File> {
        let file = File::open(&self.lock);
        let file = file.with_context(|| format!("cannot open {:?}", self.lock))?;
        let operation =
            if alone { FlockOperation::LockExclusive } else { FlockOperation::LockShared };
        rustix::io::retry_on_intr(|| flock(&file, operation))
            .with_context(|| format!("cannot lock {:?}", self.lock))?;
        Ok(file)
    }

    fn print_skipped(&self) {
        let skipped = self.skipped.lock().unwrap_or_else(PoisonError::into_inner);
        for (reason, tests) in &*skipped {
            println!("{} skipped ({reason}): {}", tests.len(), tests.join(", "));
        }
    }
}

/// The outcome of a test, with the reason if it didn't pass.
#[derive(Debug)]
enum Outcome {
    Passed,
    Failed(String),
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed(_) => "failed",
            Self::Skipped(_) => "skipped",
        })
    }
}

/// The file that `IPVS_TEST_REPORT` names.
#[derive(Debug)]
struct Report {
    file: Option<File>,
}

/// A line of the report.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    outcome: String,
    reason: Option<&'a str>,
    /// How long it took, for who looks for what takes long.
    seconds: f64,
}

impl Report {
    fn from_env() -> Result<Self> {
        let Some(path) = env::var_os("IPVS_TEST_REPORT") else {
            return Ok(Self { file: None });
        };
        let file = OpenOptions::new().create(true).append(true).open(&path);
        Ok(Self { file: Some(file.with_context(|| format!("cannot open the report {path:?}"))?) })
    }

    /// Appends a line with a single write, so that lines from several processes don't mix.
    fn append(&self, name: &str, outcome: &Outcome, took: Duration) -> Result<()> {
        let Some(mut file) = self.file.as_ref() else {
            return Ok(());
        };
        let reason = match outcome {
            Outcome::Passed => None,
            Outcome::Failed(reason) | Outcome::Skipped(reason) => Some(reason.as_str()),
        };
        let seconds = took.as_millis() as f64 / 1000.0;
        let line = Line { name, outcome: outcome.to_string(), reason, seconds };
        let mut text = serde_json::to_string(&line)?;
        text.push('\n');
        file.write_all(text.as_bytes()).context("cannot write the report")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use rustix::fs::{MemfdFlags, memfd_create};

    use super::*;

    fn run_on(version: KernelVersion, is_host: bool) -> Run {
        Run {
            kernel: Kernel { version, is_host },
            lock: env::current_exe().unwrap(),
            report: Report { file: None },
            skipped: Mutex::default(),
        }
    }

    const OLD: KernelVersion = KernelVersion::new(5, 3);
    const NEW: KernelVersion = KernelVersion::new(5, 4);

    #[test]
    fn only_an_older_kernel_excuses_a_test() {
        let test = Test::new("gue", |_| Err(anyhow!("no gue here")))
            .requires(Requires::kernel("gue", (5, 4)));
        assert_eq!(
            test.reason_to_skip(&run_on(OLD, false).kernel).as_deref(),
            Some("gue needs Linux 5.4, this is 5.3")
        );
        assert!(run_on(NEW, false).one(&test).is_err(), "the feature is missing on a new kernel");
    }

    #[test]
    fn a_newer_kernel_excuses_a_test_of_what_was_removed() {
        let test = Test::new("iptables", |_| Err(anyhow!("no iptables here")))
            .requires(Requires::kernel_before("iptables", (5, 4)));
        assert_eq!(
            test.reason_to_skip(&run_on(NEW, false).kernel).as_deref(),
            Some("iptables needs a Linux before 5.4, this is 5.4")
        );
        assert!(run_on(OLD, false).one(&test).is_err(), "the feature is missing on an old kernel");
    }

    #[test]
    fn tests_that_touch_the_kernel_spare_the_hosts() {
        let test = Test::new("unload", |_| Ok(())).kernel_wide();
        let run = run_on(NEW, true);
        assert!(
            matches!(run.one(&test), Ok(Completion::Ignored { reason: Some(r) }) if r == "host kernel")
        );
        assert_eq!(run.skipped.into_inner().unwrap()["host kernel"], ["unload"]);
        assert!(matches!(run_on(NEW, false).one(&test), Ok(Completion::Completed)));
    }

    #[test]
    fn panics_and_hangs_are_failures() {
        let run = run_on(NEW, false);
        let panics = Test::new("panics", |_| panic!("on purpose"));
        let hangs = Test::new("hangs", |_| {
            thread::sleep(LIMIT);
            Ok(())
        })
        .limit(Duration::from_millis(50));
        assert_eq!(run.supervise(&panics).unwrap_err().to_string(), "panic: on purpose");
        assert_eq!(run.supervise(&hangs).unwrap_err().to_string(), "not done after 50ms");
    }

    #[test]
    fn the_report_is_a_line_a_test() {
        let mut file = File::from(memfd_create("report", MemfdFlags::CLOEXEC).unwrap());
        let report = Report { file: Some(file.try_clone().unwrap()) };
        let took = Duration::from_millis(1500);
        report.append("a::b", &Outcome::Passed, took).unwrap();
        report.append("c", &Outcome::Failed("said \"no\"\nand more".to_owned()), took).unwrap();
        report.append("d", &Outcome::Skipped("host kernel".to_owned()), took).unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(
            text,
            r#"{"name":"a::b","outcome":"passed","reason":null,"seconds":1.5}
{"name":"c","outcome":"failed","reason":"said \"no\"\nand more","seconds":1.5}
{"name":"d","outcome":"skipped","reason":"host kernel","seconds":1.5}
"#
        );
    }
}
