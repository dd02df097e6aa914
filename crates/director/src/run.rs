//! The loop around the engine: tasks for checks, a thread for the table, and requests from outside.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use ipvs::plan::Step;
use ipvs::{AsyncClient, Error, Service, ServiceKey, Snapshot, Transport};
use probe::{Check, External, Limits, Needs, Outcome, PrepareError, Probe, Runner, Verdict};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_local;
use tokio::time::timeout_at;

use crate::budget::{Budget, OverBudget};
use crate::checks::CheckId;
use crate::decisions::{DecideError, Selector};
use crate::engine::{Engine, IN_FLIGHT, Setup};
use crate::event::Event;
use crate::pool::Override;
use crate::pools::Maintained;
use crate::reconcile::{Look, Object, Order, Written, execute, look};
use crate::state::{Saved, StateError, Store};
use crate::status::Status;
use crate::trial::{self, NoScheduler};

/// The loop turns at least this often, so that a watchdog can tell it from a stuck one.
const TURN: Duration = Duration::from_secs(1);

/// How long to wait until what couldn't be saved is tried again: a full disk may have room by then.
const SAVE_AGAIN: Duration = Duration::from_secs(10);

/// How long a stop waits for a trial of schedulers.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// A deadline that was missed by more than this says that the process or its machine had stopped.
const STOPPED: Duration = Duration::from_secs(1);

/// The other half of the program: it hears what happens, and runs commands.
pub trait Observer {
    /// Something has happened. This must not block.
    fn event(&mut self, event: &Event);

    /// Makes a check that runs a command, by other means than starting it as this process's child.
    /// By default there are none.
    fn external(
        &mut self,
        _external: &External,
        _timeout: Duration,
    ) -> Option<Pin<Box<dyn Future<Output = Outcome>>>> {
        None
    }

    /// Whether a command can be run, if it isn't this process that runs it. By default it is.
    fn can_run(&self, _external: &External) -> Option<io::Result<()>> {
        None
    }

    /// A check has ended. This must not block. The probe is the whole one, even if only a part of it was
    /// due.
    fn checked(&mut self, _probe: &Probe, _verdict: &Verdict) {}

    /// The whole table has been read and compared, which takes some memory for a moment. This must
    /// not block.
    fn looked(&mut self) {}

    /// The loop has turned; it does so at least once a second.
    fn turned(&mut self) {}
}

