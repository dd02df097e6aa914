//! Which steps of a plan are sent, given the outcomes of those before them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::error::kind::ErrorKind;
use crate::model::key::{DestinationKey, ServiceKey};
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::outcome::{Dependency, HeldBack};
use crate::reconcile::plan::step::Phase;
use crate::reconcile::plan::step::Step;

/// Walks through the phases of a plan without I/O.
///
/// [`poll_send`](Self::poll_send) returns the steps to send next, until there are none;
/// [`handle_result`](Self::handle_result) takes the result of each. In the end,
/// [`held_back`](Self::held_back) says why a step was never sent; all others that weren't sent were
/// left out because an error ended the plan.
///
/// While nothing fails, a phase is sent as a whole. Which live real servers a virtual service has
/// only matters if one of its steps failed, and is only worked out then.
pub(crate) struct Progress<'a> {
    plan: &'a Plan,
    fates: Vec<Fate>,
    /// The steps of the current phase; empty once it's over.
    phase: Range<usize>,
    /// Virtual services with a failed step.
    affected: BTreeSet<ServiceKey>,
    stopped: bool,
}

/// What became of a step so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Pending,
    Sent,
    Done,
    /// The kernel refused it, so nothing changed.
    Refused,
    /// The kernel refused it, because its object doesn't exist.
    Gone,
    /// It may have been executed.
    Unknown,
    HeldBack {
        by: usize,
        dependency: Dependency,
    },
}

