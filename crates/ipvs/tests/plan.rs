//! Plans between generated tables, carried out in memory by rules of the kernel: what exists can't
//! be added, what doesn't can't be changed or deleted, a virtual service takes its real servers
//! along.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod generate;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use generate::{key, pair_of_tables, server, table};
use ipvs::plan::{Drainer, Options, Plan, Prune, Scope, Step};
use ipvs::{
    Destination, DestinationEntry, DestinationKey, Scheduler, Service, ServiceEntry, ServiceKey,
    ServiceSnapshot, Snapshot, Table, TableService,
};
use proptest::prelude::*;

fn carry_out(table: &mut Table, step: &Step) {
    match step {
        Step::AddService(service) => assert_eq!(table.insert(service.clone()), None),
        Step::SetService { from, to } => {
            assert_ne!(from, to, "an edit that changes nothing");
            assert_eq!(from.key, to.key);
            assert_eq!(table.insert_service(to.clone()).as_ref(), Some(from));
        }
        Step::DeleteService(service) => {
            assert_eq!(table.remove(&service.key).unwrap().service(), service);
        }
        Step::AddDestination { service, destination } => {
            assert_eq!(table.get_mut(service).unwrap().insert(destination.clone()), None);
        }
        Step::SetDestination { service, from, to } => {
            assert_ne!(from, to, "an edit that changes nothing");
            assert_eq!(table.get_mut(service).unwrap().insert(to.clone()).as_ref(), Some(from));
        }
        Step::DrainDestination { service, destination } => {
            assert_ne!(destination.weight, 0, "a drain that changes nothing");
            let drained = destination.clone().weight(0);
            let before = table.get_mut(service).unwrap().insert(drained);
            assert_eq!(before.as_ref(), Some(destination));
        }
        Step::DeleteDestination { service, destination } => {
            let before = table.get_mut(service).unwrap().remove(&destination.key());
            assert_eq!(before.as_ref(), Some(destination));
        }
        other => panic!("a step that this test doesn't know: {other:?}"),
    }
}

fn result_of(plan: &Plan, current: &Table) -> Table {
    let mut table = current.clone();
    plan.steps().iter().for_each(|step| carry_out(&mut table, step));
    table
}

/// The virtual services that have a real server of a weight above 0.
fn live(table: &Table) -> BTreeSet<ServiceKey> {
    let is_live = |service: &&TableService| service.destinations().any(|it| it.weight > 0);
    table.services().filter(is_live).map(|service| *service.key()).collect()
}

fn assert_never_without_servers(plan: &Plan, current: &Table) {
    let kept: BTreeSet<_> =
        live(current).intersection(&live(&result_of(plan, current))).copied().collect();
    let mut table = current.clone();
    for step in plan.steps() {
        carry_out(&mut table, step);
        let live = live(&table);
        let missing: Vec<_> = kept.difference(&live).collect();
        assert!(missing.is_empty(), "after `{step}` no live server in {missing:?}");
    }
}

/// What `desired` looks like once `current` may keep what isn't wanted.
fn expected_without(prune: Prune, current: &Table, desired: &Table) -> Table {
    let mut expected = desired.clone();
    for present in current.services() {
        match expected.get_mut(present.key()) {
            None if prune != Prune::Everything => {
                expected.insert(present.clone());
            }
            Some(wanted) if prune == Prune::Nothing => {
                for destination in present.destinations() {
                    if wanted.get(&destination.key()).is_none() {
                        wanted.insert(destination.clone());
                    }
                }
            }
            _ => {}
        }
    }
    expected
}

fn prune() -> impl Strategy<Value = Prune> {
    prop_oneof![Just(Prune::Nothing), Just(Prune::Destinations), Just(Prune::Everything)]
}

/// The table in a kernel where each real server has that many connections.
fn snapshot(table: &Table, connections: u32) -> Snapshot {
    Snapshot::new(table.services().map(|service| {
        let destinations = service.destinations().cloned().map(|destination| {
            DestinationEntry::new(destination).inactive_connections(connections)
        });
        ServiceSnapshot::new(ServiceEntry::new(service.service().clone()))
            .destinations(destinations)
    }))
}

