//! Making a plan: from two tables to the steps between them.

use std::collections::BTreeMap;
use std::iter;

use crate::model::destination::Destination;
use crate::model::key::ServiceKey;
use crate::model::service::Service;
use crate::model::table::{Table, TableService};
use crate::reconcile::plan::Plan;
use crate::reconcile::plan::options::Ready;
use crate::reconcile::plan::options::{Options, Removal};
use crate::reconcile::plan::step::Phase;
use crate::reconcile::plan::step::Step;

impl Plan {
    /// The steps that turn a kernel's `current` table into `desired`, in an order that is safe for
    /// clients: see the [module](super). Empty if there is no difference.
    ///
    /// Only applying it shows what the kernel refuses.
    #[must_use = "a plan changes nothing until it is applied"]
    pub fn diff(current: &Table, desired: &Table, options: &Options) -> Self {
        Self::diff_draining(current, desired, options, options.drained.as_ref())
    }

    /// As [`diff`](Self::diff), for one virtual service; `None` stands for a missing or unwanted
    /// one.
    ///
    /// Plans of several services can be [joined](#impl-FromIterator<Plan>-for-Plan).
    #[must_use = "a plan changes nothing until it is applied"]
    pub fn diff_service(
        current: Option<&TableService>,
        desired: Option<&TableService>,
        options: &Options,
    ) -> Self {
        Self::diff_service_draining(current, desired, options, options.drained.as_ref())
    }

    pub(super) fn diff_draining(
        current: &Table,
        desired: &Table,
        options: &Options,
        drained: Option<&Ready>,
    ) -> Self {
        let mut diff = Diff { options, drained, plan: Self::default() };
        for wanted in desired.services() {
            diff.wanted_service(current.get(wanted.key()), wanted);
        }
        for present in current.services().filter(|it| desired.get(it.key()).is_none()) {
            diff.unwanted_service(present);
        }
        diff.plan.sort();
        diff.plan
    }

    pub(super) fn diff_service_draining(
        current: Option<&TableService>,
        desired: Option<&TableService>,
        options: &Options,
        drained: Option<&Ready>,
    ) -> Self {
        let mut diff = Diff { options, drained, plan: Self::default() };
        match (current, desired) {
            (current, Some(wanted)) => {
                let same = current.filter(|current| current.key() == wanted.key());
                diff.wanted_service(same, wanted);
            }
            (Some(present), None) => diff.unwanted_service(present),
            (None, None) => {}
        }
        diff.plan.sort();
        diff.plan
    }

    fn sort(&mut self) {
        // The sort is stable, so that a new service stays in front of its real servers.
        self.steps.sort_by_key(|step| (step.phase(), rank(step)));
    }
}

/// Joins plans, such as those of several services, phase by phase.
///
/// If several plans affect the same virtual service, the last one wins, because it was made last.
/// (A plan that finds a service as wanted doesn't affect it.)
impl FromIterator<Plan> for Plan {
    fn from_iter<I: IntoIterator<Item = Plan>>(plans: I) -> Self {
        let plans: Vec<Plan> = plans.into_iter().collect();
        let mut last: BTreeMap<ServiceKey, usize> = BTreeMap::new();
        for (index, plan) in plans.iter().enumerate() {
            last.extend(plan.services().map(|key| (*key, index)));
        }
        let mut joined = Self::default();
        for (index, plan) in plans.into_iter().enumerate() {
            let is_last = |key: &ServiceKey| last.get(key) == Some(&index);
            let Self { steps, draining, out_of_scope, covered } = plan;
            joined.steps.extend(steps.into_iter().filter(|step| is_last(step.service())));
            joined.draining.extend(draining.into_iter().filter(|(key, _)| is_last(key)));
            joined.out_of_scope.extend(out_of_scope.into_iter().filter(is_last));
            joined.covered.extend(covered.into_iter().filter(is_last));
        }
        joined.sort();
        joined
    }
}

impl Extend<Plan> for Plan {
    /// As [`from_iter`](#impl-FromIterator<Plan>-for-Plan), with this plan as the first.
    fn extend<I: IntoIterator<Item = Plan>>(&mut self, plans: I) {
        let first = std::mem::take(self);
        *self = iter::once(first).chain(plans).collect();
    }
}

