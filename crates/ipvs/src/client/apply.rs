//! Applying a plan.

use crate::change::batch::Batch;
use crate::client::Client;
use crate::error::Error;
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::outcome::{ApplyError, Outcome};
use crate::reconcile::plan::progress::Progress;
use crate::trace;
use crate::transport::Transport;

impl<T: Transport> Client<T> {
    /// Applies a plan, in a few system calls. This isn't atomic: other programs can see and change
    /// the table in between.
    ///
    /// Each phase of the plan (additions, edits, edits that set a weight to 0, deletions) begins
    /// when the one before it has ended. If the kernel refuses a step, every step that doesn't
    /// depend on it is still executed. The only steps [held back](Outcome::HeldBack) are those that
    /// would remove a service's last live real server although it should have one. An error that
    /// isn't about one step, such as a missing privilege or reply, ends the plan with the phase.
    ///
    /// To continue after an error, make a new plan from the table as it is then: it has only the
    /// steps that are still necessary. Applying the same plan again fails at the steps that
    /// succeeded, because existing objects can't be added.
    ///
    /// # Errors
    ///
    /// If any step wasn't done: [`ApplyError`] has the outcome of each.
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
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(plan.steps().len());
        outcomes.resize_with(plan.steps().len(), || Outcome::NotTried);
        let mut progress = Progress::new(plan);
        let mut batch = Batch::new();
        loop {
            let sent = progress.poll_send();
            if sent.is_empty() {
                break;
            }
            batch.clear();
            for &index in &sent {
                batch.push(&plan.steps()[index]);
            }
            trace::phase(sent.len(), progress.pending());
            self.run_each(&batch, |place, result| {
                let kind = result.as_ref().copied().map_err(Error::kind);
                progress.handle_result(sent[place], kind);
                outcomes[sent[place]] = Outcome::of(result);
            });
        }
        for (index, outcome) in outcomes.iter_mut().enumerate() {
            if let Some(held_back) = progress.held_back(index) {
                *outcome = Outcome::HeldBack(held_back);
            }
        }
        if outcomes.iter().all(|outcome| matches!(outcome, Outcome::Done)) {
            return Ok(());
        }
        Err(ApplyError { steps: plan.steps().iter().cloned().zip(outcomes).collect() })
    }
}
