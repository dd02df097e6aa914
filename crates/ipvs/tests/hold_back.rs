//! Plans in which the kernel refuses arbitrary steps: only the steps that would leave a virtual
//! service without its last live real server are held back.
//!
//! `PROPTEST_CASES=10000 cargo test -p ipvs-client --test hold_back` tries that many pairs of
//! tables.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod generate;

use std::collections::BTreeSet;
use std::mem;
use std::sync::{Arc, Mutex};

use generate::{pair_of_tables, server};
use ipvs::plan::{Dependency, HeldBack, Options, Outcome, Plan, Prune, Scope, Step};
use ipvs::proto::Refusal;
use ipvs::{
    Client, Destination, DestinationKey, Service, ServiceKey, Table, TableService, Transport,
};
use ipvs_model::Kernel;
use ipvs_sys::Message;
use proptest::prelude::*;

/// errno(3): the kernel's error for most invalid values.
const EINVAL: i32 = 22;

fn is_live(table: &Table, key: &ServiceKey) -> bool {
    table.get(key).is_some_and(|service| service.destinations().any(|it| it.weight > 0))
}

fn table_of<T: Transport>(client: &mut Client<T>) -> Table {
    client.snapshot().unwrap().into_table()
}

/// Creates a kernel with a table.
fn kernel_with(table: &Table) -> Kernel {
    let kernel = Kernel::new();
    let plan = Plan::diff(&Table::new(), table, &Options::new());
    Client::with_transport(kernel.clone()).unwrap().apply(&plan).unwrap();
    kernel
}

/// The request for each step of a plan, and the table that they result in.
fn requests(kernel: &Kernel, plan: &Plan) -> (Vec<Message>, Table) {
    let kernel = kernel.fork();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    kernel.before_each(move |request| {
        seen.lock().unwrap().push(*request);
        Ok(())
    });
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    client.apply(plan).unwrap();
    let requests = requests.lock().unwrap().clone();
    assert_eq!(requests.len(), plan.steps().len());
    (requests, table_of(&mut client))
}

/// What a kernel was observed to go through.
#[derive(Default)]
struct Seen {
    tried: BTreeSet<usize>,
    /// A service that had no live real server although it must always have one.
    bare: Option<ServiceKey>,
}

/// Applies a plan on a kernel that refuses some of its steps, and returns the outcome of each.
fn apply(
    kernel: &Kernel,
    plan: &Plan,
    requests: Vec<Message>,
    refused: &BTreeSet<usize>,
    kept: &BTreeSet<ServiceKey>,
) -> (Vec<Outcome>, Seen) {
    let (observed, refused, kept) = (kernel.clone(), refused.clone(), kept.clone());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let found = Arc::clone(&seen);
    kernel.before_each(move |request| {
        let mut found = found.lock().unwrap();
        let table = table_of(&mut Client::with_transport(observed.clone()).unwrap());
        let bare = kept.iter().find(|key| !is_live(&table, key));
        found.bare = found.bare.or(bare.copied());
        let Some(index) = requests.iter().position(|it| it == request) else { return Ok(()) };
        assert!(found.tried.insert(index), "sent twice");
        if refused.contains(&index) { Err(Refusal::new(EINVAL)) } else { Ok(()) }
    });
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    let outcomes = match client.apply(plan) {
        Ok(()) => plan.steps().iter().map(|_| Outcome::Done).collect(),
        Err(error) => error.into_steps().map(|(_, outcome)| outcome).collect(),
    };
    // The hook checks once more at the end.
    client.services().unwrap();
    kernel.before_each(|_| Ok(()));
    let seen = mem::take(&mut *seen.lock().unwrap());
    (outcomes, seen)
}

