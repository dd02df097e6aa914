//! Tries what a guest's kernel does constantly: trace a process and write its registers.

use std::convert::Infallible;
use std::fmt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, raise};
use nix::unistd::Pid;
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, waitpid};

use crate::program::Program;
use uml_xstate::host::{BUFFER_SIZE, Process, Refused};

/// Far longer than a process needs to start and stop.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The polling interval.
const TICK: Duration = Duration::from_micros(500);

/// An operation that this machine refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The ptrace(2) request.
    pub request: &'static str,
    pub reason: String,
    /// The error number, if an error is the reason.
    pub errno: Option<i32>,
}

impl Refusal {
    fn new(request: &'static str, reason: impl fmt::Display) -> Self {
        Self { request, reason: reason.to_string(), errno: None }
    }

    fn errno(request: &'static str, number: i32) -> Self {
        let reason = std::io::Error::from_raw_os_error(number).to_string();
        Self { request, reason, errno: Some(number) }
    }
}

/// Traces a child process. Returns the size of its extended processor state in bytes, or `None` if
/// this machine has no such state.
pub(crate) fn run(program: &Program) -> Result<Option<usize>, Refusal> {
    let child = program
        .task("tracee")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| Refusal::new("a process to be traced", error))?;
    let tracee = Tracee(child);
    tracee.stopped()?;
    let pid = tracee.pid().as_raw_nonzero().get();
    let size = match Process(pid).round_trip(&mut vec![0; BUFFER_SIZE]) {
        Ok(size) => Some(size),
        Err(Refused::Reading(number)) if is_missing(number) => None,
        Err(Refused::Reading(number)) => return Err(Refusal::errno("PTRACE_GETREGSET", number)),
        Err(Refused::Writing(number)) => return Err(Refusal::errno("PTRACE_SETREGSET", number)),
    };
    ptrace::sysemu(Pid::from_raw(pid), None)
        .map_err(|error| Refusal::errno("PTRACE_SYSEMU", error as i32))?;
    Ok(size)
}

/// Whether this error means that the host has no extended state. Kernels then fall back to an older
/// request.
fn is_missing(number: i32) -> bool {
    [Errno::NODEV, Errno::INVAL].contains(&Errno::from_raw_os_error(number))
}

/// The traced process; killed when this is dropped.
struct Tracee(Child);

impl Tracee {
    fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.0)
    }

    /// Waits until the process has stopped, which it does once it is traced.
    fn stopped(&self) -> Result<(), Refusal> {
        const REQUEST: &str = "PTRACE_TRACEME";
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match waitpid(Some(self.pid()), WaitOptions::UNTRACED | WaitOptions::NOHANG) {
                Ok(Some((_, status))) => return outcome(status),
                Ok(None) | Err(Errno::INTR) => {}
                Err(error) => return Err(Refusal::new(REQUEST, error)),
            }
            if Instant::now() >= deadline {
                return Err(Refusal::new(REQUEST, "the process did not stop"));
            }
            std::thread::sleep(TICK);
        }
    }
}

/// Interprets the process's first change of state. An exit status is an error number.
fn outcome(status: WaitStatus) -> Result<(), Refusal> {
    const REQUEST: &str = "PTRACE_TRACEME";
    match (status.exit_status(), status.terminating_signal()) {
        (Some(number), _) => Err(Refusal::errno(REQUEST, number)),
        (_, Some(number)) => Err(Refusal::new(REQUEST, format!("signal {number} for trying"))),
        (None, None) => Ok(()),
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        let _ = self.0.kill();
        // Fails if the process has already been reaped.
        let _ = self.0.wait();
    }
}

/// The process to trace: stops itself, or exits with the error number if it can't be traced.
pub(crate) fn tracee() -> Result<Infallible> {
    if let Err(error) = ptrace::traceme() {
        std::process::exit(error as i32);
    }
    raise(Signal::SIGSTOP).context("can't stop")?;
    // Reached only if the tracer is gone, or let this process continue by mistake.
    std::process::exit(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_an_extended_state_is_told_from_one_that_refuses() {
        // xstateregs_get returns ENODEV (Linux, arch/x86/kernel/fpu/regset.c).
        assert!(is_missing(19));
        assert!(!is_missing(1) && !is_missing(14));
    }
}
