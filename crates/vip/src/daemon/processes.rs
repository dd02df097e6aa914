//! Commands, as events of the loop.
//!
//! Starting a program waits until the kernel has read the beginning of its file, and a disk may hang. So
//! a thread does that, and the loop hears of it.

use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::source::Source;

/// The stack of the thread: it calls nothing deep.
const STACK: usize = 128 * 1024;

/// What commands of the service's own process mustn't inherit: they aren't the service.
const OWN_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// A command to start.
#[derive(Clone, Debug)]
pub(crate) struct Start {
    /// What the caller knows it by.
    pub(crate) key: u64,
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Variables in its environment, beside the daemon's.
    pub(crate) variables: Vec<(&'static str, String)>,
    /// How long it may take, with its start.
    pub(crate) timeout: Duration,
}

/// A command has ended, or will.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Which.
    pub(crate) key: u64,
    /// How.
    pub(crate) outcome: Outcome,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// It exited with this status.
    Exited(ExitStatus),
    /// It couldn't be started.
    Unstarted(io::Error),
    /// It took too long, and was killed with its process group.
    TimedOut,
}

impl Outcome {
    /// Why it is a failure, for people. None if it isn't.
    pub(crate) fn failure(&self) -> Option<String> {
        match self {
            Self::Exited(status) => match (status.code(), status.signal()) {
                (Some(0), _) => None,
                (Some(code), _) => Some(format!("exited with {code}")),
                (None, Some(signal)) => Some(format!("was killed by signal {signal}")),
                (None, None) => Some("ended".to_owned()),
            },
            Self::Unstarted(error) => Some(format!("cannot be started: {error}")),
            Self::TimedOut => Some("took too long".to_owned()),
        }
    }
}

/// Commands under way, each in a process group of its own, with no input and no output.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    starter: Option<Starter>,
    jobs: Vec<Job>,
}

/// A command under way.
#[derive(Debug)]
struct Job {
    /// What the thread knows it by.
    number: u64,
    key: u64,
    deadline: Instant,
    /// Its outcome was told: it is here until it is gone.
    is_told: bool,
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Ready once it has ended.
    pidfd: OwnedFd,
}

impl Processes {
    /// Starts a command. False if the one before with this key is still there: a process that can't
    /// even be killed, say.
    ///
    /// # Errors
    ///
    /// That of starting the thread, or of the descriptor by which it is heard.
    pub(crate) fn start(&mut self, start: Start, now: Instant) -> io::Result<bool> {
        if self.jobs.iter().any(|it| it.key == start.key) {
            return Ok(false);
        }
        let starter = match &mut self.starter {
            Some(starter) => starter,
            none => none.insert(Starter::new()?),
        };
        let (key, deadline) = (start.key, now + start.timeout);
        let number = starter.start(start)?;
        self.jobs.push(Job { number, key, deadline, is_told: false, process: None });
        Ok(true)
    }

    /// Kills a command with its process group; its end isn't told.
    pub(crate) fn kill(&mut self, key: u64) {
        for job in self.jobs.iter_mut().filter(|it| it.key == key) {
            job.is_told = true;
            job.kill();
        }
    }

    /// Takes what the thread has started.
    fn take_started(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        let Some(starter) = &self.starter else { return ended };
        while let Some((number, started)) = starter.take() {
            let Some(at) = self.jobs.iter().position(|it| it.number == number) else { continue };
            match started {
                Ok(process) => {
                    let job = &mut self.jobs[at];
                    job.process = Some(process);
                    if job.is_told {
                        // It was too late, or isn't wanted any more.
                        job.kill();
                    }
                }
                Err(error) => {
                    let job = self.jobs.swap_remove(at);
                    if !job.is_told {
                        ended.push(Ended { key: job.key, outcome: Outcome::Unstarted(error) });
                    }
                }
            }
        }
        ended
    }
}

impl Job {
    fn kill(&self) {
        if let Some(process) = &self.process {
            // It isn't reaped, so nobody else has its number.
            let _ = kill_process_group(Pid::from_child(&process.child), Signal::KILL);
        }
    }

