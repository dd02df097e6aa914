//! Carrying out a plan.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;

use super::{Plan, Step};
use crate::trace;
use crate::{Batch, Client, Error, ErrorKind, ServiceKey, Transport};

impl<T: Transport> Client<T> {
    /// Carries out a plan, in a few system calls. It isn't atomic: other programs see and change
    /// what is there in between.
    ///
    /// Each phase of the plan (additions, edits, edits that take all weight, deletions) begins
    /// when the one before it has ended. If the kernel refuses a step, later phases leave that
    /// virtual service as it is, so that no real server is taken out whose successor couldn't be
    /// added; other services go on. An error that has nothing to do with one step, such as missing
    /// privileges or an answer that didn't come, ends the plan with the phase.
    ///
    /// To go on after an error, make a new plan from what is there then: steps that were done
    /// aren't in it, and those whose outcome is unknown are if need be. The same plan a second
    /// time fails where it was done before, because what exists can't be added.
    ///
    /// # Errors
    ///
    /// If any step wasn't done: [`ApplyError`] says what became of each.
    ///
    /// ```
    /// use ipvs::plan::{Options, Plan};
    /// use ipvs::{Service, Table};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let desired = Table::new().with(Service::new("tcp/10.10.10.53:80".parse()?));
    /// let current = client.snapshot()?.into_table();
    /// let plan = Plan::diff(&current, &desired, &Options::new());
    /// print!("{plan}");
    /// client.apply(&plan)?;
    /// # assert_eq!(client.snapshot()?.into_table(), desired);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply(&mut self, plan: &Plan) -> Result<(), ApplyError> {
        let _span = trace::apply(plan.steps().len());
        let mut outcomes = Vec::with_capacity(plan.steps().len());
        let mut left: BTreeSet<ServiceKey> = BTreeSet::new();
        let mut stopped = false;
        for phase in plan.steps().chunk_by(|a, b| a.phase() == b.phase()) {
            let is_sent = |step: &Step| !stopped && !left.contains(step.service());
            let (sent, batch) = batch(phase, is_sent);
            trace::phase(batch.len(), phase.len() - batch.len());
            let mut results = self.run(&batch).into_iter();
            for (step, is_sent) in phase.iter().zip(sent) {
                let result = if is_sent { results.next() } else { None };
                let outcome = result.map_or(Outcome::NotTried, Outcome::of);
                if let Outcome::Failed(error) | Outcome::Unknown(error) = &outcome {
                    left.insert(*step.service());
                    stopped |= ends_everything(error.kind());
                }
                outcomes.push(outcome);
            }
        }
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done)) {
            return Ok(());
        }
        Err(ApplyError { steps: plan.steps().iter().cloned().zip(outcomes).collect() })
    }
}

/// Which steps are sent, and the requests for these.
fn batch(steps: &[Step], is_sent: impl Fn(&Step) -> bool) -> (Vec<bool>, Batch) {
    let mut batch = Batch::new();
    let sent: Vec<bool> = steps.iter().map(is_sent).collect();
    for (step, _) in steps.iter().zip(&sent).filter(|(_, sent)| **sent) {
        batch.push(step);
    }
    (sent, batch)
}

/// Whether other services are bound to meet the same error.
fn ends_everything(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied
            | ErrorKind::NotAvailable
            | ErrorKind::Unloading
            | ErrorKind::OutOfMemory
            | ErrorKind::OutcomeUnknown
            | ErrorKind::Protocol
            | ErrorKind::Io
    )
}

/// What became of a step.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The kernel has carried it out.
    Done,
    /// It wasn't carried out.
    Failed(Error),
    /// It was sent, and no answer came.
    Unknown(Error),
    /// It wasn't sent, because of an earlier error.
    NotTried,
}

impl Outcome {
    fn of(result: Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(error) => match error.kind() {
                ErrorKind::OutcomeUnknown => Self::Unknown(error),
                ErrorKind::NotSent => Self::NotTried,
                _ => Self::Failed(error),
            },
        }
    }
}

/// A plan that wasn't carried out as a whole.
///
/// Its text is a summary, its source the first error; [`steps`](Self::steps) has what became of each.
#[derive(Debug)]
pub struct ApplyError {
    steps: Vec<(Step, Outcome)>,
}

impl ApplyError {
    /// All steps of the plan, in order, and what became of each.
    pub fn steps(&self) -> &[(Step, Outcome)] {
        &self.steps
    }

    /// The first error.
    pub fn first_error(&self) -> Option<&Error> {
        self.steps.iter().find_map(|(_, outcome)| match outcome {
            Outcome::Failed(error) | Outcome::Unknown(error) => Some(error),
            Outcome::Done | Outcome::NotTried => None,
        })
    }

    fn count(&self, is: impl Fn(&Outcome) -> bool) -> usize {
        self.steps.iter().filter(|(_, outcome)| is(outcome)).count()
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.count(|it| matches!(it, Outcome::Done));
        let failed = self.count(|it| matches!(it, Outcome::Failed(_)));
        let unknown = self.count(|it| matches!(it, Outcome::Unknown(_)));
        let not_tried = self.count(|it| matches!(it, Outcome::NotTried));
        write!(f, "of {} steps {done} were done, {failed} failed", self.steps.len())?;
        if unknown > 0 {
            write!(f, ", the outcome of {unknown} is unknown")?;
        }
        if not_tried > 0 {
            write!(f, ", {not_tried} were not tried")?;
        }
        Ok(())
    }
}

impl StdError for ApplyError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.first_error().map(|error| error as &(dyn StdError + 'static))
    }
}
