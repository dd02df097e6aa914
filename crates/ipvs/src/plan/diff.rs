//! From two tables to the steps between them.

use super::step::Phase;
use super::{Options, Plan, Prune, Step};
use crate::{Destination, Service, ServiceKey, Table, TableService};

impl Plan {
    /// What has to be done so that a kernel that has `current` has `desired`, in an order that is
    /// safe for clients: see the [module](super). Without any difference it is empty.
    ///
    /// What the kernel would refuse is found out by applying only.
    pub fn diff(current: &Table, desired: &Table, options: &Options) -> Self {
        let mut diff = Diff { options, plan: Self::default() };
        for wanted in desired.services() {
            let key = wanted.key();
            if !options.scope.contains(key) {
                diff.plan.out_of_scope.push(*key);
                continue;
            }
            match current.get(key) {
                Some(present) => diff.existing_service(present, wanted),
                None => diff.new_service(wanted),
            }
        }
        for present in current.services() {
            let key = present.key();
            let goes = options.prune == Prune::Everything && desired.get(key).is_none();
            if goes && options.scope.contains(key) {
                diff.unwanted_service(present);
            }
        }
        // The sort is stable, so that a new service stays in front of its real servers.
        diff.plan.steps.sort_by_key(|step| (step.phase(), rank(step)));
        diff.plan
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
    plan: Plan,
}

impl Diff<'_> {
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
        for from in present.destinations() {
            let steps = self.plan.steps.len();
            match wanted.get(&from.key()) {
                Some(to) if from != to => {
                    let (from, to) = (from.clone(), to.clone());
                    self.plan.steps.push(Step::SetDestination { service, from, to });
                }
                Some(_) => {}
                None if self.options.prune == Prune::Nothing => {}
                None if self.may_go(service, from) => {
                    let destination = from.clone();
                    self.plan.steps.push(Step::DeleteDestination { service, destination });
                }
                None => self.drain(service, from),
            }
            is_covered |= from.weight > 0 && self.plan.steps.len() == steps;
        }
        if is_covered && self.plan.steps[first..].iter().any(Step::takes_live_server) {
            self.plan.covered.push(service);
        }
    }

    fn unwanted_service(&mut self, present: &TableService) {
        let service = *present.key();
        let (ready, others): (Vec<_>, Vec<_>) =
            present.destinations().partition(|destination| self.may_go(service, destination));
        if others.is_empty() {
            self.plan.steps.push(Step::DeleteService(present.service().clone()));
            return;
        }
        for destination in ready {
            let destination = destination.clone();
            self.plan.steps.push(Step::DeleteDestination { service, destination });
        }
        for destination in others {
            self.drain(service, destination);
        }
    }

    /// Live real servers come first, so that a service is without one as short as can be.
    fn add_destinations(&mut self, wanted: &TableService, is_new: impl Fn(&Destination) -> bool) {
        let service = *wanted.key();
        let new = wanted.destinations().filter(|destination| is_new(destination));
        let (live, quiescent): (Vec<_>, Vec<_>) = new.partition(|new| new.weight > 0);
        self.plan.steps.extend(
            live.into_iter().chain(quiescent).map(|destination| Step::AddDestination {
                service,
                destination: destination.clone(),
            }),
        );
    }

    fn may_go(&self, service: ServiceKey, destination: &Destination) -> bool {
        self.options.drained.as_ref().is_none_or(|drained| {
            destination.weight == 0 && drained.contains(&(service, destination.key()))
        })
    }

    fn drain(&mut self, service: ServiceKey, destination: &Destination) {
        self.plan.draining.push((service, destination.key()));
        if destination.weight > 0 {
            let destination = destination.clone();
            self.plan.steps.push(Step::DrainDestination { service, destination });
        }
    }
}
