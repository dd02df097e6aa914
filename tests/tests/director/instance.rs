//! An instance of `ldirectord` with a file of its own, and the table that it makes.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::{Background, Finished, Namespace, TempDir, eventually, finish};
use ipvs_tests::Reader;
use rustix::process::{Pid, Signal, kill_process};

/// Several times what anything here takes on a busy machine.
pub(super) const LIMIT: Duration = Duration::from_secs(40);

/// A virtual service with a web server on this machine.
pub(super) const ONE: &str =
    "virtual=10.0.0.1:80\n\treal=127.0.0.1:80 gate\n\tscheduler=rr\n\tchecktype=connect\n";

/// The table that it makes: the virtual service, and the real server once it is up.
pub(super) const SERVICE: &str = "-A -t 10.0.0.1:80 -s rr";
pub(super) const REAL: &str = "-a -t 10.0.0.1:80 -r 127.0.0.1:80 -g -w 1";

/// An instance with a file of its own. Dropping it kills it.
pub(super) struct Instance<'n> {
    netns: &'n Namespace,
    folder: TempDir,
    pub(super) name: String,
    pub(super) program: PathBuf,
}

impl<'n> Instance<'n> {
    pub(super) fn new(netns: &'n Namespace) -> Result<Self> {
        Self::labelled(netns, "daemon")
    }

    /// One of several in a namespace.
    pub(super) fn labelled(netns: &'n Namespace, label: &str) -> Result<Self> {
        let program = std::env::var_os("LDIRECTORD").context("LDIRECTORD names no program")?;
        let name = format!("{}-{label}", netns.name());
        let folder = TempDir::create(&name)?;
        Ok(Self { netns, folder, name: format!("{name}.cf"), program: program.into() })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file: the log and short intervals, and then `text`.
    pub(super) fn configure(&self, text: &str) -> Result<()> {
        let log = self.path("log");
        let head = format!("checkinterval=1\nchecktimeout=2\nlogfile=\"{}\"\n", log.display());
        let new = self.folder.write("new", &(head + text))?;
        Ok(fs::rename(new, self.path(&self.name))?)
    }

    pub(super) fn verb(&self, verb: &str) -> Result<Finished> {
        finish(self.netns.command(&self.program).args(self.words(verb)), LIMIT)
    }

    /// Begins a verb, and doesn't wait for its end.
    pub(super) fn begin(&self, verb: &str) -> Result<Background> {
        Background::start(self.netns.command(&self.program).args(self.words(verb)))
    }

    /// A verb that a shell script executes as `"$@"`. What the script mounts, only this sees.
    pub(super) fn verb_by(&self, script: &str, verb: &str) -> Result<Finished> {
        finish(&mut self.command_by(script, verb), LIMIT)
    }

    /// The same as a command.
    pub(super) fn command_by(&self, script: &str, verb: &str) -> Command {
        let mut command = self.netns.command("unshare");
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(&self.program);
        command.args(self.words(verb));
        command
    }

    /// The command line of a verb.
    fn words(&self, verb: &str) -> Vec<OsString> {
        let mut words: Vec<&str> = verb.split(' ').collect();
        let options: Vec<&str> =
            words.iter().copied().filter(|it| it.starts_with("--user")).collect();
        words.retain(|it| !it.starts_with("--user"));
        let options = options.into_iter().map(OsString::from);
        let rest = words.into_iter().map(OsString::from);
        options.chain([self.path(&self.name).into()]).chain(rest).collect()
    }

    /// The exit code of a verb.
    pub(super) fn code(&self, verb: &str) -> Result<i32> {
        self.verb(verb)?.status.code().context("ended by a signal")
    }

    pub(super) fn expect(&self, verb: &str, code: i32) -> Result<Finished> {
        let finished = self.verb(verb)?;
        ensure!(
            finished.status.code() == Some(code),
            "{verb}: {} instead of {code}:\n{}{}",
            finished.status,
            finished.stdout,
            finished.stderr
        );
        Ok(finished)
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        format!("/var/run/ldirectord.{}.pid", self.name).into()
    }

    pub(super) fn pid(&self) -> Result<Pid> {
        let text = fs::read_to_string(self.pid_file())?;
        Pid::from_raw(text.trim().parse()?).context("a pid of 0")
    }

    /// The parent, even if it isn't ready yet: the number in its lock.
    pub(super) fn locked_by(&self) -> Result<Pid> {
        let text = fs::read_to_string(format!("/var/run/ldirectord.{}.lock", self.name))?;
        Pid::from_raw(text.trim().parse()?).context("a pid of 0")
    }

    /// The worker: the child of the parent.
    pub(super) fn worker(&self) -> Result<Pid> {
        let parent = self.pid()?.as_raw_nonzero();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
        for child in children.split_whitespace() {
            let command = fs::read_to_string(format!("/proc/{child}/cmdline"))?;
            if command.contains("--worker") {
                return Pid::from_raw(child.parse()?).context("a pid of 0");
            }
        }
        bail!("there is no worker among {children:?}")
    }

    pub(super) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(self.path("log"))?)
    }
}

impl Drop for Instance<'_> {
    fn drop(&mut self) {
        if let Ok(pid) = self.pid() {
            let _ = kill_process(pid, Signal::KILL);
            let _ = fs::remove_file(self.pid_file());
        }
        for suffix in ["state", "lock", "sock"] {
            let _ = fs::remove_file(format!("/run/ldirectord/{}.{suffix}", self.name));
        }
    }
}

/// What `ipvsadm -S` says.
pub(super) fn table(netns: &Namespace) -> Result<Vec<String>> {
    Reader::new(netns)?.saved()
}

/// Waits until the table is this.
pub(super) fn until(netns: &Namespace, expected: &[&str]) -> Result<()> {
    eventually(LIMIT, || {
        let found = table(netns)?;
        ensure!(found == expected, "{found:#?}");
        Ok(())
    })
}

/// Waits until the table is this, in any order of virtual services.
pub(super) fn until_sorted(netns: &Namespace, expected: &[&str]) -> Result<()> {
    let mut expected: Vec<String> = expected.iter().map(|&line| line.to_owned()).collect();
    expected.sort();
    eventually(LIMIT, || {
        let mut found = table(netns)?;
        found.sort();
        ensure!(found == expected, "{found:#?}");
        Ok(())
    })
}
