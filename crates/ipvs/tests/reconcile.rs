//! Plans, drains and watches on a model of the kernel, through the real client.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod generate;

use std::cell::Cell;
use std::time::{Duration, Instant};

use generate::{key, pair_of_tables, server};
use ipvs::plan::{Options, Outcome, Plan, Prune, Scope};
use ipvs::{
    Client, Destination, DestinationEntry, DrainOptions, Drained, ErrorKind, Forward, Scheduler,
    Service, ServiceEntry, ServiceSnapshot, Snapshot, Stats, Table, TableChange, TableService,
    Transport, Watch,
};
use ipvs_model::{ConnectionCounts, Fault, Kernel};
use proptest::prelude::*;

const EVERYTHING: Prune = Prune::Everything;

fn reconcile<T: Transport>(client: &mut Client<T>, desired: &Table) {
    let current = client.snapshot().unwrap().into_table();
    let plan =
        Plan::diff(&current, desired, &Options::new().prune(EVERYTHING, Scope::everything()));
    client.apply(&plan).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_kernel_gets_what_is_desired((first, second) in pair_of_tables()) {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        for desired in [first, second] {
            reconcile(&mut client, &desired);
            prop_assert_eq!(client.snapshot().unwrap().into_table(), desired);
        }
    }

    /// Whatever the kernel refuses and wherever replies get lost: the changes that the error
    /// reports as done are done, the others aren't, and the next plan leads to the desired state.
    #[test]
    fn errors_are_told_exactly_and_the_next_plan_goes_on(
        (first, second) in pair_of_tables(),
        refused in 0_usize..6,
        lost in any::<bool>(),
    ) {
        let kernel = Kernel::new();
        let mut client = Client::with_transport(kernel.clone()).unwrap();
        reconcile(&mut client, &first);
        let plan = Plan::diff(&first, &second, &Options::new().prune(EVERYTHING, Scope::everything()));
        if lost {
            kernel.fail(Fault::any().lost_answer()).unwrap();
        } else {
            // Any command can end with this.
            kernel.fail(Fault::any().kind(ErrorKind::OutOfMemory).times(refused)).unwrap();
        }
        let result = client.apply(&plan);
        kernel.clear_faults();
        if let Err(error) = result {
            prop_assert_eq!(error.steps().len(), plan.steps().len());
            let count = |is: fn(&Outcome) -> bool| error.steps().iter().filter(|it| is(&it.1)).count();
            let unknown = count(|it| matches!(it, Outcome::Unknown(_)));
            let failed = count(|it| matches!(it, Outcome::Failed(_)));
            prop_assert!(failed + unknown > 0 && (lost || unknown == 0));
            let rest = Plan::diff(
                &client.snapshot().unwrap().into_table(),
                &second,
                &Options::new().prune(EVERYTHING, Scope::everything()),
            );
            for (step, outcome) in error.steps() {
                match outcome {
                    Outcome::Done => prop_assert!(!rest.steps().contains(step), "{}", step),
                    Outcome::Failed(_) | Outcome::HeldBack(_) | Outcome::NotTried => {
                        prop_assert!(rest.steps().contains(step), "{}", step);
                    }
                    _ => {}
                }
            }
        } else {
            prop_assert!(plan.is_empty() || (!lost && refused == 0));
        }
        reconcile(&mut client, &second);
        prop_assert_eq!(client.snapshot().unwrap().into_table(), second);
    }
}

fn web(servers: impl IntoIterator<Item = u8>) -> Table {
    let mut service = TableService::new(Service::new(key(0)).scheduler(Scheduler::RR));
    service.extend(servers.into_iter().map(server));
    Table::new().with(service)
}

/// A real server that can't be replaced isn't taken out, and other services proceed.
#[test]
fn the_last_live_server_stays_if_the_next_is_refused() {
    // The kernel refuses multicast addresses.
    let invalid = Destination::new("224.0.0.1:80".parse().unwrap());
    let other = || TableService::new(Service::new(key(1))).destination(server(1));
    let current = web([1]).with(other());
    let mut desired = web([]);
    desired.get_mut(&key(0)).unwrap().insert(invalid);
    assert_eq!(
        outcomes(&current, &desired),
        (
            vec![
                "invalid: + server 224.0.0.1:80 of tcp/192.0.2.53:80, direct route, weight 1"
                    .to_owned(),
                "held back, because `+ server 224.0.0.1:80 of tcp/192.0.2.53:80, direct route, \
                 weight 1` failed: the service would be left without a live real server: \
                 - server 10.0.0.1:80 of tcp/192.0.2.53:80"
                    .to_owned(),
                "done: - service fwmark/1".to_owned(),
            ],
            web([1])
        )
    );
}