    /// How it ended, if it has.
    fn reap(&mut self) -> Option<ExitStatus> {
        self.process.as_mut()?.child.try_wait().ok().flatten()
    }

    fn pidfd(&self) -> Option<&OwnedFd> {
        self.process.as_ref().map(|it| &it.pidfd)
    }
}

impl Source for Processes {
    type Event = Ended;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        to.extend(self.starter.iter().map(|it| PollFd::new(&it.wake, PollFlags::IN)));
        to.extend(self.jobs.iter().filter_map(Job::pidfd).map(|it| PollFd::new(it, PollFlags::IN)));
    }

    fn deadline(&self) -> Option<Instant> {
        self.jobs.iter().filter(|it| !it.is_told).map(|it| it.deadline).min()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<Ended> {
        if self.starter.is_none() {
            return Vec::new();
        }
        let mut ended = Vec::new();
        let mut ready = ready.iter();
        let is_awake = ready.next().is_some_and(|it| !it.is_empty());
        self.jobs.retain_mut(|job| {
            let is_ready = job.pidfd().is_some() && ready.next().is_some_and(|it| !it.is_empty());
            let status = if is_ready { job.reap() } else { None };
            if let Some(status) = status {
                if !job.is_told {
                    ended.push(Ended { key: job.key, outcome: Outcome::Exited(status) });
                }
                return false;
            }
            if !job.is_told && job.deadline <= now {
                job.is_told = true;
                job.kill();
                ended.push(Ended { key: job.key, outcome: Outcome::TimedOut });
            }
            true
        });
        if is_awake {
            ended.extend(self.take_started());
        }
        ended
    }
}

/// The thread that starts commands. It ends when this is dropped.
#[derive(Debug)]
struct Starter {
    orders: Sender<(u64, Start)>,
    results: Receiver<(u64, io::Result<Process>)>,
    /// Ready once there are results.
    wake: Arc<OwnedFd>,
    next: u64,
}

impl Starter {
    fn new() -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (orders, theirs) = mpsc::channel();
        let (results_to, results) = mpsc::channel();
        let waker = Arc::clone(&wake);
        let builder = thread::Builder::new().name("starter".to_owned()).stack_size(STACK);
        builder.spawn(move || {
            for (number, start) in theirs {
                if let Err(mpsc::SendError((_, Ok(process)))) =
                    results_to.send((number, spawn(&start)))
                {
                    // Nobody waits for it.
                    let Process { mut child, .. } = process;
                    let _ = child.wait();
                    return;
                }
                // It only fails if it is ready already.
                let _ = rustix::io::write(&*waker, &1_u64.to_ne_bytes());
            }
        })?;
        Ok(Self { orders, results, wake, next: 0 })
    }

    /// Has a command started, and returns its number.
    fn start(&mut self, start: Start) -> io::Result<u64> {
        let number = self.next;
        self.next += 1;
        let sent = self.orders.send((number, start));
        sent.map_err(|_| io::Error::new(ErrorKind::BrokenPipe, "the thread for it has ended"))?;
        Ok(number)
    }

    /// The next command that was started, or couldn't be.
    fn take(&self) -> Option<(u64, io::Result<Process>)> {
        self.results.try_recv().ok().or_else(|| {
            // Not ready any more; then look again, or one that came in between is missed.
            let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
            self.results.try_recv().ok()
        })
    }
}

fn spawn(start: &Start) -> io::Result<Process> {
    let (program, arguments) = start.command.split_first().ok_or(ErrorKind::InvalidInput)?;
    let mut command = Command::new(program);
    command.args(arguments).envs(start.variables.iter().map(|(name, value)| (name, value)));
    for name in OWN_VARIABLES {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // The loop takes signals by a descriptor, so they are blocked in all threads.
    ipvs_os::unblock_signals(&mut command);
    let mut child = command.process_group(0).spawn()?;
    match pidfd_open(Pid::from_child(&child), PidfdFlags::empty()) {
        Ok(pidfd) => Ok(Process { child, pidfd }),
        // Its end wouldn't be noticed. No descriptor is left, say.
        Err(error) => {
            let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
            let _ = child.wait();
            Err(error.into())
        }
    }
}

#[cfg(test)]
mod tests;
