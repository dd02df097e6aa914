//! The programs that are compared, each run as its manual says.

use std::fmt;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::{Background, Finished, Namespace, TempDir, Userland, eventually, finish};
use rustix::process::{Pid, Signal, kill_process};

use super::config::Config;

/// How long a verb may take. The Perl program's `stop` doesn't wait for a check that hangs, but
/// `restart` does.
const VERB: Duration = Duration::from_secs(60);

/// How long a daemon may take to end.
const END: Duration = Duration::from_secs(60);

/// A user who isn't root: `daemon`, on Debian.
const SOMEBODY: u32 = 1;

/// A health checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `ldirectord` in Perl.
    Perl,
    /// keepalived, its checker alone.
    Keepalived,
    /// Ours.
    Ours,
}

impl Subject {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Perl, Self::Keepalived, Self::Ours];

    /// Its name in the table and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Perl => "ldirectord (Perl)",
            Self::Keepalived => "keepalived",
            Self::Ours => "ours",
        }
    }
}

/// A health checker in a director's namespace. Dropping it kills it.
#[derive(Debug)]
pub struct Daemon<'n> {
    subject: Subject,
    netns: &'n Namespace,
    folder: TempDir,
    config: PathBuf,
    log: PathBuf,
    /// Our program; a binary upgrade changes it.
    program: PathBuf,
    userland: Option<Userland>,
    /// keepalived stays in the foreground, to show what it says.
    foreground: Option<Background>,
    /// Whether it runs without the rights that let root read any file.
    confined: bool,
}

/// Runs a program without the rights that let root read any file. What it starts lacks them too.
const CONFINE: [&str; 2] = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

/// What a verb did.
#[derive(Debug)]
pub struct Said {
    /// The exit code; `None` if the program stays.
    pub code: Option<i32>,
    /// Both of its outputs.
    pub text: String,
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.text.lines().next().unwrap_or_default();
        match self.code {
            Some(code) => write!(f, "exit {code}, {line:?}"),
            None => write!(f, "runs, {line:?}"),
        }
    }
}

/// Longer than our daemon's longest pause before the next worker.
const RESPAWN: Duration = Duration::from_secs(60);

impl<'n> Daemon<'n> {
    /// Prepares a daemon; it doesn't start yet.
    ///
    /// # Errors
    ///
    /// If its program isn't there.
    pub fn new(subject: Subject, netns: &'n Namespace) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = TempDir::create(&format!("{}-daemon", netns.name()))?;
        // The instance is called after the file, and its socket's path has to be short.
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let config = folder.path().join(format!("{}-{number}.cf", std::process::id()));
        let log = folder.path().join("log");
        let userland = match subject {
            Subject::Ours => None,
            Subject::Perl | Subject::Keepalived => Some(Userland::rivals()?),
        };
        let program = match subject {
            Subject::Perl => "/usr/sbin/ldirectord".into(),
            Subject::Keepalived => "/usr/sbin/keepalived".into(),
            Subject::Ours => std::env::var_os("LDIRECTORD")
                .map(PathBuf::from)
                .context("LDIRECTORD doesn't name our ldirectord")?,
        };
        Ok(Self {
            subject,
            netns,
            folder,
            config,
            log,
            program,
            userland,
            foreground: None,
            confined: false,
        })
    }

    /// The program that this is.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The path of its configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Where it may leave what a test reads.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A configuration in its language.
    pub fn render(&self, config: &Config) -> String {
        match self.subject {
            Subject::Keepalived => config.keepalived(),
            Subject::Perl | Subject::Ours => config.ldirectord(&self.log),
        }
    }

