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
    /// The fallback commands of a virtual service run one after the other.
    turns: HashMap<String, Rc<Mutex<()>>>,
}

impl Runs {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Self {
        Self {
            runner: Rc::new(Runner::new(Limits::default())),
            events,
            pending: Rc::default(),
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
    pub(super) fn callback(&self, program: String, file: &Path) {
        let mut command = Command::new(program);
        command.arg(file);
        self.own(command);
    }

    /// Does to another instance what happens to this one.
    pub(super) fn execute(&self, instance: &str, verb: &'static str) {
        let mut command = Command::new(EXECUTABLE);
        command.arg0(NAME).args(["--", instance, verb]).env_remove("NOTIFY_SOCKET");
        self.own(command);
    }

    fn own(&self, mut command: Command) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // It outlives the daemon if that stops.
        if let Ok(mut child) = command.spawn() {
            spawn_local(async move { drop(timeout(OWN_TIMEOUT, child.wait()).await) });
        }
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