fn prune() -> impl Strategy<Value = Prune> {
    prop_oneof![Just(Prune::Nothing), Just(Prune::Destinations), Just(Prune::Everything)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_refused_holds_back_only_what_needs_it(
        (current, desired) in pair_of_tables(),
        prune in prune(),
        drains in any::<bool>(),
        chosen in any::<u64>(),
    ) {
        let mut options = Options::new().prune(prune, Scope::everything());
        if drains {
            options = options.drained([]);
        }
        let plan = Plan::diff(&current, &desired, &options);
        let kernel = kernel_with(&current);
        let (requests, wanted) = requests(&kernel, &plan);
        let refused: BTreeSet<usize> =
            (0..plan.steps().len()).filter(|index| chosen >> (index % 64) & 1 == 1).collect();
        let kept: BTreeSet<ServiceKey> = current
            .services()
            .map(|service| *service.key())
            .filter(|key| is_live(&current, key) && is_live(&wanted, key))
            .collect();

        let (outcomes, seen) = apply(&kernel, &plan, requests, &refused, &kept);
        prop_assert_eq!(seen.bare, None, "without a live real server, by\n{}", plan);
        let left = table_of(&mut Client::with_transport(kernel).unwrap());
        for (index, (step, outcome)) in plan.steps().iter().zip(outcomes).enumerate() {
            match outcome {
                Outcome::Done => prop_assert!(!refused.contains(&index), "{}", step),
                Outcome::Failed(_) => prop_assert!(refused.contains(&index), "{}", step),
                Outcome::HeldBack(HeldBack { failed, dependency: Dependency::Service, .. }) => {
                    let is_its = matches!(&*failed, Step::AddService(it) if it.key == *step.service());
                    prop_assert!(is_its && left.get(step.service()).is_none(), "{}", step);
                }
                Outcome::HeldBack(HeldBack { failed, .. }) => {
                    prop_assert!(!seen.tried.contains(&index), "{}", step);
                    let by = plan.steps().iter().position(|it| *it == *failed).unwrap();
                    prop_assert!(refused.contains(&by) && failed.service() == step.service());
                    // It was the last one left, so it was right to keep it.
                    let live: Vec<_> = left
                        .get(step.service())
                        .unwrap()
                        .destinations()
                        .filter(|server| server.weight > 0)
                        .map(Destination::key)
                        .collect();
                    prop_assert_eq!(live, [taken_by(step)], "{}", step);
                    prop_assert!(kept.contains(step.service()), "{}", step);
                }
                other => prop_assert!(false, "{}: {:?}", step, other),
            }
        }
    }
}

/// The live real server that a step removes.
fn taken_by(step: &Step) -> DestinationKey {
    match step {
        Step::SetDestination { from, to, .. } if from.weight > 0 && to.weight == 0 => to.key(),
        Step::DrainDestination { destination, .. }
        | Step::DeleteDestination { destination, .. }
            if destination.weight > 0 =>
        {
            destination.key()
        }
        other => panic!("{other} takes no live real server"),
    }
}

/// A refused removal leaves a live real server, so another one may be removed.
#[test]
fn what_was_held_back_is_released() {
    let web = |servers: &[u8]| {
        let mut service = TableService::new(Service::new(generate::key(0)));
        service.extend(servers.iter().map(|number| server(*number)));
        Table::new().with(service)
    };
    let (current, desired) = (web(&[1, 2]), web(&[3]));
    let plan = Plan::diff(
        &current,
        &desired,
        &Options::new().prune(Prune::Everything, Scope::everything()),
    );
    let kernel = kernel_with(&current);
    let (requests, _) = requests(&kernel, &plan);
    // The addition, and the first deletion.
    let refused = [0, 1].into();
    let kept = [generate::key(0)].into();
    let (outcomes, seen) = apply(&kernel, &plan, requests, &refused, &kept);
    assert!(matches!(outcomes[..], [Outcome::Failed(_), Outcome::Failed(_), Outcome::Done]));
    assert_eq!(seen.bare, None);
    assert_eq!(table_of(&mut Client::with_transport(kernel).unwrap()), web(&[1]));
}
