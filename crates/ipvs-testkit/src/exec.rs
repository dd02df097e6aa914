//! Programs that tests start: none is waited for without a deadline, and an error carries the
//! command line and what the program said.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// How long [`output`] lets a program run. None of those that tests call takes a second on an idle
/// machine; a loaded one may need a few.
const LIMIT: Duration = Duration::from_secs(30);

/// What a program that has ended left behind.
#[derive(Debug)]
pub struct Finished {
    /// The command line, for messages.
    pub command: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Finished {
    /// The standard output of a program that succeeded.
    ///
    /// # Errors
    ///
    /// If it ended with anything but status 0; the error shows all it said.
    pub fn success(self) -> Result<String> {
        ensure!(
            self.status.success(),
            "`{}` ended with {}\nstdout: {}\nstderr: {}",
            self.command,
            self.status,
            self.stdout.trim_end(),
            self.stderr.trim_end()
        );
        Ok(self.stdout)
    }
}

/// Runs a program to its end and returns its standard output.
///
/// # Errors
///
/// If it can't be started, runs for more than 30 seconds or ends with anything but status 0.
pub fn output(command: &mut Command) -> Result<String> {
    finish(command, LIMIT)?.success()
}

/// Runs a program to its end, whatever its status. Its standard input is as set in `command`.
///
/// # Errors
///
/// If it can't be started or runs for longer than `limit`, after which it is killed.
pub fn finish(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut program = Background::start(command)?;
    let Some(status) = program.wait(limit)? else {
        bail!(
            "`{}` was still running after {limit:?}\nstdout: {}\nstderr: {}",
            program.command,
            program.stdout()?.trim_end(),
            program.stderr()?.trim_end()
        );
    };
    let (stdout, stderr) = (program.stdout()?, program.stderr()?);
    Ok(Finished { command: program.command.clone(), status, stdout, stderr })
}

/// A program that runs while the test goes on, and is killed when this is dropped.
///
/// Its output goes to memory files rather than pipes: a program that writes more than anybody
/// reads can't block on it, and a grandchild that keeps the output open can't make a reader wait.
#[derive(Debug)]
pub struct Background {
    command: String,
    child: Child,
    stdout: File,
    stderr: File,
}

impl Background {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// If it can't be started: it isn't on `PATH`, for one.
    pub fn start(command: &mut Command) -> Result<Self> {
        let line = command_line(command);
        let (stdout, stderr) = (memory_file()?, memory_file()?);
        let child = command
            .stdout(Stdio::from(stdout.try_clone()?))
            .stderr(Stdio::from(stderr.try_clone()?))
            .spawn()
            .with_context(|| format!("cannot start `{line}`"))?;
        Ok(Self { command: line, child, stdout, stderr })
    }

    /// What it has written to its standard output so far.
    ///
    /// # Errors
    ///
    /// If the memory file can't be read, which only a lack of memory explains.
    pub fn stdout(&self) -> Result<String> {
        Ok(contents(&self.stdout)?)
    }

    /// What it has written to its standard error so far.
    ///
    /// # Errors
    ///
    /// As [`Background::stdout`].
    pub fn stderr(&self) -> Result<String> {
        Ok(contents(&self.stderr)?)
    }

    /// Waits for its end, for at most `limit`; `None` if it is still running then.
    ///
    /// # Errors
    ///
    /// If the kernel can't say (it is older than Linux 5.3, which has no `pidfd_open`).
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let status = wait(&mut self.child, limit);
        status.with_context(|| format!("cannot wait for `{}`", self.command))
    }

    /// An error that says so if the program has ended, together with what it said.
    ///
    /// # Errors
    ///
    /// If it has ended.
    pub fn still_running(&mut self) -> Result<()> {
        if let Some(status) = self.wait(Duration::ZERO)? {
            bail!("`{}` ended with {status}: {}", self.command, self.stderr()?.trim_end());
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself; and nothing survives SIGKILL, so that waiting ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    // The child hasn't been reaped, so the number is still its own.
    let pidfd = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
    let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut ended, Some(&limit)))?;
    child.try_wait()
}

fn memory_file() -> Result<File> {
    let fd = memfd_create("output", MemfdFlags::CLOEXEC).context("cannot make a memory file")?;
    Ok(File::from(fd))
}

/// Reads from the start without moving the offset, which the program that writes shares.
fn contents(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn command_line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::poll::eventually;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_and_status_come_back() {
        let finished = finish(&mut sh("echo out; echo err >&2; exit 3"), LIMIT).unwrap();
        assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), ("out\n", "err\n"));
        assert_eq!(finished.status.code(), Some(3));
        let error = finished.success().unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.contains("stderr: err"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_its_deadline() {
        let started = Instant::now();
        // The grandchild keeps the output open: what a reader of a pipe would wait for.
        let error = finish(&mut sh("sleep 60 & sleep 60"), Duration::from_millis(200))
            .unwrap_err()
            .to_string();
        assert!(error.contains("still running after 200ms"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_running_program_has_said_can_be_read() {
        let mut program = Background::start(&mut sh("echo before; sleep 60 & sleep 60")).unwrap();
        // However long the machine takes to start a shell.
        let said = eventually(LIMIT, || {
            let said = program.stdout()?;
            ensure!(!said.is_empty(), "nothing yet");
            Ok(said)
        });
        assert_eq!(said.unwrap(), "before\n");
        assert_eq!(program.wait(Duration::ZERO).unwrap(), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = output(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(error.to_string().contains("no-such-program-here"), "{error}");
    }

    #[test]
    fn dropping_kills() {
        let program = Background::start(Command::new("sleep").arg("60")).unwrap();
        let pid = Pid::from_child(&program.child);
        drop(program);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }
}