fn by_drainer(
    drainer: &mut Drainer,
    current: &Table,
    connections: u32,
    desired: &Table,
    now: Instant,
) -> Plan {
    let current = snapshot(current, connections);
    drainer.plan(&current, desired, &Options::new().prune(Prune::Everything), now)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_leads_to_what_is_desired((current, desired) in pair_of_tables(), prune in prune()) {
        let options = Options::new().prune(prune);
        let plan = Plan::diff(&current, &desired, &options);
        let result = result_of(&plan, &current);
        prop_assert_eq!(&result, &expected_without(prune, &current, &desired));
        prop_assert!(Plan::diff(&result, &desired, &options).is_empty());
        prop_assert!(plan.draining().is_empty() && plan.out_of_scope().is_empty());
        prop_assert_eq!(plan.to_string().lines().count(), plan.steps().len());
        assert_never_without_servers(&plan, &current);
    }

    #[test]
    fn equal_tables_need_no_steps(table in table()) {
        let plan = Plan::diff(&table, &table, &Options::new().prune(Prune::Everything));
        prop_assert_eq!(plan, Plan::default());
    }

    #[test]
    fn a_new_service_has_its_servers_right_behind_it((current, desired) in pair_of_tables()) {
        let plan = Plan::diff(&current, &desired, &Options::new());
        for (index, step) in plan.steps().iter().enumerate() {
            let Step::AddService(service) = step else { continue };
            let servers = desired.get(&service.key).unwrap().destinations().len();
            let behind = plan.steps()[index + 1..].iter().take_while(|step| {
                matches!(step, Step::AddDestination { service: of, .. } if *of == service.key)
            });
            prop_assert_eq!(behind.count(), servers);
        }
    }

    #[test]
    fn what_is_out_of_scope_stays((current, desired) in pair_of_tables(), marks in any::<bool>()) {
        let all_addresses = ["0.0.0.0/0", "::/0"].map(|text| text.parse().unwrap());
        let scope = if marks {
            Scope::nothing().or_marks(0..=u32::MAX)
        } else {
            all_addresses
                .into_iter()
                .fold(Scope::nothing(), |scope, network| scope.or_addresses(network, .., None))
        };
        let belongs = |key: &ServiceKey| matches!(key, ServiceKey::Fwmark { .. }) == marks;
        let options = Options::new().prune(Prune::Everything).scope(scope);
        let plan = Plan::diff(&current, &desired, &options);
        let expected: Table = desired
            .services()
            .filter(|service| belongs(service.key()))
            .chain(current.services().filter(|service| !belongs(service.key())))
            .cloned()
            .collect();
        prop_assert_eq!(result_of(&plan, &current), expected);
        let left: Vec<ServiceKey> =
            desired.services().map(|it| *it.key()).filter(|key| !belongs(key)).collect();
        prop_assert_eq!(plan.out_of_scope(), left);
    }

    #[test]
    fn drained_servers_go_in_the_end(
        (current, desired) in pair_of_tables(),
        connections in 0_u32..2,
    ) {
        let timeout = Duration::from_secs(60);
        let (mut drainer, start) = (Drainer::new(timeout), Instant::now());

        // First all that is to go loses its weight, and what had some stays.
        let first = by_drainer(&mut drainer, &current, connections, &desired, start);
        assert_never_without_servers(&first, &current);
        let drained = result_of(&first, &current);
        for step in first.steps() {
            if let Step::DeleteDestination { destination, .. } = step {
                prop_assert_eq!((destination.weight, connections), (0, 0));
            }
        }

        // A moment before the timeout those with connections are still there.
        let early = start + timeout - Duration::from_nanos(1);
        let mut clock = drainer.clone();
        let second = by_drainer(&mut clock, &drained, connections, &desired, early);
        if connections > 0 {
            prop_assert_eq!(second.steps(), &[]);
            prop_assert_eq!(second.draining(), first.draining());
        } else {
            prop_assert_eq!(result_of(&second, &drained), desired.clone());
        }

        // From the second look on at one of weight 0, the timeout runs.
        let seen = by_drainer(&mut drainer, &drained, connections, &desired, start);
        let last = by_drainer(&mut drainer, &drained, connections, &desired, start + timeout);
        prop_assert_eq!(result_of(&last, &drained), desired);
        let drains = |step: &Step| matches!(step, Step::DrainDestination { .. });
        prop_assert!(!seen.steps().iter().any(drains));
        prop_assert!(last.draining().is_empty());
    }
}