/// Why a configuration wasn't taken. The one before stays in force, and the table is as it was.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A check can't be made on this machine.
    #[error("cannot check {target}: {source}")]
    Check {
        /// The real server.
        target: SocketAddr,
        /// The cause.
        source: PrepareError,
    },
    /// There are too many checks for the limits of this process.
    #[error(transparent)]
    Budget(#[from] OverBudget),
    /// The kernel lacks a scheduler.
    #[error(transparent)]
    Scheduler(#[from] NoScheduler),
    /// The state can't be saved, or a virtual service belongs to another instance.
    #[error(transparent)]
    State(#[from] StateError),
    /// The kernel's table can't be read.
    #[error("{0:#}")]
    Kernel(#[from] Error),
    /// The program is about to end.
    #[error("this instance is stopping")]
    Stopping,
}

/// What became of a configuration that was taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loaded {
    /// Objects that the kernel has refused. Everything else is in force; these are tried again.
    pub refused: Vec<(Object, String)>,
}

/// What became of an operator's decision that was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decided {
    /// Why it isn't saved: it is in force, but a restart forgets it unless it can be saved later. None
    /// if it is saved.
    #[serde(default)]
    pub not_saved: Option<String>,
}

/// Controls a running [`Director`], from any thread. Clones control the same one.
#[derive(Clone, Debug)]
pub struct Handle {
    inbox: mpsc::UnboundedSender<Input>,
    changes: watch::Receiver<u64>,
    engine: Weak<Mutex<Engine>>,
    started: Instant,
}

/// The program has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this instance has ended")]
pub struct Ended;

#[derive(Debug)]
enum Input {
    Finished(CheckId, Outcome),
    Written(Written),
    Looked(Result<Look, Error>),
    Load(Setup, oneshot::Sender<Result<Loaded, LoadError>>),
    Tried(Box<Attempt>),
    Decide(
        Selector,
        Option<Override>,
        Option<Duration>,
        oneshot::Sender<Result<Decided, DecideError>>,
    ),
    Maintain(Maintained),
    Stop {
        keep_table: bool,
        done: oneshot::Sender<()>,
    },
}

/// A configuration whose schedulers were tried.
#[derive(Debug)]
struct Attempt {
    setup: Setup,
    reply: oneshot::Sender<Result<Loaded, LoadError>>,
    /// What was saved before it.
    before: Saved,
    /// Services of other running instances.
    foreign: BTreeSet<ServiceKey>,
    /// The table before, and what the trial has written.
    result: Result<(Snapshot, Vec<Step>), LoadError>,
}

impl Handle {
    /// Takes a configuration: first everything is tried that can refuse it as a whole, then it is
    /// in force. Returns once the table is written.
    ///
    /// # Errors
    ///
    /// If it wasn't taken.
    pub async fn load(&self, setup: Setup) -> Result<Loaded, LoadError> {
        let (reply, outcome) = oneshot::channel();
        let _ = self.inbox.send(Input::Load(setup, reply));
        outcome.await.unwrap_or(Err(LoadError::Stopping))
    }

    /// The status. Its instance and configuration file are for the caller to fill in.
    ///
    /// It doesn't wait for the loop, which may have a thousand checks to look after first: it reads what
    /// the engine knows, and the loop waits for the time of that.
    ///
    /// # Errors
    ///
    /// If the program has ended.
    pub fn status(&self) -> Result<Status, Ended> {
        let mut status = Status::new("");
        self.describe(&mut status)?;
        Ok(status)
    }

    /// Brings a [status](Self::status) up to date, whatever it says, and uses its memory again. With a
    /// thousand real servers that saves most of the time.
    ///
    /// # Errors
    ///
    /// If the program has ended.
    pub fn describe(&self, status: &mut Status) -> Result<(), Ended> {
        let engine = self.engine.upgrade().ok_or(Ended)?;
        let now = Instant::now();
        lock(&engine).describe(status, now);
        status.uptime = now.saturating_duration_since(self.started);
        Ok(())
    }

    /// Records an operator's decision about real servers, perhaps for some time only. None returns
    /// to what their checks say. It is in force and saved, or [`Decided`] says why it isn't saved.
    ///
    /// # Errors
    ///
    /// As [`Pools::decide`](crate::Pools::decide). None if the program has ended.
    pub async fn decide(
        &self,
        selector: Selector,
        decision: Option<Override>,
        time: Option<Duration>,
    ) -> Result<Decided, Option<DecideError>> {
        let (reply, outcome) = oneshot::channel();
        let _ = self.inbox.send(Input::Decide(selector, decision, time, reply));
        outcome.await.map_err(|_| None)?.map_err(Some)
    }

    /// Records which real servers are in [maintenance](crate::Pools::maintain) from now on. It isn't
    /// saved, and the next configuration brings its own.
    pub fn maintain(&self, servers: Maintained) {
        // A program that has ended has no real servers.
        let _ = self.inbox.send(Input::Maintain(servers));
    }

    /// Ends the program. Unless the table is kept, virtual services are deleted as their pools say.
    /// Returns once that is done.
    pub async fn stop(&self, keep_table: bool) {
        let (done, ended) = oneshot::channel();
        let _ = self.inbox.send(Input::Stop { keep_table, done });
        // The other end is dropped when there is nothing left to end.
        let _ = ended.await;
    }

    /// Changes with every event.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }
}

/// Looks after virtual services: checks their real servers, and keeps the kernel's table in line.
///
/// It does nothing before it has got a configuration by [`Handle::load`].
#[derive(Debug)]
pub struct Director<T, O> {
    /// Only this loop changes it. It is never locked while something is awaited or written.
    engine: Arc<Mutex<Engine>>,
    client: AsyncClient<T>,
    store: Option<Store>,
    observer: O,
    runner: Rc<Runner>,
    limits: Limits,
    budget: Budget,
    sender: mpsc::UnboundedSender<Input>,
    inbox: mpsc::UnboundedReceiver<Input>,
    changed: watch::Sender<u64>,
    saved: Saved,
    /// Why that couldn't be saved, and when to try again.
    unsaved: Option<(String, Instant)>,
    /// One configuration at a time.
    loading: bool,
    loads: VecDeque<(Setup, oneshot::Sender<Result<Loaded, LoadError>>)>,
    /// Who waits for the first write of a new configuration.
    written: Option<oneshot::Sender<Result<Loaded, LoadError>>>,
}

impl<T: Transport + 'static, O: Observer> Director<T, O> {
    /// A director that writes through `client` and remembers in `store`, with what an earlier run
    /// has saved there.
    pub fn new(
        client: AsyncClient<T>,
        store: Option<Store>,
        saved: Saved,
        limits: Limits,
        observer: O,
    ) -> (Self, Handle) {
        let (sender, inbox) = mpsc::unbounded_channel();
        let (changed, changes) = watch::channel(0);
        let started = Instant::now();
        let engine = Arc::new(Mutex::new(Engine::new(&saved, started, SystemTime::now())));
        let handle =
            Handle { inbox: sender.clone(), changes, engine: Arc::downgrade(&engine), started };
        let director = Self {
            engine,
            client,
            store,
            observer,
            runner: Rc::new(Runner::new(limits)),
            limits,
            budget: Budget::of_this_process(),
            sender,
            inbox,
            changed,
            saved,
            unsaved: None,
            loading: false,
            loads: VecDeque::new(),
            written: None,
        };
        (director, handle)
    }

    /// Runs until it is [stopped](Handle::stop). Call it in a `LocalSet` of a `current_thread`
    /// runtime.
    pub async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.turn(now);
            let latest = now + TURN;
            let deadline = lock(&self.engine).deadline().map_or(latest, |at| at.min(latest));
            let mut input = timeout_at(deadline.into(), self.inbox.recv()).await.ok().flatten();
            let woken = Instant::now();
            let late = woken.saturating_duration_since(deadline);
            if late > STOPPED {
                lock(&self.engine).slept(late);
            }
            // Whatever has arrived by now is handled before the next turn, so that it is written
            // together.
            while let Some(next) = input {
                if let Input::Stop { keep_table, done } = next {
                    self.stop(keep_table).await;
                    // Nobody may be waiting.
                    let _ = done.send(());
                    return;
                }
                self.handle(next, woken);
                input = self.inbox.try_recv().ok();
            }
        }
    }

    /// Does what is due.
    fn turn(&mut self, now: Instant) {
        lock(&self.engine).tick(now);
        while let Some((id, probe)) = self.next_due(now) {
            self.start(id, probe);
        }
        self.save(now);
        let (orders, is_writing) = {
            let mut engine = lock(&self.engine);
            (engine.orders(now), engine.is_writing())
        };
        if let Some(orders) = orders {
            self.write(orders);
        } else if let Some(reply) = self.written.take_if(|_| !is_writing) {
            let _ = reply.send(Ok(self.loaded()));
        }
        let orders = lock(&self.engine).look_orders(now);
        if let Some(orders) = orders {
            self.look(orders);
        }
        let happened = self.tell();
        if happened {
            self.changed.send_modify(|number| *number = number.wrapping_add(1));
        }
        self.observer.turned();
    }

    fn next_due(&self, now: Instant) -> Option<(CheckId, Arc<Probe>)> {
        lock(&self.engine).due(now)
    }

    /// Tells the observer what has happened. Returns whether anything has.
    fn tell(&mut self) -> bool {
        let mut happened = false;
        loop {
            let event = lock(&self.engine).poll_event();
            let Some(event) = event else { return happened };
            self.observer.event(&event);
            happened = true;
        }
    }

    fn handle(&mut self, input: Input, now: Instant) {
        match input {
            Input::Finished(id, outcome) => {
                let mut engine = lock(&self.engine);
                if let Some(probe) = engine.probe(id) {
                    self.observer.checked(probe, &outcome.verdict);
                }
                engine.finished(id, outcome.verdict, outcome.took, now);
            }
            Input::Written(written) => lock(&self.engine).written(written, now),
            Input::Looked(look) => {
                let look = look.map_err(|error| self.unread(&error)).ok();
                lock(&self.engine).looked(look, now);
                self.observer.looked();
            }
            Input::Load(setup, reply) => {
                self.loads.push_back((setup, reply));
                self.load_next();
            }
            Input::Tried(attempt) => {
                self.loading = false;
                self.tried(*attempt, now);
                self.load_next();
            }
            Input::Decide(selector, decision, time, reply) => {
                let until = time.and_then(|time| now.checked_add(time));
                let decided = lock(&self.engine).decide(&selector, decision, until, now);
                let _ = reply.send(decided.map(|()| {
                    self.save(now);
                    Decided { not_saved: self.unsaved.as_ref().map(|(error, _)| error.clone()) }
                }));
            }
            Input::Maintain(servers) => lock(&self.engine).maintain(servers, now),
            // Handled by the loop.
            Input::Stop { .. } => {}
        }
    }

    fn unread(&mut self, error: &Error) {
        self.observer.event(&Event::Unread { error: format!("{error:#}") });
    }

    fn start(&mut self, id: CheckId, probe: Arc<Probe>) {
        let sender = self.sender.clone();
        if let Check::External(external) = &*probe.check {
            if let Some(check) = self.observer.external(external, probe.timeout) {
                spawn_local(async move { sender.send(Input::Finished(id, check.await)) });
                return;
            }
        }
        let runner = Rc::clone(&self.runner);
        spawn_local(async move { sender.send(Input::Finished(id, runner.run(&probe).await)) });
    }

    fn write(&self, orders: Vec<Order>) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        let keys: Vec<ServiceKey> = orders.iter().map(|order| order.service).collect();
        spawn_local(async move {
            let written = client.call(move |client| Ok::<_, Error>(execute(client, &orders))).await;
            let written = written.unwrap_or_else(|error| Written {
                steps: Vec::new(),
                unread: keys.into_iter().map(|key| (key, error.clone())).collect(),
            });
            sender.send(Input::Written(written))
        });
    }

    fn look(&self, orders: Vec<Order>) {
        let (client, sender) = (self.client.clone(), self.sender.clone());
        spawn_local(async move {
            let found = client.call(move |client| Ok(look(&client.snapshot()?, &orders))).await;
            sender.send(Input::Looked(found))
        });
    }

    /// Tries the next configuration, if none is being tried.
    fn load_next(&mut self) {
        if self.loading {
            return;
        }
        let Some((setup, reply)) = self.loads.pop_front() else { return };
        let foreign = match self.claim(&setup) {
            Ok(foreign) => foreign,
            Err(error) => {
                let _ = reply.send(Err(error));
                return self.load_next();
            }
        };
        self.loading = true;
        let before = self.saved.clone();
        let (client, sender) = (self.client.clone(), self.sender.clone());
        spawn_local(async move {
            let services: Vec<Service> = setup.pools.iter().map(|it| it.service.clone()).collect();
            let result = client.call(move |client| {
                let current = client.snapshot()?;
                let written = trial::schedulers(client, &services, &current)?;
                Ok((current, written))
            });
            let attempt = Attempt { result: result.await, setup, reply, before, foreign };
            sender.send(Input::Tried(Box::new(attempt)))
        });
    }

    /// Checks what can be checked without the kernel, and claims the services. They stay claimed
    /// if the configuration is refused later, until the next state is saved. Returns the services of
    /// other instances, which can't claim any of this one's meanwhile.
    fn claim(&mut self, setup: &Setup) -> Result<BTreeSet<ServiceKey>, LoadError> {
        for member in setup.pools.iter().flat_map(|pool| pool.members.values()) {
            let target = member.probe.target;
            self.prepare(&member.probe).map_err(|source| LoadError::Check { target, source })?;
        }
        let members = setup.pools.iter().flat_map(|pool| pool.members.values());
        let probes: HashSet<&Probe> = members.map(|member| &*member.probe).collect();
        self.budget.check(&Needs::of(probes, self.limits), IN_FLIGHT)?;
        let Some(store) = &self.store else { return Ok(BTreeSet::new()) };
        let wanted = setup.pools.iter().map(|pool| pool.service.key).collect();
        let claim = store.claim(self.saved.clone(), &wanted)?;
        // Without a state a restart knows less, but checks go on.
        if let Some(error) = claim.error {
            self.observer.event(&Event::NotSaved { error: error.to_string() });
        }
        Ok(claim.foreign)
    }

    fn prepare(&self, probe: &Probe) -> Result<(), PrepareError> {
        if let Check::External(external) = &*probe.check {
            if let Some(result) = self.observer.can_run(external) {
                let program = external.program.clone();
                return result.map_err(|source| PrepareError::Program { program, source });
            }
        }
        self.runner.prepare(probe)
    }

    fn tried(&mut self, attempt: Attempt, now: Instant) {
        let Attempt { setup, reply, before, foreign, result } = attempt;
        let (current, written) = match result {
            Ok(tried) => tried,
            Err(error) => {
                self.store_saved(&before, now);
                let _ = reply.send(Err(error));
                return;
            }
        };
        {
            let mut engine = lock(&self.engine);
            engine.tried(written);
            engine.load(setup, &current, &foreign, now);
        }
        if let Some(former) = self.written.replace(reply) {
            // It was taken, and another one has followed.
            let _ = former.send(Ok(Loaded::default()));
        }
    }

    fn loaded(&self) -> Loaded {
        let engine = lock(&self.engine);
        let refused = engine.refusals().iter();
        Loaded { refused: refused.map(|(object, it)| (*object, it.error.clone())).collect() }
    }

    /// Saves what a restart needs, if it has changed or couldn't be saved a while ago.
    fn save(&mut self, now: Instant) {
        if self.unsaved.as_ref().is_some_and(|(_, again)| *again <= now) {
            lock(&self.engine).save_again();
        }
        let saved = lock(&self.engine).poll_saved(now, SystemTime::now());
        if let Some(saved) = saved {
            self.store_saved(&saved, now);
            self.saved = saved;
        }
    }

    fn store_saved(&mut self, saved: &Saved, now: Instant) {
        let Some(store) = &self.store else { return };
        let before = self.unsaved.take();
        if let Err(error) = store.save(saved) {
            let error = error.to_string();
            // It is said once, however often it is tried.
            if before.is_none_or(|(before, _)| before != error) {
                self.observer.event(&Event::NotSaved { error: error.clone() });
            }
            self.unsaved = Some((error, now + SAVE_AGAIN));
        }
    }

    async fn stop(&mut self, keep_table: bool) {
        // A trial of schedulers that is under way has written services, which have to be known.
        let deadline = tokio::time::Instant::now() + TRIAL_TIMEOUT;
        while self.loading {
            match timeout_at(deadline, self.inbox.recv()).await {
                Ok(Some(Input::Tried(attempt))) => {
                    self.loading = false;
                    if let Ok((_, written)) = &attempt.result {
                        lock(&self.engine).own(written.iter().map(|step| *step.service()));
                    }
                    let _ = attempt.reply.send(Err(LoadError::Stopping));
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        let now = Instant::now();
        if !keep_table {
            let orders = lock(&self.engine).stop_orders(now);
            let written = self.client.call(move |client| Ok::<_, Error>(execute(client, &orders)));
            match written.await {
                Ok(written) => lock(&self.engine).written(written, now),
                Err(error) => self.unread(&error),
            }
        }
        self.tell();
        self.save(now);
        // Writes that are under way end first.
        self.client.clone().close().await;
    }
}

/// What the engine knows. A thread that has panicked has only read it.
fn lock(engine: &Mutex<Engine>) -> MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}
