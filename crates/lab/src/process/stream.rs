//! Runs a program that takes its time, and hands on what it says line by line.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::failure::Failure;
use crate::signals::{Caught, Signals};

/// The longest time between two looks at the clock.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Runs `command` without input to its end; each line of its output and errors goes to `heard`. At the deadline, and if a
/// signal ends xtask meanwhile, it's ended with all that it started.
///
/// # Errors
///
/// It can't be started, runs for longer than `timeout`, or a signal ends this process.
pub fn run(
    command: &mut Command,
    timeout: Duration,
    heard: &mut dyn FnMut(&str),
) -> Result<ExitStatus> {
    let deadline = Instant::now() + timeout;
    let mut signals = Signals::catch()?;
    let (mut group, mut output) = start(command)?;
    let mut lines = Lines::default();
    loop {
        let mut fds = [PollFd::new(&output, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&TICK));
        let is_ready = !fds[0].revents().is_empty();
        if let Some(Caught::End(number)) = signals.next()? {
            return Err(Failure::signal(number));
        }
        if is_ready {
            let mut bytes = [0; 8192];
            let count = output.read(&mut bytes).context("can't read what Cargo says")?;
            if count == 0 {
                break;
            }
            lines.push(&bytes[..count], heard);
        }
        if Instant::now() >= deadline {
            bail!("Cargo did not end within {} s", timeout.as_secs());
        }
    }
    lines.end(heard);
    group.wait(deadline)
}

/// Starts `command` as a group of processes that write to one pipe.
fn start(command: &mut Command) -> Result<(Group, File)> {
    let (output, end) = pipe_with(PipeFlags::CLOEXEC).context("can't make a pipe")?;
    let errors = end.try_clone().context("can't make a pipe")?;
    let child = command
        .stdin(Stdio::null())
        .stdout(end)
        .stderr(errors)
        // Out of reach of the terminal's Ctrl-C: xtask hears it and ends the group.
        .process_group(0)
        .spawn()
        .context("can't start Cargo")?;
    // The command keeps its ends of the pipe open, and there would be no end of file.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Ok((Group { leader: child, is_over: false }, output.into()))
}

/// A process and those that it started. Whatever is left of them ends when this is dropped.
#[derive(Debug)]
struct Group {
    leader: Child,
    is_over: bool,
}

impl Group {
    /// How the process ended, which it is about to.
    fn wait(&mut self, deadline: Instant) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.leader.try_wait().context("can't wait for Cargo")? {
                self.is_over = true;
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "Cargo closed its output and did not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Once the process was waited for, its number may be another's.
        if !self.is_over {
            let _ = kill_process_group(Pid::from_child(&self.leader), Signal::KILL);
            let _ = self.leader.wait();
        }
    }
}

/// Bytes on their way to become lines.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], heard: &mut dyn FnMut(&str)) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            heard(String::from_utf8_lossy(&line).trim_end());
        }
    }

    /// A last line may lack its end.
    fn end(self, heard: &mut dyn FnMut(&str)) {
        if !self.rest.is_empty() {
            heard(&String::from_utf8_lossy(&self.rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell script is heard to say, and how it ends.
    fn script(text: &str, timeout: Duration) -> (Vec<String>, Result<ExitStatus>) {
        let mut lines = Vec::new();
        let mut command = Command::new("/bin/sh");
        let status =
            run(command.args(["-c", text]), timeout, &mut |line| lines.push(line.to_owned()));
        (lines, status)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn output_and_errors_come_in_order() {
        let (lines, status) =
            script("echo one; echo two >&2; printf 'th'; printf 'ree'; exit 3", LONG);
        assert_eq!(lines, ["one", "two", "three"]);
        assert_eq!(status.unwrap().code(), Some(3));
    }

    #[test]
    fn what_was_started_ends_at_the_deadline() {
        let started = Instant::now();
        let (lines, status) = script("sleep 1000 & echo $!; wait", Duration::from_millis(300));
        assert!(status.unwrap_err().to_string().contains("did not end within"));
        assert!(started.elapsed() < LONG);
        let sleeper = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        // Killed, it is there until it has been waited for.
        while rustix::process::test_kill_process(sleeper).is_ok() {
            let state =
                std::fs::read_to_string(format!("/proc/{sleeper}/stat")).unwrap_or_default();
            if state.contains(") Z") {
                break;
            }
            assert!(started.elapsed() < LONG, "the process lives on");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn a_program_that_closes_its_output_is_waited_for() {
        let (lines, status) = script("echo said; exec >&- 2>&-; sleep 0.2; exit 4", LONG);
        assert_eq!(lines, ["said"]);
        assert_eq!(status.unwrap().code(), Some(4));
    }
}
