//! What the worker does about what the engine reports: it logs, and has commands run.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use director::{Event, Observer};
use probe::{External, Outcome, Probe, Reason, ReasonKind, Stage, Verdict};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::super::link::{Checked, FROM_WORKER, Job, Ran, ToParent, shortened};
use super::super::settling::{Settling, give_back};
use super::monitors::Monitors;
use super::names::{Names, Virtual};
use crate::machine::Files;

/// How long a command may wait in the parent for others, beyond its own time.
const QUEUE: Duration = Duration::from_secs(300);

/// How many messages may be on their way to the parent.
const OUTBOX: usize = 4096;

/// A message to the parent, or a request to say when all before it have been sent.
pub(super) enum Outgoing {
    Message(ToParent),
    Flush(oneshot::Sender<()>),
}

/// The way to the parent. Clones are the same one.
#[derive(Clone, Debug)]
pub(super) struct Parent {
    outbox: mpsc::Sender<Outgoing>,
    shared: Rc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Commands that the parent runs.
    commands: RefCell<HashMap<u64, oneshot::Sender<Ran>>>,
    last_id: Cell<u64>,
    names: RefCell<Names>,
    /// What the parent knows about files of the latest configuration.
    files: RefCell<Files>,
    /// Lines for the log that haven't been sent.
    lines: RefCell<String>,
    /// Who wants a line for each check.
    monitors: RefCell<Monitors>,
    /// Those lines that haven't been sent.
    checked: RefCell<Vec<Checked>>,
    /// The engine's loop has turned since the last sign of life.
    turned: Cell<bool>,
    /// Whether nothing has happened for a while.
    settling: RefCell<Settling>,
}

impl Parent {
    /// The way to the parent, and its other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<Outgoing>) {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        (Self { outbox, shared: Rc::default() }, messages)
    }

    /// Says something that matters: waits if the parent doesn't listen.
    pub(super) async fn say(&self, message: ToParent) {
        // Without a parent this process ends.
        let _ = self.outbox.send(Outgoing::Message(message)).await;
    }

    /// Logs a text. If the parent doesn't listen, it is lost.
    pub(super) fn log(&self, text: impl Into<String>) {
        let message = ToParent::Log(shortened(text.into()));
        let _ = self.outbox.try_send(Outgoing::Message(message));
    }

    /// Waits until everything said so far has been sent.
    pub(super) async fn flush(&self) {
        self.send_checked();
        self.send_lines();
        let (sent, all) = oneshot::channel();
        if self.outbox.send(Outgoing::Flush(sent)).await.is_ok() {
            let _ = all.await;
        }
    }

    /// Gives a sign of life, if the engine has turned since the last one. Call it once a second. `idle`:
    /// there is no engine yet.
    pub(super) fn pulse(&self, idle: bool) {
        if self.shared.settling.borrow_mut().second() {
            give_back();
        }
        if self.shared.turned.take() || idle {
            // If there is no room, there are other signs of life.
            let _ = self.outbox.try_send(Outgoing::Message(ToParent::Alive));
        }
    }

    /// There is something to do beside checks.
    pub(super) fn busy(&self) {
        self.shared.settling.borrow_mut().busy();
    }

    /// What the log calls things from now on.
    pub(super) fn set_names(&self, names: Names) -> Names {
        self.shared.names.replace(names)
    }

    /// What the parent knows about the files of a configuration.
    pub(super) fn set_files(&self, files: Files) {
        self.shared.files.replace(files);
    }

    /// Which checks get a line in which files.
    pub(super) fn set_monitors(&self, monitors: Monitors) {
        self.shared.monitors.replace(monitors);
    }

    pub(super) fn names(&self) -> Names {
        self.shared.names.borrow().clone()
    }

    /// A command has ended.
    pub(super) fn ran(&self, id: u64, outcome: Ran) {
        if let Some(waiting) = self.shared.commands.borrow_mut().remove(&id) {
            let _ = waiting.send(outcome);
        }
    }

    /// Has the parent run a command.
    fn run(&self, job: Job, limit: Duration) -> impl Future<Output = Ran> + use<> {
        let shared = Rc::clone(&self.shared);
        let id = shared.last_id.get() + 1;
        shared.last_id.set(id);
        let (sender, outcome) = oneshot::channel();
        shared.commands.borrow_mut().insert(id, sender);
        let sent = self.outbox.try_send(Outgoing::Message(ToParent::Run { id, job })).is_ok();
        async move {
            let outcome = match sent {
                true => timeout(limit + QUEUE, outcome).await.ok().and_then(Result::ok),
                false => None,
            };
            shared.commands.borrow_mut().remove(&id);
            outcome.unwrap_or_else(|| Ran::NotRun("the command could not be started".into()))
        }
    }

    fn line(&self, line: impl std::fmt::Display) {
        let _ = writeln!(self.shared.lines.borrow_mut(), "{line}");
    }

    fn send_lines(&self) {
        let lines = self.shared.lines.take();
        if !lines.is_empty() {
            self.log(lines);
        }
    }

    /// Sends what checks have found out, in messages that the parent takes. If it doesn't listen, that
    /// is lost.
    fn send_checked(&self) {
        let mut all = self.shared.checked.take();
        while !all.is_empty() {
            let mut length = 0;
            let fits = all.iter().take_while(|it| {
                length += it.length();
                length < FROM_WORKER as usize / 2
            });
            let rest = all.split_off(fits.count().max(1));
            let _ = self.outbox.try_send(Outgoing::Message(ToParent::Checked(all)));
            all = rest;
        }
    }

    fn fallback_command(&self, service: ipvs::ServiceKey, start: bool) {
        let names = self.shared.names.borrow();
        let Some(command) = names.fallback_command(&service) else { return };
        let name = Virtual(service);
        let job = Job::Fallback {
            command: command.to_owned(),
            start,
            service: name.to_string(),
            protocol: name.protocol().to_owned(),
        };
        let ran = self.run(job, QUEUE);
        let parent = self.clone();
        spawn_local(async move {
            let what = if start { "start" } else { "stop" };
            match ran.await {
                Ran::Succeeded => parent.log(format!("Fallback command {what} for {name} has run")),
                Ran::Failed(_, text) | Ran::TimedOut(text) | Ran::NotRun(text) => {
                    parent.log(format!("Fallback command {what} for {name} failed: {text}"));
                }
            }
        });
    }
}

