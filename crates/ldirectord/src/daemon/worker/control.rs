//! What clients of the control socket get from the worker.
//!
//! A thread of its own serves them: on a busy machine a thousand checks wait for the worker's loop, and the
//! kernel gives a thread that has slept its turn before them. The status is read there; whatever
//! changes something is passed on to the loop.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use director::control::{ErrorKind, Handler, Order, Refusal, Reloaded, Server};
use director::{Decided, Handle, Status};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use super::super::link::{Loaded, ToParent};
use super::observer::Parent;

/// How many requests may wait for the loop. The server has fewer clients.
const WAITING: usize = 64;

/// What is known of the configuration, and who waits for news of it.
#[derive(Debug)]
pub(super) struct State {
    config: Arc<Mutex<Config>>,
    /// Requests to read the file again.
    reloads: RefCell<HashMap<u64, oneshot::Sender<Result<Reloaded, Refusal>>>>,
    last_request: Cell<u64>,
    /// The engine has ended.
    ended: watch::Sender<bool>,
}

/// What the status says of the configuration.
#[derive(Debug)]
struct Config {
    /// Since when it has been in force.
    since: Instant,
    /// Why the file as it is isn't in force.
    error: Option<String>,
}

impl State {
    pub(super) fn new() -> Rc<Self> {
        let config = Config { since: Instant::now(), error: None };
        Rc::new(Self {
            config: Arc::new(Mutex::new(config)),
            reloads: RefCell::default(),
            last_request: Cell::default(),
            ended: watch::Sender::new(false),
        })
    }

    /// A file was applied, or not; tells those who asked for it.
    pub(super) fn loaded(&self, outcome: &Loaded, requests: &[u64]) {
        let result = match outcome {
            Loaded::InForce { warnings, held_back, .. } => {
                lock(&self.config).since = Instant::now();
                let mut reloaded = Reloaded::new(warnings.clone());
                reloaded.held_back = held_back.clone();
                Ok(reloaded)
            }
            Loaded::Refused(broken) => Err(Refusal::from(broken.report.clone())),
            Loaded::Failed(error) => Err(Refusal::from(error.clone())),
        };
        lock(&self.config).error = outcome.error();
        let mut waiting = self.reloads.borrow_mut();
        for waiting in requests.iter().filter_map(|id| waiting.remove(id)) {
            let _ = waiting.send(result.clone());
        }
    }

    /// The engine has ended, and writes no more.
    pub(super) fn ended(&self) {
        self.ended.send_replace(true);
    }

    /// Does what a client has asked for.
    async fn handle(&self, request: Request, parent: &Parent) {
        match request {
            Request::Reload(reply) => {
                let request = self.last_request.get() + 1;
                self.last_request.set(request);
                self.reloads.borrow_mut().insert(request, reply);
                parent.say(ToParent::Reload { request }).await;
            }
            // The parent tells this process to stop, and takes care of the rest.
            Request::Stop { keep_table } => parent.say(ToParent::Stop { keep_table }).await,
        }
    }
}

/// What only the worker's loop can do.
#[derive(Debug)]
enum Request {
    Reload(oneshot::Sender<Result<Reloaded, Refusal>>),
    Stop { keep_table: bool },
}

/// Serves clients, in its thread.
#[derive(Debug)]
struct Clients {
    instance: String,
    engine: Handle,
    config: Arc<Mutex<Config>>,
    requests: mpsc::Sender<Request>,
    ended: watch::Receiver<bool>,
}

/// Serves clients of this socket until one has made the daemon stop. The receiver gets an error then.
///
/// # Errors
///
/// If there can't be such a thread.
pub(super) fn serve(
    listener: UnixListener,
    instance: String,
    engine: Handle,
    state: Rc<State>,
    parent: Parent,
) -> io::Result<oneshot::Receiver<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (requests, mut waiting) = mpsc::channel(WAITING);
    let (served, end) = oneshot::channel();
    let changes = engine.changes();
    let (config, ended) = (Arc::clone(&state.config), state.ended.subscribe());
    let clients = Clients { instance, engine, config, requests, ended };
    thread::Builder::new().name("control".to_owned()).spawn(move || {
        // Dropped at the end, whatever that is.
        let _served: oneshot::Sender<()> = served;
        LocalSet::new().block_on(&runtime, async {
            if let Ok(listener) = tokio::net::UnixListener::from_std(listener) {
                Server::new(clients, changes).run(listener).await;
            }
        });
    })?;
    spawn_local(async move {
        while let Some(request) = waiting.recv().await {
            state.handle(request, &parent).await;
        }
    });
    Ok(end)
}

impl Handler for Clients {
    async fn status(&self, status: &mut Status) -> Result<(), Refusal> {
        self.engine.describe(status)?;
        status.instance.clone_from(&self.instance);
        let config = lock(&self.config);
        status.config.in_force_for = config.since.elapsed();
        status.config.error.clone_from(&config.error);
        Ok(())
    }

    async fn decide(&self, order: Order) -> Result<Decided, Refusal> {
        let decision = order.decision;
        self.engine.decide(order.selector(), decision, order.duration).await.map_err(|error| {
            match error {
                Some(error) => error.into(),
                None => director::Ended.into(),
            }
        })
    }

    async fn reload(&self) -> Result<Reloaded, Refusal> {
        let (reply, outcome) = oneshot::channel();
        let ended = || Refusal::new(ErrorKind::Failed, "this instance is stopping");
        self.requests.send(Request::Reload(reply)).await.map_err(|_| ended())?;
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn stop(&self, keep_table: bool) -> Result<(), Refusal> {
        let over = || Refusal::new(ErrorKind::Failed, "this instance has ended");
        self.requests.send(Request::Stop { keep_table }).await.map_err(|_| over())?;
        let mut ended = self.ended.clone();
        ended.wait_for(|ended| *ended).await.map(drop).map_err(|_| over())
    }
}

/// A thread that panics has changed nothing by halves.
fn lock(config: &Mutex<Config>) -> MutexGuard<'_, Config> {
    config.lock().unwrap_or_else(PoisonError::into_inner)
}
