//! Servers of several processes and threads, frozen and killed as a whole.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::Background;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};

use crate::poll::eventually;

/// How long a signal may take to reach all processes.
const LIMIT: Duration = Duration::from_secs(30);

/// A program that runs in the background, in a process group of its own, with all the processes
/// that it starts in turn. Dropping it kills them.
///
/// A signal's effect comes later than kill(2) returns: one thread of each process takes the signal,
/// and until it runs, the others go on. So each method here waits for the effect.
///
/// ```no_run
/// use std::process::Command;
///
/// let server = ipvs_testkit::ProcessGroup::start(&mut Command::new("dnsmasq"))?;
/// server.freeze()?; // From here on, no process of it runs.
/// server.thaw()?;
/// drop(server); // From here on, none is left, and its ports are closed.
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct ProcessGroup(Background);

impl ProcessGroup {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// As for [`Background::start`].
    pub fn start(command: &mut Command) -> Result<Self> {
        Background::start(command.process_group(0)).map(Self)
    }

    /// Stops all of its processes where they are, and waits until none runs any more.
    ///
    /// # Errors
    ///
    /// None of them is left, or one goes on for 30 seconds.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        eventually(LIMIT, || {
            let running = running(self.pid())?;
            ensure!(running.is_empty(), "{}", running.join(", "));
            Ok(())
        })
        .context("not all threads of the process group have stopped")
    }

    /// Lets them go on after [`ProcessGroup::freeze`].
    ///
    /// # Errors
    ///
    /// None of them is left.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        kill_process_group(self.pid(), signal)
            .with_context(|| format!("cannot signal the process group {:?}", self.pid()))
    }
}

impl Deref for ProcessGroup {
    type Target = Background;

    fn deref(&self) -> &Background {
        &self.0
    }
}

impl DerefMut for ProcessGroup {
    fn deref_mut(&mut self) -> &mut Background {
        &mut self.0
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        let group = self.pid();
        // It fails if none is left.
        let _ = kill_process_group(group, Signal::KILL);
        // The first process becomes a zombie of the group, which only its parent can reap.
        let _ = self.wait(LIMIT);
        let gone = eventually(LIMIT, || {
            ensure!(test_kill_process_group(group).is_err(), "a process of {group:?} lives");
            Ok(())
        });
        if let Err(error) = gone {
            eprintln!("{group:?} stays behind: {error:#}");
        }
    }
}

/// The threads of a process group that are neither stopped nor dead, by `proc_pid_stat(5)`.
fn running(group: Pid) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for process in fs::read_dir("/proc")? {
        let process = process?.path();
        // What isn't a process has no such file, and a process may end meanwhile.
        let Ok(stat) = fs::read_to_string(process.join("stat")) else { continue };
        if fields(&stat).nth(2) != Some(&group.to_string()) {
            continue;
        }
        let Ok(threads) = fs::read_dir(process.join("task")) else { continue };
        for thread in threads {
            let Ok(stat) = thread.and_then(|it| fs::read_to_string(it.path().join("stat"))) else {
                continue;
            };
            if !matches!(fields(&stat).next(), Some("T" | "Z" | "X")) {
                found.push(stat.trim_end().to_owned());
            }
        }
    }
    Ok(found)
}

/// The fields after the name, which may have blanks and parentheses: state, parent, group.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frozen_group_has_no_thread_that_runs() {
        let mut command = Command::new("sh");
        command.args(["-c", "while :; do :; done & while :; do :; done & wait"]);
        let group = ProcessGroup::start(&mut command).unwrap();
        let three = || {
            let count = running(group.pid()).unwrap().len();
            ensure!(count == 3, "{count} processes");
            Ok(())
        };
        eventually(LIMIT, three).unwrap();
        for _ in 0..50 {
            group.freeze().unwrap();
            assert_eq!(running(group.pid()).unwrap(), [""; 0]);
            group.thaw().unwrap();
        }
        let pid = group.pid();
        drop(group);
        assert!(test_kill_process_group(pid).is_err());
    }
}