/// What is known about a virtual service with a failed step.
#[derive(Debug, Default)]
struct Believed {
    /// Whether it should have a live real server when the plan has ended.
    is_to_live: bool,
    /// Whether it has a live real server that no step touches.
    is_covered: bool,
    /// Live real servers among those that steps touch.
    live: BTreeSet<DestinationKey>,
    /// The failed step to blame if something is held back: ideally one whose failure leaves a live
    /// real server missing.
    failed: Option<(Blame, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Blame {
    ALiveServerIsMissing,
    SomethingElse,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        Self {
            plan,
            fates: vec![Fate::Pending; plan.steps.len()],
            phase: 0..0,
            affected: BTreeSet::new(),
            stopped: false,
        }
    }

    /// The steps to send next, in order. If there are none, the plan has ended.
    pub(crate) fn poll_send(&mut self) -> Vec<usize> {
        while !self.stopped {
            if self.phase.is_empty() {
                let rest = &self.plan.steps[self.phase.end..];
                let Some(first) = rest.first() else { break };
                let length = rest.iter().take_while(|step| step.phase() == first.phase()).count();
                self.phase = self.phase.end..self.phase.end + length;
            }
            // The real server that a refused removal left in place may release another removal.
            let mut services = self.believed();
            let mut sent = Vec::new();
            let mut held_back = Vec::new();
            for index in self.phase.clone() {
                if self.fates[index] != Fate::Pending {
                    continue;
                }
                let step = &self.plan.steps[index];
                let by = services.get_mut(step.service()).and_then(|service| service.take(step));
                match by {
                    None => {
                        self.fates[index] = Fate::Sent;
                        sent.push(index);
                    }
                    Some(by) => held_back.push((index, by)),
                }
            }
            if !sent.is_empty() {
                return sent;
            }
            for (index, by) in held_back {
                self.fates[index] = Fate::HeldBack { by, dependency: Dependency::LiveServer };
            }
            self.phase = self.phase.end..self.phase.end;
        }
        Vec::new()
    }

    /// The number of steps in the current phase that are held back so far.
    pub(crate) fn pending(&self) -> usize {
        self.phase.clone().filter(|&index| self.fates[index] == Fate::Pending).count()
    }

    /// Takes the result of a step that was sent: `Ok`, or the kind of the error.
    pub(crate) fn handle_result(&mut self, index: usize, result: Result<(), ErrorKind>) {
        let step = &self.plan.steps[index];
        let fate = match result {
            Ok(()) => Fate::Done,
            Err(ErrorKind::ServiceNotFound) => match self.missing_service(index) {
                // It was sent along with the service, which a gap between the two would delay.
                Some(by) => Fate::HeldBack { by, dependency: Dependency::Service },
                None => Fate::Gone,
            },
            Err(ErrorKind::DestinationNotFound) => Fate::Gone,
            Err(ErrorKind::NotSent) => Fate::Pending,
            Err(ErrorKind::OutcomeUnknown) => Fate::Unknown,
            Err(_) => Fate::Refused,
        };
        self.fates[index] = fate;
        if let Err(kind) = result {
            self.affected.insert(*step.service());
            self.stopped |= ends_everything(kind);
        }
    }

    /// Why a step was left out, or took no effect, because of another; `None` if it wasn't.
    pub(crate) fn held_back(&self, index: usize) -> Option<HeldBack> {
        match self.fates[index] {
            Fate::HeldBack { by, dependency } => {
                let failed = Box::new(self.plan.steps[by].clone());
                Some(HeldBack { failed, dependency })
            }
            _ => None,
        }
    }

    /// The failed addition of the virtual service that a real server is to be added to.
    fn missing_service(&self, index: usize) -> Option<usize> {
        let (steps, key) = (&self.plan.steps[..index], self.plan.steps[index].service());
        // The service is right before its real servers.
        let by = steps.iter().rposition(|step| match step {
            Step::AddDestination { service, .. } => service != key,
            _ => true,
        })?;
        let is_its = matches!(&steps[by], Step::AddService(service) if service.key == *key);
        (is_its && !matches!(self.fates[by], Fate::Done)).then_some(by)
    }

    /// What is known about the virtual services with failed steps.
    fn believed(&self) -> BTreeMap<ServiceKey, Believed> {
        let mut services = BTreeMap::new();
        if self.affected.is_empty() {
            return services;
        }
        for (index, (step, fate)) in self.plan.steps.iter().zip(&self.fates).enumerate() {
            let key = step.service();
            if self.affected.contains(key) {
                let service: &mut Believed = services.entry(*key).or_default();
                service.learn(index, step, *fate);
            }
        }
        for key in &self.plan.covered {
            if let Some(service) = services.get_mut(key) {
                (service.is_covered, service.is_to_live) = (true, true);
            }
        }
        services
    }
}

impl Believed {
    /// Adds a step of the service and its outcome. If that is unknown, it assumes the worst.
    fn learn(&mut self, index: usize, step: &Step, fate: Fate) {
        let (server, was_live, is_to_be_live) = match step {
            Step::AddService(_) | Step::SetService { .. } | Step::DeleteService(_) => {
                self.blame(index, fate, Blame::SomethingElse);
                return;
            }
            Step::AddDestination { destination, .. } => {
                (destination.key(), false, destination.weight > 0)
            }
            Step::SetDestination { from, to, .. } => (to.key(), from.weight > 0, to.weight > 0),
            Step::DrainDestination { destination, .. }
            | Step::DeleteDestination { destination, .. } => {
                (destination.key(), destination.weight > 0, false)
            }
        };
        self.is_to_live |= is_to_be_live;
        let is_live = match fate {
            Fate::Pending | Fate::Refused | Fate::HeldBack { .. } => was_live,
            Fate::Done => is_to_be_live,
            Fate::Sent | Fate::Unknown => was_live && is_to_be_live,
            Fate::Gone => false,
        };
        if is_live {
            self.live.insert(server);
        }
        let is_missing = is_to_be_live && !is_live;
        let blame = if is_missing { Blame::ALiveServerIsMissing } else { Blame::SomethingElse };
        self.blame(index, fate, blame);
    }

    fn blame(&mut self, index: usize, fate: Fate, blame: Blame) {
        if matches!(fate, Fate::Refused | Fate::Gone | Fate::Unknown) {
            let earlier = self.failed.unwrap_or((blame, index));
            self.failed = Some(earlier.min((blame, index)));
        }
    }

    /// Lets a step be sent, or says which failed one holds it back.
    fn take(&mut self, step: &Step) -> Option<usize> {
        let server = match step {
            Step::SetDestination { to, .. } if step.phase() == Phase::TurnOff => to.key(),
            Step::DrainDestination { destination, .. }
            | Step::DeleteDestination { destination, .. } => destination.key(),
            _ => return None,
        };
        let is_last = self.live.len() == 1 && self.live.contains(&server) && !self.is_covered;
        if is_last && self.is_to_live {
            return self.failed.map(|(_, index)| index);
        }
        self.live.remove(&server);
        None
    }
}

/// Whether other services will get the same error.
fn ends_everything(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::PermissionDenied
            | ErrorKind::NotAvailable
            | ErrorKind::Unloading
            | ErrorKind::OutOfMemory
            | ErrorKind::OutcomeUnknown
            | ErrorKind::NotSent
            | ErrorKind::Protocol
            | ErrorKind::Io
    )
}
