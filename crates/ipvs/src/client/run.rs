//! Changes, one or many: sent in windows, each with a result.

use std::mem;

use ipvs_sys::Command;

use crate::change::Change;
use crate::change::batch::Batch;
use crate::client::Client;
use crate::client::exchange::Trouble;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::Object;
use crate::model::sync_daemon::SyncRole;
use crate::proto::engine::{Event, Failure, RequestId};
use crate::proto::request::{Request, Shape};
use crate::trace;
use crate::transport::Transport;

/// A change that was sent, and how it ended, once that is known.
#[derive(Debug)]
struct Sent {
    id: RequestId,
    /// Which change of the batch.
    index: usize,
    outcome: Option<Result<(), Failure>>,
}

impl Sent {
    fn is_enoent(&self) -> bool {
        matches!(&self.outcome, Some(Err(failure)) if failure.is_enoent())
    }

    fn is_unknown(&self) -> bool {
        matches!(self.outcome, None | Some(Err(Failure::Unknown)))
    }
}

/// Where answers are missing to the end of a window, ENOENT right before them may come of a family id
/// that is no longer IPVS' as well as of IPVS: which, only the missing answers would tell.
fn doubt_enoent(window: &mut [Sent]) {
    let doubtful = |sent: &Sent| sent.is_enoent() || sent.is_unknown();
    let start = window.iter().rposition(|sent| !doubtful(sent)).map_or(0, |i| i + 1);
    let end = window.iter().rposition(Sent::is_unknown).unwrap_or(0).max(start);
    window[start..end].iter_mut().for_each(|sent| sent.outcome = None);
}

impl<T: Transport> Client<T> {
    /// Carries out a batch, and returns a result for each change, in the order of the batch.
    ///
    /// Each result is what the single call would have returned. A change that was sent and whose
    /// answer is missing or can't be read is [`ErrorKind::OutcomeUnknown`], and only that: those
    /// before it that were answered keep their results. If the kernel can't be reached any more
    /// (no answer until the deadline, an error of the socket, a module that was unloaded), the
    /// changes that weren't sent are [`ErrorKind::NotSent`]: no call waits for more than one
    /// deadline.
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

    /// Carries out a batch like [`run`](Self::run), and tells `on_result` each change's place in the
    /// batch, from 0 on, and its result, in order and as they come.
    pub fn run_each(&mut self, batch: &Batch, mut on_result: impl FnMut(usize, Result<(), Error>)) {
        let _span = trace::changes(batch.len());
        let mut on_result = |index, result: Result<(), Error>| {
            let change = batch.change(index);
            let result = batch.result(index, result);
            trace::ended(change.operation(), change.object().as_ref(), result.as_ref().copied());
            on_result(index, result);
        };
        let mut window = Vec::new();
        let mut next = 0;
        let mut repeated = None;
        while next < batch.len() {
            let mut end = self.fill(batch, next, &mut window);
            trace::window(next, window.len());
            let trouble = self.exchange(&mut window).err();
            // A family id that is no longer IPVS' makes everything from some request on fail with
            // ENOENT, to the last of the window; none of that was carried out.
            let (mut unfound, mut is_same) = (None, false);
            if trouble.is_none() && window.last().is_some_and(Sent::is_enoent) {
                let kept = window.iter().rposition(|sent| !sent.is_enoent()).map_or(0, |i| i + 1);
                let start = window[kept].index;
                match self.family_changed() {
                    Ok(false) => is_same = true,
                    // Once for each request: a family that never stays is an answer, too.
                    Ok(true) if repeated == Some(start) => {}
                    Ok(true) => {
                        trace::repeats(start);
                        window.truncate(kept);
                        (end, repeated) = (start, Some(start));
                    }
                    Err(cause) => unfound = Some((start, cause)),
                }
            }
            if !is_same {
                doubt_enoent(&mut window);
            }
            let mut sent = window.drain(..).peekable();
            for index in next..end {
                let Some(Sent { outcome, .. }) = sent.next_if(|sent| sent.index == index) else {
                    on_result(index, batch.request(index).map(|_| ()));
                    continue;
                };
                let result = match (&unfound, outcome, &trouble) {
                    (Some((start, cause)), ..) if index >= *start => Err(cause.for_change()),
                    // Looking whether the daemon is gone would wait for a second deadline.
                    (_, Some(Err(Failure::Unacknowledged)), Some(trouble)) => {
                        Err(trouble.unanswered())
                    }
                    (_, Some(outcome), _) => outcome.map_err(Into::into),
                    (_, None, Some(trouble)) => Err(trouble.unanswered()),
                    (_, None, None) => Err(Failure::Unknown.into()),
                };
                on_result(index, self.settle(batch, index, result));
            }
            next = end;
            if unfound.is_some() || trouble.is_some_and(|trouble| !trouble.is_lost_answers()) {
                break;
            }
        }
        for index in next..batch.len() {
            let unsent = || batch.error(index, ErrorKind::NotSent);
            on_result(
                index,
                Err(batch.request(index).map_or_else(|invalid| invalid, |_| unsent())),
            );
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

    /// Pushes as many changes as fit in a window, and returns where to go on.
    fn fill(&mut self, batch: &Batch, start: usize, window: &mut Vec<Sent>) -> usize {
        for index in start..batch.len() {
            let Ok((message, shape)) = batch.request(index) else { continue };
            let stops_daemon = shape == Shape::AcknowledgedChange;
            if stops_daemon && !window.is_empty() {
                return index;
            }
            let Ok(id) = self.engine.push_written(message, shape) else { return index };
            window.push(Sent { id, index, outcome: None });
            if stops_daemon {
                // A daemon that is stopped before its thread first ran ends the command with EINTR,
                // and then the kernel sends no acknowledgement at all. A question behind it in the
                // same window gets an answer in any case, and so nobody has to wait for a deadline.
                // The window has no more, so that a daemon which a later change starts isn't taken
                // for the one that was to be stopped; and so there's room for the question.
                let question = Request::new(Command::GetConfig, Shape::Get);
                let pushed = self.engine.push(&question);
                debug_assert!(pushed.is_ok(), "a window takes more than one request");
                return index + 1;
            }
        }
        batch.len()
    }

    fn exchange(&mut self, window: &mut [Sent]) -> Result<(), Trouble> {
        // Requests end in the order in which they were pushed.
        let mut waiting = window.iter_mut();
        self.drive(&mut |event: Event<'_>| {
            if let Event::Settled { id, outcome } = event {
                if let Some(sent) = waiting.find(|sent| sent.id == id) {
                    sent.outcome = Some(outcome);
                }
            }
        })
    }

    fn settle(
        &mut self,
        batch: &Batch,
        index: usize,
        result: Result<(), Trouble>,
    ) -> Result<(), Error> {
        let change = batch.change(index);
        let (operation, object) = (change.operation(), change.object());
        match (result, object) {
            (Err(Trouble::Failure(Failure::Unacknowledged)), Some(Object::SyncDaemon(role))) => {
                let unknown = || batch.error(index, ErrorKind::OutcomeUnknown);
                match self.sync_daemon_runs(role) {
                    Ok(false) => Ok(()),
                    Ok(true) => Err(unknown()),
                    Err(cause) => Err(unknown().with_source(cause)),
                }
            }
            (result, _) => {
                result.map_err(|trouble| change.explain(trouble.into_error(operation, object)))
            }
        }
    }

    fn sync_daemon_runs(&mut self, role: SyncRole) -> Result<bool, Error> {
        Ok(self.sync_daemons()?.iter().any(|daemon| daemon.role == role))
    }
}