    /// Replaces its configuration by a rename.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn configure(&self, config: &Config) -> Result<()> {
        self.write(&self.render(config))
    }

    /// Replaces its configuration by this text, by a rename.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn write(&self, text: &str) -> Result<()> {
        let new = self.folder.write("new", text)?;
        fs::rename(&new, &self.config).with_context(|| format!("cannot make {:?}", self.config))
    }

    /// Takes from it the rights that let root read any file, so that a file can be one that it may
    /// not read. This counts for what is started from now on.
    pub fn confine(&mut self) {
        self.confined = true;
    }

    /// Replaces its configuration by this text in a file of somebody else's, which only that user may
    /// read; by a rename. It has to be [confined](Self::confine).
    ///
    /// # Errors
    ///
    /// If the file can't be written, or it can be read all the same.
    pub fn write_unreadable(&self, text: &str) -> Result<()> {
        let new = self.folder.write("new", text)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        chown(&new, Some(SOMEBODY), Some(SOMEBODY))?;
        let read = finish(Command::new(CONFINE[0]).arg(CONFINE[1]).arg("cat").arg(&new), VERB)?;
        ensure!(read.stderr.contains("Permission denied"), "who is confined reads {new:?}");
        fs::rename(&new, &self.config).with_context(|| format!("cannot make {:?}", self.config))
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// If its program can't be run.
    pub fn start(&mut self) -> Result<Said> {
        match self.subject {
            Subject::Perl | Subject::Ours => self.verb("start"),
            Subject::Keepalived => {
                let pid = |name: &str| self.folder.path().join(name);
                let mut command = self.command();
                command.args(["-n", "-C", "-l", "-D", "-f"]).arg(&self.config);
                command.arg("-p").arg(pid("pid")).arg("-c").arg(pid("checkers.pid"));
                let mut process = Background::start(&mut command)?;
                // It doesn't say when it is ready.
                let status = process.wait(Duration::from_millis(500))?;
                let text = process.stdout()? + &process.stderr()?;
                self.foreground = Some(process);
                Ok(Said { code: status.map(|status| status.code().unwrap_or(-1)), text })
            }
        }
    }

    /// Runs it with its file and a verb.
    ///
    /// # Errors
    ///
    /// If its program can't be run, or doesn't end within a minute.
    pub fn verb(&self, verb: &str) -> Result<Said> {
        let mut command = self.command();
        command.arg(&self.config).args(verb.split(' '));
        let Finished { status, stdout, stderr, .. } = finish(&mut command, VERB)?;
        Ok(Said { code: Some(status.code().unwrap_or(-1)), text: stdout + &stderr })
    }

    /// Stops it as its manual says, and waits until it is gone. Says how long that took.
    ///
    /// # Errors
    ///
    /// If it doesn't end.
    pub fn stop(&mut self) -> Result<Duration> {
        let start = Instant::now();
        match self.subject {
            Subject::Perl | Subject::Ours => {
                let said = self.verb("stop")?;
                ensure!(said.code == Some(0), "stop: {said}");
            }
            Subject::Keepalived => self.signal(Signal::TERM)?,
        }
        eventually(END, || {
            if let Some(process) = &mut self.foreground {
                process.wait(Duration::ZERO)?;
            }
            let pids = self.pids()?;
            ensure!(pids.is_empty(), "{} processes are left", pids.len());
            Ok(())
        })?;
        self.foreground = None;
        Ok(start.elapsed())
    }

    /// Restarts it: with its verb, or by stopping and starting.
    ///
    /// # Errors
    ///
    /// If it doesn't stop or start.
    pub fn restart(&mut self) -> Result<Said> {
        match self.subject {
            Subject::Perl | Subject::Ours => self.verb("restart"),
            Subject::Keepalived => {
                self.stop()?;
                self.start()
            }
        }
    }

    /// Makes it read its file again, with SIGHUP to its main process.
    ///
    /// # Errors
    ///
    /// If it isn't running.
    pub fn hup(&self) -> Result<()> {
        self.signal(Signal::HUP)
    }

    /// Makes it read its file again, as its manual says.
    ///
    /// # Errors
    ///
    /// If its program can't be run.
    pub fn reload(&self) -> Result<Said> {
        match self.subject {
            Subject::Perl | Subject::Ours => self.verb("reload"),
            Subject::Keepalived => {
                self.hup()?;
                Ok(Said { code: None, text: String::new() })
            }
        }
    }

    /// Makes it notice that its file has changed: ldirectord looks by itself, others are told.
    ///
    /// # Errors
    ///
    /// If it isn't running.
    pub fn notice(&self) -> Result<()> {
        match self.subject {
            Subject::Perl | Subject::Ours => Ok(()),
            Subject::Keepalived => self.hup(),
        }
    }

    /// Kills all of its processes.
    ///
    /// # Errors
    ///
    /// If they don't die.
    pub fn kill(&mut self) -> Result<()> {
        eventually(END, || {
            let pids = self.pids()?;
            for pid in &pids {
                // It may have ended already.
                let _ = kill_process(*pid, Signal::KILL);
            }
            if let Some(process) = &mut self.foreground {
                process.wait(Duration::ZERO)?;
            }
            ensure!(pids.is_empty(), "{} processes are left", pids.len());
            Ok(())
        })?;
        self.foreground = None;
        Ok(())
    }

    /// Kills the youngest of its processes: of ours, the one that makes checks. Then waits until
    /// another one is there, which takes 30 seconds at most: a verb waits for 10 only.
    ///
    /// # Errors
    ///
    /// If it isn't running, or no other process comes.
    pub fn kill_worker(&self) -> Result<()> {
        let before = self.pids()?;
        let youngest = before.iter().copied().max_by_key(|pid| pid.as_raw_nonzero());
        kill_process(youngest.context("it isn't running")?, Signal::KILL)
            .context("cannot kill it")?;
        eventually(RESPAWN, || {
            let pids = self.pids()?;
            ensure!(pids.iter().any(|pid| !before.contains(pid)), "it has no other process yet");
            Ok(())
        })
    }

    /// Makes the next verbs those of a copy of our program, as an upgrade does.
    ///
    /// # Errors
    ///
    /// If the program can't be copied.
    pub fn upgrade(&mut self) -> Result<()> {
        let copy = self.folder.path().join("ldirectord-next");
        fs::copy(&self.program, &copy).context("cannot copy the program")?;
        self.program = copy;
        Ok(())
    }

    /// Whether a process of it runs.
    ///
    /// # Errors
    ///
    /// If `/proc` can't be read.
    pub fn runs(&self) -> Result<bool> {
        Ok(!self.pids()?.is_empty())
    }

    /// The memory of its processes that is in use, in kilobytes.
    ///
    /// # Errors
    ///
    /// If it isn't running.
    pub fn rss(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.pids()? {
            let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            sum += number.unwrap_or(0);
        }
        ensure!(sum > 0, "it isn't running");
        Ok(sum)
    }

    /// How many files its processes have open.
    ///
    /// # Errors
    ///
    /// If it isn't running.
    pub fn files(&self) -> Result<usize> {
        let mut sum = 0;
        for pid in self.pids()? {
            sum += fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?.count();
        }
        ensure!(sum > 0, "it isn't running");
        Ok(sum)
    }

    /// How long its processes have kept a processor busy.
    ///
    /// # Errors
    ///
    /// If it isn't running.
    pub fn cpu(&self) -> Result<Duration> {
        let mut ticks = 0;
        for pid in self.pids()? {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))?;
            // The name in brackets may have blanks; user and system time are the 14th and 15th.
            let rest = stat.rsplit_once(") ").context("no statistics")?.1;
            let times = rest.split(' ').skip(11).take(2);
            ticks += times.map(|time| time.parse::<u64>().unwrap_or(0)).sum::<u64>();
        }
        Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        let mut text =
            String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned();
        if let Some(process) = &self.foreground {
            text += &process.stdout().unwrap_or_default();
            text += &process.stderr().unwrap_or_default();
        }
        text
    }

    /// The end of its log, for messages.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn command(&self) -> Command {
        let by: &[&str] = if self.confined { &CONFINE } else { &[] };
        match &self.userland {
            Some(userland) => userland.command_by(by, self.netns, &self.program),
            None => self.netns.command_by(by, &self.program),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        // The main process is the oldest.
        let Some(pid) = self.pids()?.into_iter().min_by_key(|pid| pid.as_raw_nonzero()) else {
            bail!("it isn't running: {}", self.tail());
        };
        kill_process(pid, signal).context("cannot signal it")
    }

    /// Its processes: those with the path of the configuration on their command line, and their
    /// children.
    fn pids(&self) -> Result<Vec<Pid>> {
        let wanted = self.config.as_os_str().as_encoded_bytes();
        let mut pids = Vec::new();
        let mut others = Vec::new();
        for entry in fs::read_dir("/proc").context("cannot list /proc")? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| Pid::from_raw(name.parse().ok()?)) else {
                continue;
            };
            // A process that has just ended has neither, and one that waits to be reaped has no
            // command line.
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            // The name in brackets may have blanks.
            let rest = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
            let parent = rest.split(' ').nth(1).and_then(|pid| Pid::from_raw(pid.parse().ok()?));
            let is_dead = rest.starts_with(['Z', 'X']);
            if line.split(|byte| *byte == 0).any(|word| word == wanted) {
                pids.push(pid);
            } else if let (Some(parent), false) = (parent, is_dead) {
                others.push((pid, parent));
            }
        }
        let children = others.iter().filter(|(_, parent)| pids.contains(parent));
        let children: Vec<Pid> = children.map(|(pid, _)| *pid).collect();
        pids.extend(children);
        Ok(pids)
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.kill() {
            eprintln!("{} stays behind: {error:#}", self.subject.name());
        }
    }
}