/// The order within a phase.
fn rank(step: &Step) -> u8 {
    match (step.phase(), step) {
        (Phase::Edit, Step::SetDestination { from, .. }) if from.weight == 0 => 0,
        (Phase::Edit, Step::SetService { .. }) => 1,
        (Phase::Edit, _) => 2,
        (Phase::Delete, Step::DeleteService(_)) => 1,
        _ => 0,
    }
}

struct Diff<'a> {
    options: &'a Options,
    /// `None` if nothing is to drain.
    drained: Option<&'a Ready>,
    plan: Plan,
}

impl Diff<'_> {
    fn wanted_service(&mut self, present: Option<&TableService>, wanted: &TableService) {
        if !self.options.contains(wanted.key()) {
            self.plan.out_of_scope.push(*wanted.key());
            return;
        }
        match present {
            Some(present) => self.existing_service(present, wanted),
            None => self.new_service(wanted),
        }
    }

    fn new_service(&mut self, wanted: &TableService) {
        self.plan.steps.push(Step::AddService(wanted.service().clone()));
        self.add_destinations(wanted, |_| true);
    }

    fn existing_service(&mut self, present: &TableService, wanted: &TableService) {
        let (from, to): (&Service, &Service) = (present.service(), wanted.service());
        if from != to {
            self.plan.steps.push(Step::SetService { from: from.clone(), to: to.clone() });
        }
        self.add_destinations(wanted, |destination| present.get(&destination.key()).is_none());
        let service = *wanted.key();
        let (first, mut is_covered) = (self.plan.steps.len(), false);
        let prunes = self.options.prunes(&service, true);
        for from in present.destinations() {
            let steps = self.plan.steps.len();
            match wanted.get(&from.key()) {
                Some(to) if from != to => {
                    let (from, to) = (*from, *to);
                    self.plan.steps.push(Step::SetDestination { service, from, to });
                }
                Some(_) => {}
                None if !prunes => {}
                None => self.unwanted_destination(service, from),
            }
            is_covered |= from.weight > 0 && self.plan.steps.len() == steps;
        }
        if is_covered && self.plan.steps[first..].iter().any(Step::takes_live_server) {
            self.plan.covered.push(service);
        }
    }

    fn unwanted_service(&mut self, present: &TableService) {
        let service = *present.key();
        if !self.options.prunes(&service, false) {
            return;
        }
        // Without draining, deleting the service deletes its real servers.
        if self.drained.is_some() {
            for destination in present.destinations() {
                self.unwanted_destination(service, destination);
            }
        }
        let drains = self.plan.draining.last().is_some_and(|(of, _)| *of == service);
        if !drains {
            self.plan.steps.push(Step::DeleteService(present.service().clone()));
        }
    }

    fn unwanted_destination(&mut self, service: ServiceKey, destination: &Destination) {
        let how = match self.drained {
            None => Some(Removal::AtOnce),
            Some(drained) => drained
                .get(&(service, destination.key()))
                .filter(|how| destination.weight == 0 || **how == Removal::AtOnce)
                .copied(),
        };
        let destination = *destination;
        match how {
            Some(how) => {
                self.plan.steps.push(Step::DeleteDestination { service, destination, how });
            }
            None => {
                self.plan.draining.push((service, destination.key()));
                if destination.weight > 0 {
                    self.plan.steps.push(Step::DrainDestination { service, destination });
                }
            }
        }
    }

    /// Live real servers come first, so that a service is without one as briefly as possible.
    fn add_destinations(&mut self, wanted: &TableService, is_new: impl Fn(&Destination) -> bool) {
        let service = *wanted.key();
        let new = wanted.destinations().filter(|destination| is_new(destination));
        let (live, quiescent): (Vec<&Destination>, Vec<_>) = new.partition(|new| new.weight > 0);
        self.plan.steps.extend(
            live.into_iter()
                .chain(quiescent)
                .map(|destination| Step::AddDestination { service, destination: *destination }),
        );
    }
}
