//! Executing changes, one or many: sent in windows, each with a result.

use std::mem;

use crate::change::Change;
use crate::change::batch::Batch;
use crate::client::Client;
use crate::client::exchange::ExchangeError;
use crate::client::window::Window;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::Object;
use crate::model::sync_daemon::SyncRole;
use crate::proto::engine::Failure;
use crate::trace;
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// Executes a batch, and returns a result for each change, in the order of the batch.
    ///
    /// Each result is what the single call would have returned. A change that was sent, but whose
    /// reply is missing or unreadable, fails with [`ErrorKind::OutcomeUnknown`]; the answered ones
    /// before it keep their results. Once the kernel can no longer be reached (no reply before the
    /// deadline, a socket error, an unloaded module), the unsent changes fail with
    /// [`ErrorKind::NotSent`]: no call waits for more than one deadline.
    ///
    /// ```
    /// use ipvs::{Batch, ErrorKind, ServiceKey};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let old: Vec<ServiceKey> = vec!["tcp/10.10.10.53:80".parse()?, "fwmark/7".parse()?];
    /// let mut batch = Batch::new();
    /// for key in &old {
    ///     batch.delete_service(key);
    /// }
    /// for (key, result) in old.iter().zip(client.run(&batch)) {
    ///     match result {
    ///         Err(error) if error.kind() == ErrorKind::ServiceNotFound => println!("{key}: gone"),
    ///         other => other?,
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use = "each change has a result of its own"]
    pub fn run(&mut self, batch: &Batch) -> Vec<Result<(), Error>> {
        let mut results = Vec::with_capacity(batch.len());
        self.run_each(batch, |_, result| results.push(result));
        results
    }

    /// Executes a batch like [`run`](Self::run), and passes to `on_result` each change's index in
    /// the batch and its result, in order and as they come.
    pub fn run_each(&mut self, batch: &Batch, mut on_result: impl FnMut(usize, Result<(), Error>)) {
        let _span = trace::changes(batch.len());
        let mut on_result = |index, result: Result<(), Error>| {
            let change = batch.change(index);
            let result = batch.result(index, result);
            trace::ended(change.operation(), change.object().as_ref(), result.as_ref().copied());
            on_result(index, result);
        };
        let mut window = Window::default();
        while window.end() < batch.len() && !window.ends_batch() {
            self.fill(&mut window, batch);
            self.exchange(&mut window);
            self.check_family(&mut window);
            for index in window.changes() {
                let outcome = window.take_outcome(index);
                on_result(index, self.complete(batch, index, outcome));
            }
        }
        for index in window.end()..batch.len() {
            on_result(index, Err(batch.unsent(index)));
        }
    }

    /// Makes one change, as the method that it is named after does.
    ///
    /// # Errors
    ///
    /// Those of that method.
    pub fn change(&mut self, change: impl Into<Change>) -> Result<(), Error> {
        let mut batch = mem::take(&mut self.single);
        batch.clear();
        batch.push(change);
        let mut outcome = Ok(());
        self.run_each(&batch, |_, result| outcome = result);
        self.single = batch;
        outcome
    }

    /// The result of a change, given how its request ended; `None` if it has no request.
    fn complete(
        &mut self,
        batch: &Batch,
        index: usize,
        outcome: Option<Result<(), ExchangeError>>,
    ) -> Result<(), Error> {
        let Some(outcome) = outcome else { return batch.request(index).map(|_| ()) };
        let change = batch.change(index);
        let (operation, object) = (change.operation(), change.object());
        match (outcome, object) {
            (
                Err(ExchangeError::Failure(Failure::Unacknowledged)),
                Some(Object::SyncDaemon(role)),
            ) => {
                let unknown = || batch.error(index, ErrorKind::OutcomeUnknown);
                match self.sync_daemon_runs(role) {
                    Ok(false) => Ok(()),
                    Ok(true) => Err(unknown()),
                    Err(cause) => Err(unknown().with_source(cause)),
                }
            }
            (outcome, _) => {
                outcome.map_err(|error| change.explain(error.into_error(operation, object)))
            }
        }
    }

    fn sync_daemon_runs(&mut self, role: SyncRole) -> Result<bool, Error> {
        Ok(self.sync_daemons()?.iter().any(|daemon| daemon.role == role))
    }
}
