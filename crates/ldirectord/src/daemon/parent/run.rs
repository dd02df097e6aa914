//! Runs commands: those of checks and fallbacks for the worker, and the parent's own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use probe::{Check, External, Limits, Probe, ReasonKind, Runner, Verdict};
use tokio::process::Command;
use tokio::sync::{Mutex, mpsc};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::super::link::{Job, Ran};
use super::super::{EXECUTABLE, NAME};
use super::Event;
use super::commands::NOWHERE;

/// How many commands may wait for others to end.
const MOST: usize = 4096;

/// How long `callback` and `execute` may take.
const OWN_TIMEOUT: Duration = Duration::from_secs(60);

/// The commands that are running or waiting.
#[derive(Debug)]
pub(super) struct Runs {
    runner: Rc<Runner>,
    events: mpsc::Sender<Event>,
    /// Of the current worker.
    pending: Rc<RefCell<usize>>,
    /// The parent's own commands whose end hasn't been reported.
    own: usize,
    /// The fallback commands of a virtual service run one after the other.
    turns: HashMap<String, Rc<Mutex<()>>>,
}

impl Runs {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            runner: Rc::new(Runner::new(Limits::default())),
            events,
            pending: Rc::default(),
            own: 0,
            turns: HashMap::new(),
        }
    }

    /// Runs a command for a worker, and reports how it ended.
    pub(super) fn run(
        &mut self,
        worker: u64,
        id: u64,
        job: &Job,
        external: External,
        timeout: Duration,
    ) {
        let (events, pending) = (self.events.clone(), Rc::clone(&self.pending));
        if *pending.borrow() >= MOST {
            let outcome = Ran::NotRun(format!("{MOST} commands are waiting already"));
            spawn_local(async move { events.send(Event::Ran(worker, id, outcome)).await });
            return;
        }
        *pending.borrow_mut() += 1;
        let runner = Rc::clone(&self.runner);
        let turn = match job {
            Job::Fallback { service, .. } => {
                self.turns.retain(|_, turn| Rc::strong_count(turn) > 1);
                Some(Rc::clone(self.turns.entry(service.clone()).or_default()))
            }
            Job::Check { .. } => None,
        };
        spawn_local(async move {
            let turn = match &turn {
                Some(turn) => Some(turn.lock().await),
                None => None,
            };
            let probe = Probe::new(NOWHERE, Check::External(external), timeout);
            let outcome = ran(runner.run(&probe).await.verdict);
            drop(turn);
            let left = pending.borrow().saturating_sub(1);
            *pending.borrow_mut() = left;
            let _ = events.send(Event::Ran(worker, id, outcome)).await;
        });
    }

    /// The worker has gone: what it wanted to run counts no more.
    pub(super) fn forget(&mut self) {
        self.pending = Rc::default();
    }

    /// Runs the program of `callback=`, if it is one.
    pub(super) fn callback(&mut self, program: &str, file: &Path) {
        let mut command = Command::new(program);
        command.arg(file);
        self.run_own(vec![(format!("callback={program}"), command)]);
    }

    /// Runs verbs for another instance, one after the other as long as they succeed.
    pub(super) fn execute(&mut self, instance: &str, verbs: &[&'static str]) {
        let command = |verb: &&'static str| {
            let mut command = Command::new(EXECUTABLE);
            command.arg0(NAME).args(["--", instance, verb]).env_remove("NOTIFY_SOCKET");
            (format!("execute={instance}, {verb}"), command)
        };
        self.run_own(verbs.iter().map(command).collect());
    }

    /// One of the parent's own commands has been reported as ended.
    pub(super) fn own_ended(&mut self) {
        self.own -= 1;
    }

    /// How many of the parent's own commands haven't been.
    pub(super) fn own(&self) -> usize {
        self.own
    }

    /// Runs the parent's own commands, each with its name in the log, until one fails.
    fn run_own(&mut self, commands: Vec<(String, Command)>) {
        self.own += 1;
        let events = self.events.clone();
        spawn_local(async move {
            let mut complaint = None;
            for (name, command) in commands {
                if let Err(error) = succeed(command).await {
                    complaint = Some(format!("{name}: {error}"));
                    break;
                }
            }
            let _ = events.send(Event::OwnEnded(complaint)).await;
        });
    }
}

/// Runs a command to its end.
async fn succeed(mut command: Command) -> Result<(), String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot run it: {error}"))?;
    // It outlives this, and the daemon if that stops.
    match timeout(OWN_TIMEOUT, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("failed, {status}")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("hasn't ended after {OWN_TIMEOUT:?}")),
    }
}

fn ran(verdict: Verdict) -> Ran {
    match verdict {
        Verdict::Up => Ran::Succeeded,
        Verdict::Down(reason) | Verdict::Inconclusive(reason) => {
            let text = reason.text().to_owned();
            match reason.kind() {
                ReasonKind::Command(code) => Ran::Failed(code, text),
                ReasonKind::Timeout => Ran::TimedOut(text),
                _ => Ran::NotRun(text),
            }
        }
    }
}
