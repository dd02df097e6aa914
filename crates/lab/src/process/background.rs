//! Runs programs with captured output, and programs in the background.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::command_line;

/// The polling interval for a program's end where the kernel can't report it.
const TICK: Duration = Duration::from_millis(5);

/// The result of a program that has ended.
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
    /// Returns the standard output of a program that succeeded.
    ///
    /// # Errors
    ///
    /// The program ended with a status other than 0; the error shows all its output.
    pub fn success(self) -> Result<String> {
        let Self { command, status, stdout, stderr } = self;
        ensure!(status.success(), "`{command}` ended with {status}{}", quoted(&stdout, &stderr));
        Ok(stdout)
    }
}

/// Runs a program to its end and accepts any exit status. Its standard input is as set in
/// `command`.
///
/// # Errors
///
/// The program can't be started, or runs for longer than `limit` and is killed.
pub fn finish(command: &mut Command, limit: Duration) -> Result<Finished> {
    let mut program = Background::start(command)?;
    let Some(status) = program.wait(limit)? else {
        bail!(
            "`{}` was still running after {limit:?}{}",
            program.running.command,
            quoted(&program.stdout()?, &program.stderr()?)
        );
    };
    let (stdout, stderr) = (program.stdout()?, program.stderr()?);
    Ok(Finished { command: program.running.command.clone(), status, stdout, stderr })
}

/// Formats a program's output as the end of a message.
fn quoted(stdout: &str, stderr: &str) -> String {
    let mut text = String::new();
    for (name, said) in [("stdout", stdout), ("stderr", stderr)] {
        if !said.trim_end().is_empty() {
            text.push_str(&format!("\n{name}: {}", said.trim_end()));
        }
    }
    text
}

/// A program that runs in the background and is killed when this is dropped. Its streams are as set
/// in the command.
#[derive(Debug)]
pub struct Running {
    command: String,
    child: Child,
}

impl Running {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// The program can't be started, for example because it isn't on `PATH`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let line = command_line(command);
        let child = command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        Ok(Self { command: line, child })
    }

    /// The program's process ID, which stays its own until this is dropped.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Waits for the program to end, for at most `limit`; returns `None` if it is still running
    /// then.
    ///
    /// # Errors
    ///
    /// The kernel can't report the program's state.
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let status = wait(&mut self.child, limit);
        status.with_context(|| format!("cannot wait for `{}`", self.command))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself. Nothing survives SIGKILL, so the wait below ends.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A [`Running`] program whose output is captured.
///
/// The output goes to memory files rather than pipes. A program can't block on output that nobody
/// reads, and a grandchild that keeps the output open can't make a reader wait.
#[derive(Debug)]
pub struct Background {
    running: Running,
    stdout: File,
    stderr: File,
}

impl Background {
    /// Starts a program.
    ///
    /// # Errors
    ///
    /// The program can't be started, for example because it isn't on `PATH`.
    pub fn start(command: &mut Command) -> Result<Self> {
        let (stdout, stderr) = (memory_file()?, memory_file()?);
        command.stdout(Stdio::from(stdout.try_clone()?)).stderr(Stdio::from(stderr.try_clone()?));
        Ok(Self { running: Running::start(command)?, stdout, stderr })
    }

    /// The program's process ID, which stays its own until this is dropped.
    pub fn pid(&self) -> Pid {
        self.running.pid()
    }

    /// Returns what the program has written to its standard output so far.
    ///
    /// # Errors
    ///
    /// The memory file can't be read, which only happens when memory runs out.
    pub fn stdout(&self) -> Result<String> {
        Ok(contents(&self.stdout)?)
    }

    /// Returns what the program has written to its standard error so far.
    ///
    /// # Errors
    ///
    /// As for [`Background::stdout`].
    pub fn stderr(&self) -> Result<String> {
        Ok(contents(&self.stderr)?)
    }

    /// Waits for the program to end, for at most `limit`; returns `None` if it is still running
    /// then.
    ///
    /// # Errors
    ///
    /// As for [`Running::wait`].
    pub fn wait(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        self.running.wait(limit)
    }

    /// Checks that the program is still running.
    ///
    /// # Errors
    ///
    /// The program has ended; the error shows its output.
    pub fn still_running(&mut self) -> Result<()> {
        if let Some(status) = self.wait(Duration::ZERO)? {
            bail!("`{}` ended with {status}: {}", self.running.command, self.stderr()?.trim_end());
        }
        Ok(())
    }
}

/// Waits with the kernel's help, or else by polling: older kernels and some sandboxes lack
/// `pidfd_open`.
fn wait(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    if let Some(status) = child.try_wait()? {
        return Ok(Some(status));
    }
    // The child hasn't been reaped, so the pid is still its own.
    match pidfd_open(Pid::from_child(child), PidfdFlags::empty()) {
        Ok(pidfd) => {
            let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
            let mut ended = [PollFd::new(&pidfd, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut ended, Some(&limit)))?;
            child.try_wait()
        }
        Err(_) => wait_looking(child, limit),
    }
}

fn wait_looking(child: &mut Child, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        let status = child.try_wait()?;
        if status.is_some() || Instant::now() >= deadline {
            return Ok(status);
        }
        std::thread::sleep(TICK);
    }
}

fn memory_file() -> Result<File> {
    let fd = memfd_create("output", MemfdFlags::CLOEXEC).context("cannot make a memory file")?;
    Ok(File::from(fd))
}

/// Reads from the start without moving the offset, which is shared with the program that writes.
fn contents(file: &File) -> io::Result<String> {
    let mut bytes = vec![0; usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::super::output;
    use super::*;

    const LIMIT: Duration = Duration::from_secs(30);

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
        // The grandchild keeps the output open; a reader of a pipe would wait for it.
        let error = finish(&mut sh("sleep 60 & sleep 60"), Duration::from_millis(200))
            .unwrap_err()
            .to_string();
        assert!(error.contains("still running after 200ms"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn what_a_running_program_has_said_can_be_read() {
        let mut program = Background::start(&mut sh("echo before; sleep 60 & sleep 60")).unwrap();
        // Starting a shell may take long on a slow machine.
        let deadline = Instant::now() + LIMIT;
        while program.stdout().unwrap().is_empty() && Instant::now() < deadline {
            std::thread::sleep(TICK);
        }
        assert_eq!(program.stdout().unwrap(), "before\n");
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
        let pid = Pid::from_child(&program.running.child);
        drop(program);
        assert!(rustix::process::test_kill_process(pid).is_err());
    }

    #[test]
    fn an_end_is_seen_without_the_kernels_help_too() {
        let mut running = Running::start(&mut sh("exit 3")).unwrap();
        let status = wait_looking(&mut running.child, LIMIT).unwrap();
        assert_eq!(status.and_then(|status| status.code()), Some(3));
        let mut running = Running::start(&mut sh("sleep 60")).unwrap();
        assert!(wait_looking(&mut running.child, TICK).unwrap().is_none());
    }
}