fn web(servers: impl IntoIterator<Item = Destination>) -> Table {
    let mut service = TableService::new(Service::new(key(0)));
    service.extend(servers);
    Table::new().with(service)
}

fn text(current: &Table, desired: &Table, options: &Options) -> Vec<String> {
    let plan = Plan::diff(current, desired, options);
    plan.to_string().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn one_server_comes_up_before_the_other_goes_down() {
    let current = web([server(1).weight(3), server(2).weight(0)]);
    let desired = web([server(1).weight(0), server(2).weight(3)]);
    assert_eq!(
        text(&current, &desired, &Options::new()),
        [
            "~ server 10.0.0.2:80 of tcp/192.0.2.53:80: weight 0 → 3",
            "~ server 10.0.0.1:80 of tcp/192.0.2.53:80: weight 3 → 0",
        ]
    );
}

#[test]
fn additions_come_before_edits_before_deletions() {
    let mut current = web([server(1), server(2)]);
    current.insert(Service::new(key(1)));
    let mut desired = web([server(2).weight(7), server(3).weight(0), server(4)]);
    desired.insert_service(Service::new(key(0)).scheduler(Scheduler::RR));
    desired.insert(TableService::new(Service::new(key(2))).destination(server(1)));
    assert_eq!(
        text(&current, &desired, &Options::new().prune(Prune::Everything)),
        [
            "+ server 10.0.0.4:80 of tcp/192.0.2.53:80, direct route, weight 1",
            "+ server 10.0.0.3:80 of tcp/192.0.2.53:80, direct route, weight 0",
            "+ service fwmark/2, scheduler wlc",
            "+ server 10.0.0.1:80 of fwmark/2, direct route, weight 1",
            "~ service tcp/192.0.2.53:80: scheduler wlc → rr",
            "~ server 10.0.0.2:80 of tcp/192.0.2.53:80: weight 1 → 7",
            "- server 10.0.0.1:80 of tcp/192.0.2.53:80",
            "- service fwmark/1",
        ]
    );
}

#[test]
fn a_server_that_is_wanted_again_gets_its_weight_back() {
    let (mut drainer, start) = (Drainer::new(Duration::from_secs(60)), Instant::now());
    let (both, one) = (web([server(1), server(2)]), web([server(2)]));

    let plan = by_drainer(&mut drainer, &both, 1, &one, start);
    let drained = result_of(&plan, &both);
    assert_eq!(
        plan.to_string(),
        "~ server 10.0.0.1:80 of tcp/192.0.2.53:80: weight 1 → 0, to drain\n  \
         server 10.0.0.1:80 of tcp/192.0.2.53:80 drains\n"
    );
    assert!(by_drainer(&mut drainer, &drained, 1, &one, start).is_empty());
    let plan = by_drainer(&mut drainer, &drained, 1, &both, start + Duration::from_secs(30));
    assert_eq!(plan.to_string(), "~ server 10.0.0.1:80 of tcp/192.0.2.53:80: weight 0 → 1\n");

    // The time that it drained before doesn't count.
    let later = start + Duration::from_secs(61);
    assert!(by_drainer(&mut drainer, &drained, 1, &one, later).is_empty());
}

#[test]
fn a_service_goes_once_all_its_servers_may() {
    let current = web([server(1).weight(0), server(2).weight(0)]);
    let plan = |drained: &[DestinationKey]| {
        let drained = drained.iter().map(|server| (key(0), *server));
        let options = Options::new().prune(Prune::Everything).drained(drained);
        text(&current, &Table::new(), &options)
    };
    assert_eq!(
        plan(&[server(1).key()]),
        [
            "- server 10.0.0.1:80 of tcp/192.0.2.53:80",
            "  server 10.0.0.2:80 of tcp/192.0.2.53:80 drains",
        ]
    );
    assert_eq!(plan(&[server(1).key(), server(2).key()]), ["- service tcp/192.0.2.53:80"]);
}
