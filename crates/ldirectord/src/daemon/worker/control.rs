//! What clients of the control socket get from the worker.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use director::control::{ErrorKind, Handler, Order, Refusal, Reloaded};
use director::{Decided, Handle, Status};
use tokio::sync::{oneshot, watch};

use super::super::link::{Loaded, ToParent};
use super::observer::Parent;

/// What is known of the configuration, and who waits for news of it.
#[derive(Debug)]
pub(super) struct State {
    instance: String,
    /// Since when the configuration has been in force.
    since: Cell<Instant>,
    /// Why the file as it is isn't in force.
    error: RefCell<Option<String>>,
    /// Requests to read the file again.
    reloads: RefCell<HashMap<u64, oneshot::Sender<Result<Reloaded, Refusal>>>>,
    last_request: Cell<u64>,
    /// The engine has ended.
    ended: watch::Sender<bool>,
}

impl State {
    pub(super) fn new(instance: String) -> Rc<Self> {
        Rc::new(Self {
            instance,
            since: Cell::new(Instant::now()),
            error: RefCell::default(),
            reloads: RefCell::default(),
            last_request: Cell::default(),
            ended: watch::Sender::new(false),
        })
    }

    /// A file was applied, or not; tells those who asked for it.
    pub(super) fn loaded(&self, outcome: &Loaded, requests: &[u64]) {
        let result = match outcome {
            Loaded::InForce { warnings, held_back, .. } => {
                self.since.set(Instant::now());
                let mut reloaded = Reloaded::new(warnings.clone());
                reloaded.held_back = held_back.clone();
                Ok(reloaded)
            }
            Loaded::Refused(broken) => Err(Refusal::from(broken.report.clone())),
            Loaded::Failed(error) => Err(Refusal::from(error.clone())),
        };
        *self.error.borrow_mut() = outcome.error();
        let mut waiting = self.reloads.borrow_mut();
        for waiting in requests.iter().filter_map(|id| waiting.remove(id)) {
            let _ = waiting.send(result.clone());
        }
    }

    /// The engine has ended, and writes no more.
    pub(super) fn ended(&self) {
        self.ended.send_replace(true);
    }
}

/// Serves clients.
#[derive(Debug)]
pub(super) struct Clients {
    pub(super) engine: Handle,
    pub(super) parent: Parent,
    pub(super) state: Rc<State>,
}

impl Handler for Clients {
    async fn status(&self) -> Result<Status, Refusal> {
        let mut status = self.engine.status().await?;
        status.instance.clone_from(&self.state.instance);
        status.config.in_force_for = self.state.since.get().elapsed();
        status.config.error.clone_from(&self.state.error.borrow());
        Ok(status)
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
        let request = self.state.last_request.get() + 1;
        self.state.last_request.set(request);
        let (sender, outcome) = oneshot::channel();
        self.state.reloads.borrow_mut().insert(request, sender);
        self.parent.say(ToParent::Reload { request }).await;
        let ended = || Err(Refusal::new(ErrorKind::Failed, "this instance is stopping"));
        outcome.await.unwrap_or_else(|_| ended())
    }

    async fn stop(&self, keep_table: bool) -> Result<(), Refusal> {
        let mut ended = self.state.ended.subscribe();
        // It tells this process to stop, and takes care of the rest.
        self.parent.say(ToParent::Stop { keep_table }).await;
        let waited = ended.wait_for(|ended| *ended).await.map(drop);
        waited.map_err(|_| Refusal::new(ErrorKind::Failed, "this instance has ended"))
    }
}