/// One server with a typo used to keep dead ones serving forever.
#[test]
fn a_refused_server_holds_back_no_other() {
    // Of another address family, which only a tunnel can carry.
    let refused = Destination::new("[fd00::1]:80".parse().unwrap()).forward(Forward::Masquerade);
    let invalid =
        "invalid: + server [fd00::1]:80 of tcp/192.0.2.53:80, masquerade, weight 1".to_owned();

    let mut desired = web([2]);
    desired.get_mut(&key(0)).unwrap().insert(refused);
    assert_eq!(
        outcomes(&web([1]), &desired),
        (
            vec![
                "done: + server 10.0.0.2:80 of tcp/192.0.2.53:80, direct route, weight 1"
                    .to_owned(),
                invalid.clone(),
                "done: - server 10.0.0.1:80 of tcp/192.0.2.53:80".to_owned(),
            ],
            web([2])
        )
    );

    let off = server(1).weight(0);
    desired.get_mut(&key(0)).unwrap().insert(off);
    let mut left = web([2]);
    left.get_mut(&key(0)).unwrap().insert(off);
    assert_eq!(
        outcomes(&web([1, 2]), &desired),
        (
            vec![
                invalid,
                "done: ~ server 10.0.0.1:80 of tcp/192.0.2.53:80: weight 1 → 0".to_owned(),
            ],
            left
        )
    );
}

#[test]
fn servers_of_a_service_that_is_refused_are_held_back() {
    let mut desired = web([1]);
    let unknown = Scheduler::new("no-such").unwrap();
    desired.insert_service(Service::new(key(0)).scheduler(unknown));
    assert_eq!(
        outcomes(&Table::new(), &desired),
        (
            vec![
                "SchedulerOrPersistenceEngineNotFound: + service tcp/192.0.2.53:80, scheduler no-such"
                    .to_owned(),
                "held back, because `+ service tcp/192.0.2.53:80, scheduler no-such` failed: the \
                 service isn't there: + server 10.0.0.1:80 of tcp/192.0.2.53:80, direct route, \
                 weight 1"
                    .to_owned(),
            ],
            Table::new()
        )
    );
}

/// The outcome of each step from one table to another, and the resulting table.
fn outcomes(current: &Table, desired: &Table) -> (Vec<String>, Table) {
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    reconcile(&mut client, current);
    let plan = Plan::diff(current, desired, &Options::new().prune(EVERYTHING, Scope::everything()));
    let error = client.apply(&plan).unwrap_err();
    let outcomes = error.steps().iter().map(|(step, outcome)| match outcome {
        Outcome::Done => format!("done: {step}"),
        Outcome::Failed(error) if error.kind() == ErrorKind::InvalidArgument => {
            format!("invalid: {step}")
        }
        Outcome::Failed(error) => format!("{:?}: {step}", error.kind()),
        Outcome::HeldBack(why) => format!("{why}: {step}"),
        other => panic!("{other:?}"),
    });
    (outcomes.collect(), client.snapshot().unwrap().into_table())
}

fn counts(active: u32, inactive: u32) -> ConnectionCounts {
    ConnectionCounts::default().active(active).inactive(inactive)
}

/// Drains server 1, which starts with 3 connections; `each` runs at each sleep.
fn drain(options: &DrainOptions, each: impl Fn(&Kernel, u32)) -> (Drained, Vec<u8>) {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    reconcile(&mut client, &web([1, 2]));
    kernel.set_connections(&key(0), &server(1).key(), counts(1, 2)).unwrap();
    let (start, passed, sleeps) = (Instant::now(), Cell::new(Duration::ZERO), Cell::new(0));
    let now = || start + passed.get();
    let sleep = |_: &mut _, time| {
        passed.set(passed.get() + time);
        sleeps.set(sleeps.get() + 1);
        each(&kernel, sleeps.get());
    };
    let end = client.drain_with(&key(0), &server(1).key(), options, now, sleep).unwrap();
    let left = client.destinations(&key(0)).unwrap();
    let left = left.iter().map(|entry| match entry.destination.addr {
        std::net::IpAddr::V4(addr) => addr.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    });
    let mut left: Vec<u8> = left.collect();
    left.sort_unstable();
    (end, left)
}

#[test]
fn a_server_is_drained() {
    let options = DrainOptions::new(Duration::from_secs(10));
    let connections = |kernel: &Kernel, sleeps: u32| {
        let left = [counts(1, 2), counts(0, 1), counts(0, 0).persistent(5)][sleeps as usize - 1];
        kernel.set_connections(&key(0), &server(1).key(), left).unwrap();
    };
    let after = Duration::from_secs(3);
    assert_eq!(drain(&options, connections), (Drained::Empty { after }, vec![2]));
}

