//! Runs slow programs and reads their output line by line.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::command_line;
use crate::failure::{Failure, end_by};
use crate::signals::{Caught, Signals};

/// The longest wait before the clock is checked again, while output may arrive.
pub(super) const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// The same once the output is closed, when the program is about to end.
const SHORT_TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// How long an output may stay open and silent after its program has ended. After that, something
/// else is assumed to hold it open.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Runs a program without input to its end and passes each line of its standard output to `line`.
/// Its standard error passes through.
///
/// At the deadline, or if a signal ends this process, the program is killed together with
/// everything it started.
///
/// # Errors
///
/// The program can't be started or runs for longer than `limit`.
pub fn watch(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus> {
    run(command, limit, false, &mut line)
}

/// Like [`watch`], but also reads standard error. The lines of both arrive in the order in which
/// they were written.
///
/// # Errors
///
/// As for [`watch`].
pub fn watch_all(
    command: &mut Command,
    limit: Duration,
    mut line: impl FnMut(&str),
) -> Result<ExitStatus> {
    run(command, limit, true, &mut line)
}

fn run(
    command: &mut Command,
    limit: Duration,
    with_errors: bool,
    line: &mut dyn FnMut(&str),
) -> Result<ExitStatus> {
    let shown = command_line(command);
    let deadline = Instant::now() + limit;
    let (mut group, output) = Group::start(command, with_errors)?;
    // Only after the start: children inherit blocked signals.
    let mut signals = Signals::catch()?;
    let mut output = Some(output);
    let mut lines = Lines::default();
    let mut ended = None;
    let mut silent_since = Instant::now();
    loop {
        let is_ready = {
            let mut fds = vec![PollFd::new(&signals, PollFlags::IN)];
            fds.extend(output.as_ref().map(|output| PollFd::new(output, PollFlags::IN)));
            let tick = if output.is_some() { &TICK } else { &SHORT_TICK };
            let _ = poll(&mut fds, Some(tick));
            fds.get(1).is_some_and(|output| !output.revents().is_empty())
        };
        if let Some(Caught::End(number)) = signals.next()? {
            drop((group, signals));
            end_by(number);
            return Err(Failure::signal(number));
        }
        if let (true, Some(file)) = (is_ready, &mut output) {
            let mut bytes = [0; 8192];
            let count = file
                .read(&mut bytes)
                .with_context(|| format!("cannot read the output of `{shown}`"))?;
            if count == 0 {
                output = None;
            }
            lines.push(&bytes[..count], line);
            silent_since = Instant::now();
        }
        if ended.is_none() {
            ended = group.ended().with_context(|| format!("cannot wait for `{shown}`"))?;
            silent_since = Instant::now();
        }
        if let Some(status) = ended {
            if output.is_none() || silent_since.elapsed() >= GRACE {
                lines.end(line);
                return Ok(status);
            }
        }
        if Instant::now() >= deadline {
            lines.end(line);
            bail!("`{shown}` was still running after {limit:?}");
        }
    }
}

/// A program and everything it starts. If this is dropped before the program has ended, all of
/// these processes are killed.
#[derive(Debug)]
pub(super) struct Group {
    leader: Child,
    is_over: bool,
}

impl Group {
    /// Starts `command` as a process group that writes to one pipe.
    pub(super) fn start(command: &mut Command, with_errors: bool) -> Result<(Self, File)> {
        let (output, end) = pipe_with(PipeFlags::CLOEXEC).context("cannot make a pipe")?;
        if with_errors {
            command.stderr(end.try_clone().context("cannot make a pipe")?);
        }
        let leader = command
            .stdin(Stdio::null())
            .stdout(end)
            // The terminal's Ctrl-C must not reach the group: this process catches it and ends the
            // group.
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start `{}`", command_line(command)))?;
        // Otherwise the command would keep its ends of the pipe open, and end of file would never
        // come.
        command.stdout(Stdio::null());
        if with_errors {
            command.stderr(Stdio::null());
        }
        Ok((Self { leader, is_over: false }, output.into()))
    }

    pub(super) fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        let status = self.leader.try_wait()?;
        self.is_over |= status.is_some();
        Ok(status)
    }

    /// Kills the program and everything it started.
    pub(super) fn kill(&self) {
        // Once the program has been reaped, its pid may be reused.
        if !self.is_over {
            let _ = kill_process_group(Pid::from_child(&self.leader), Signal::KILL);
        }
    }

    /// Passes a signal on to the program, which is to end what it started.
    pub(super) fn signal(&self, number: i32) {
        if let (false, Some(signal)) = (self.is_over, Signal::from_named_raw(number)) {
            let _ = kill_process(Pid::from_child(&self.leader), signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        let _ = self.leader.wait();
    }
}

/// Splits bytes into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], heard: &mut dyn FnMut(&str)) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            heard(String::from_utf8_lossy(&line).trim_end());
        }
    }

    /// Passes on the last line, which may lack a line end.
    pub(super) fn end(self, heard: &mut dyn FnMut(&str)) {
        if !self.rest.is_empty() {
            heard(&String::from_utf8_lossy(&self.rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a shell script's output, and its result.
    fn script(text: &str, timeout: Duration) -> (Vec<String>, Result<ExitStatus>) {
        let mut lines = Vec::new();
        let mut command = Command::new("/bin/sh");
        let status =
            watch_all(command.args(["-c", text]), timeout, |line| lines.push(line.to_owned()));
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
        assert!(status.unwrap_err().to_string().contains("was still running after"));
        assert!(started.elapsed() < LONG);
        let sleeper = Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        // A killed process exists until it has been reaped.
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

    #[test]
    fn errors_are_not_among_the_lines_of_the_output() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; echo error >&2; printf 'two\\nthree'; exit 1"]);
        command.stderr(Stdio::null());
        let status = watch(&mut command, LONG, |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(status.code(), Some(1));
        assert_eq!(lines, ["one", "two", "three"]);
    }

    /// Simulates a machine that runs the reader late: the lines come after the program's end.
    #[test]
    fn lines_that_come_late_are_seen() {
        let (lines, status) = script("(sleep 1; echo late) & exit 0", LONG);
        assert!(status.unwrap().success());
        assert_eq!(lines, ["late"]);
    }

    /// Signals that this process waits for are blocked in it, but must not be blocked in its
    /// children.
    #[test]
    fn a_program_has_no_signal_blocked() {
        let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let own = own.lines().find(|line| line.starts_with("SigBlk:")).unwrap();
        let (lines, _) = script("grep SigBlk: /proc/self/status", LONG);
        assert_eq!(lines, [own]);
    }
}