impl Observer for Parent {
    fn event(&mut self, event: &Event) {
        self.busy();
        match event {
            Event::Written { step } => {
                let phrase = self.shared.names.borrow().phrase(step);
                self.line(phrase);
            }
            // That is logged when it is written.
            Event::Up { .. } => {}
            Event::FallbackIn { service } => {
                self.line(event);
                self.fallback_command(*service, true);
            }
            Event::FallbackOut { service } => {
                self.line(event);
                self.fallback_command(*service, false);
            }
            _ => self.line(event),
        }
    }

    fn external(
        &mut self,
        external: &External,
        limit: Duration,
    ) -> Option<Pin<Box<dyn Future<Output = Outcome>>>> {
        let text = |it: &std::ffi::OsStr| it.to_str().map(str::to_owned);
        let job = Job::Check {
            program: text(external.program.as_os_str())?,
            arguments: external.arguments.iter().map(|it| text(it)).collect::<Option<_>>()?,
            timeout: limit,
        };
        let ran = self.run(job, limit);
        Some(Box::pin(async move {
            let started = Instant::now();
            let verdict = verdict(ran.await);
            Outcome { verdict, connected: None, took: started.elapsed() }
        }))
    }

    fn can_run(&self, external: &External) -> Option<io::Result<()>> {
        Some(self.shared.files.borrow().can_run(&external.program))
    }

    fn checked(&mut self, probe: &Probe, verdict: &Verdict) {
        self.shared
            .checked
            .borrow_mut()
            .extend(self.shared.monitors.borrow().lines(probe, verdict));
    }

    fn looked(&mut self) {
        // What was read and compared is free again, in small pieces.
        ipvs_os::return_freed_memory();
    }

    fn turned(&mut self) {
        self.shared.turned.set(true);
        self.send_checked();
        self.send_lines();
    }
}

fn verdict(ran: Ran) -> Verdict {
    match ran {
        Ran::Succeeded => Verdict::Up,
        Ran::Failed(code, text) => Verdict::down(ReasonKind::Command(code), Stage::Reply, text),
        Ran::TimedOut(text) => Verdict::down(ReasonKind::Timeout, Stage::Reply, text),
        Ran::NotRun(text) => {
            Verdict::Inconclusive(Reason::new(ReasonKind::Local, Stage::Connect, text))
        }
    }
}