#[test]
fn a_drain_ends_with_the_timeout() {
    let options = DrainOptions::new(Duration::from_secs(10)).interval(Duration::from_secs(4));
    let left = |deleted| Drained::TimedOut { active: 1, inactive: 2, deleted };
    assert_eq!(drain(&options, |_, _| {}), (left(true), vec![2]));
    assert_eq!(drain(&options.keep_if_busy(true), |_, _| {}), (left(false), vec![1, 2]));
}

#[test]
fn a_drain_leaves_what_others_did() {
    let options = DrainOptions::new(Duration::from_secs(10));
    let other = |kernel: &Kernel| Client::with_transport(kernel.clone()).unwrap();
    let deleted = |kernel: &Kernel, _: u32| {
        other(kernel).delete_destination(&key(0), server(1).key()).unwrap();
    };
    assert_eq!(drain(&options, deleted), (Drained::Gone, vec![2]));
    let taken_back = |kernel: &Kernel, _: u32| {
        other(kernel).set_destination(&key(0), &server(1).weight(7)).unwrap();
    };
    assert_eq!(drain(&options, taken_back), (Drained::TakenBack { weight: 7 }, vec![1, 2]));
}

#[test]
fn what_is_not_there_is_not_drained() {
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    let options = DrainOptions::new(Duration::ZERO);
    let error = client.drain(&key(0), &server(1).key(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ServiceNotFound);
    reconcile(&mut client, &web([2]));
    let error = client.drain(&key(0), &server(1).key(), &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DestinationNotFound);
}

#[test]
fn a_watch_sees_each_kind_of_change() {
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    let mut watch = Watch::new();
    let service = key(0);
    reconcile(&mut client, &web([1, 2]));
    assert_eq!(
        watch.poll(&mut client).unwrap(),
        [
            TableChange::ServiceAdded(Service::new(service).scheduler(Scheduler::RR)),
            TableChange::DestinationAdded { service, destination: server(1) },
            TableChange::DestinationAdded { service, destination: server(2) },
        ]
    );
    assert_eq!(watch.poll(&mut client).unwrap(), []);

    client.set_service(&Service::new(service)).unwrap();
    client.set_destination(&service, &server(1).weight(9)).unwrap();
    client.delete_destination(&service, server(2).key()).unwrap();
    assert_eq!(
        watch.poll(&mut client).unwrap(),
        [
            TableChange::ServiceChanged {
                from: Service::new(service).scheduler(Scheduler::RR),
                to: Service::new(service),
            },
            TableChange::DestinationRemoved { service, destination: server(2) },
            TableChange::DestinationChanged { service, from: server(1), to: server(1).weight(9) },
        ]
    );
    client.flush().unwrap();
    assert_eq!(
        watch.poll(&mut client).unwrap(),
        [
            TableChange::DestinationRemoved { service, destination: server(1).weight(9) },
            TableChange::ServiceRemoved(Service::new(service)),
        ]
    );
}

#[test]
fn a_watch_tells_what_was_carried() {
    let snapshot = |all: u64, first: u64| {
        let stats = Stats::default().connections(first).incoming_bytes(10 * first);
        let service =
            ServiceEntry::new(Service::new(key(0))).stats(Stats::default().connections(all));
        Snapshot::new([ServiceSnapshot::new(service)
            .destinations([DestinationEntry::new(server(1)).stats(stats)])])
    };
    let carried =
        |destination, carried| TableChange::Carried { service: key(0), destination, carried };
    let mut watch = Watch::since(snapshot(7, 5)).counters(true);
    assert_eq!(watch.update(snapshot(7, 5)), []);
    let first = Some(server(1).key());
    assert_eq!(
        watch.update(snapshot(9, 6)),
        [
            carried(None, Stats::default().connections(2)),
            carried(first, Stats::default().connections(1).incoming_bytes(10)),
        ]
    );
    // Zeroed, and 4 since.
    assert_eq!(
        watch.update(snapshot(9, 4)),
        [carried(first, Stats::default().connections(4).incoming_bytes(40))]
    );
    assert_eq!(watch.clone().counters(false).update(snapshot(20, 20)), []);
}

#[test]
fn changes_go_on_after_an_error() {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    reconcile(&mut client, &web([1]));
    kernel.fail(Fault::any().kind(ErrorKind::PermissionDenied)).unwrap();
    let mut changes = Watch::new().changes(&mut client, Duration::ZERO);
    let error = changes.next().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert!(matches!(changes.next(), Some(Ok(TableChange::ServiceAdded(_)))));
    assert!(matches!(changes.next(), Some(Ok(TableChange::DestinationAdded { .. }))));
}
