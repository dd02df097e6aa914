//! A window: changes of a batch that are sent together, and how each of them ended.

use std::collections::VecDeque;
use std::ops::Range;

use ipvs_sys::Command;

use crate::change::batch::Batch;
use crate::client::Client;
use crate::client::exchange::ExchangeError;
use crate::proto::engine::{Event, Failure, RequestId};
use crate::proto::request::{Request, RequestKind};
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

/// Changes of a batch that are sent together. One window is used for all of a batch, one after the
/// other: [`Client::fill`], [`Client::exchange`], [`Client::check_family`], then
/// [`take_outcome`](Self::take_outcome) for each of its [changes](Self::changes), in order.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Its changes, including those that have no request because a value is invalid.
    changes: Range<usize>,
    sent: VecDeque<Sent>,
    /// What kept the remaining replies from coming.
    error: Option<ExchangeError>,
    /// The change from which on IPVS may be gone from the kernel, and why that isn't known.
    family_error: Option<(usize, ExchangeError)>,
    /// The change from which on requests were last repeated for a new family.
    repeated: Option<usize>,
}

impl Window {
    /// The batch's changes in this window.
    pub(super) fn changes(&self) -> Range<usize> {
        self.changes.clone()
    }

    /// The change after it.
    pub(super) fn end(&self) -> usize {
        self.changes.end
    }

    /// Whether the window ends the batch because the kernel can no longer be reached.
    pub(super) fn ends_batch(&self) -> bool {
        let is_fatal = |error: &ExchangeError| !error.is_lost_replies();
        self.family_error.is_some() || self.error.as_ref().is_some_and(is_fatal)
    }

    /// How a change of the window ended; `None` if it wasn't sent.
    pub(super) fn take_outcome(&mut self, index: usize) -> Option<Result<(), ExchangeError>> {
        self.sent.front().filter(|sent| sent.index == index)?;
        let Sent { outcome, .. } = self.sent.pop_front()?;
        Some(match (&self.family_error, outcome, &self.error) {
            (Some((start, cause)), ..) if index >= *start => Err(cause.for_change()),
            // Checking whether the daemon is gone would wait for a second deadline.
            (_, Some(Err(Failure::Unacknowledged)), Some(error)) => Err(error.unanswered()),
            (_, Some(outcome), _) => outcome.map_err(Into::into),
            (_, None, Some(error)) => Err(error.unanswered()),
            (_, None, None) => Err(Failure::Unknown.into()),
        })
    }

    /// The first change of those at the end that all failed with ENOENT.
    fn enoent_start(&self) -> Option<usize> {
        let kept = self.sent.iter().rposition(|sent| !sent.is_enoent()).map_or(0, |i| i + 1);
        self.sent.get(kept).map(|sent| sent.index)
    }

    /// Removes the changes from `start` on, so that the next window sends them again.
    fn repeat_from(&mut self, start: usize) {
        self.sent.retain(|sent| sent.index < start);
        self.changes.end = start;
        self.repeated = Some(start);
    }

    /// If all replies at the end are missing, ENOENT right before them may come from a family id
    /// that is no longer IPVS's, or from IPVS: only the missing replies would tell which.
    fn doubt_enoent(&mut self) {
        let doubtful = |sent: &Sent| sent.is_enoent() || sent.is_unknown();
        let start = self.sent.iter().rposition(|sent| !doubtful(sent)).map_or(0, |i| i + 1);
        let end = self.sent.iter().rposition(Sent::is_unknown).unwrap_or(0).max(start);
        self.sent.range_mut(start..end).for_each(|sent| sent.outcome = None);
    }
}

impl<T: Transport> Client<T> {
    /// Makes it the next window of the batch, with as many changes as fit.
    pub(super) fn fill(&mut self, window: &mut Window, batch: &Batch) {
        let start = window.changes.end;
        window.sent.clear();
        (window.error, window.family_error) = (None, None);
        window.changes = start..self.push_changes(batch, start, &mut window.sent);
    }

    /// Pushes as many changes as fit in a window, and returns where to go on.
    fn push_changes(&mut self, batch: &Batch, start: usize, sent: &mut VecDeque<Sent>) -> usize {
        for index in start..batch.len() {
            let Ok((message, kind)) = batch.request(index) else { continue };
            let stops_daemon = kind == RequestKind::AcknowledgedChange;
            if stops_daemon && !sent.is_empty() {
                return index;
            }
            let Ok(id) = self.engine.push_written(message, kind) else { return index };
            sent.push_back(Sent { id, index, outcome: None });
            if stops_daemon {
                // A daemon that is stopped before its thread first ran ends the command with EINTR,
                // and then the kernel sends no acknowledgement at all. A question behind it in the
                // same window is answered in any case, so nobody has to wait for a deadline.
                // Nothing else is in that window: a daemon that a later change starts must not be
                // taken for the one that was to be stopped, and the question needs room.
                let question = Request::new(Command::GetConfig, RequestKind::Get);
                let pushed = self.engine.push(&question);
                debug_assert!(pushed.is_ok(), "a window takes more than one request");
                return index + 1;
            }
        }
        batch.len()
    }

    /// Sends a window, and receives until all of it has ended.
    pub(super) fn exchange(&mut self, window: &mut Window) {
        trace::window(window.changes.start, window.sent.len());
        // Requests complete in the order in which they were pushed.
        let mut in_flight = window.sent.iter_mut();
        let exchanged = self.drive(&mut |event: Event<'_>| {
            if let Event::Completed { id, outcome } = event {
                if let Some(sent) = in_flight.find(|sent| sent.id == id) {
                    sent.outcome = Some(outcome);
                }
            }
        });
        window.error = exchanged.err();
    }

    /// A family id that is no longer IPVS's makes every request from some point on fail with
    /// ENOENT, and none of these was executed: they are repeated with the new id.
    pub(super) fn check_family(&mut self, window: &mut Window) {
        if let (None, Some(start)) = (&window.error, window.enoent_start()) {
            match self.family_changed() {
                // It is IPVS that says ENOENT.
                Ok(false) => return,
                // Once for each request: a family that never stays is an answer, too.
                Ok(true) if window.repeated == Some(start) => {}
                Ok(true) => {
                    trace::repeats(start);
                    window.repeat_from(start);
                }
                Err(cause) => window.family_error = Some((start, cause)),
            }
        }
        window.doubt_enoent();
    }
}
