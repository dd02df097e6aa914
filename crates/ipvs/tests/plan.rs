//! Plans between generated tables, applied in memory by the kernel's rules: existing entries can't
//! be added, missing ones can't be changed or deleted, and deleting a virtual service deletes its
//! real servers.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod generate;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use generate::{key, pair_of_tables, server, table};
use ipvs::plan::{DrainPolicy, Drainer, Options, Plan, Prune, Removal, Scope, Step};
use ipvs::{
    Destination, DestinationEntry, Scheduler, Service, ServiceEntry, ServiceKey, ServiceSnapshot,
    Snapshot, Table, TableService,
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
            assert_eq!(table.get_mut(service).unwrap().insert(*destination), None);
        }
        Step::SetDestination { service, from, to } => {
            assert_ne!(from, to, "an edit that changes nothing");
            assert_eq!(table.get_mut(service).unwrap().insert(*to).as_ref(), Some(from));
        }
        Step::DrainDestination { service, destination } => {
            assert_ne!(destination.weight, 0, "a drain that changes nothing");
            let drained = (*destination).weight(0);
            let before = table.get_mut(service).unwrap().insert(drained);
            assert_eq!(before.as_ref(), Some(destination));
        }
        Step::DeleteDestination { service, destination, .. } => {
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

/// The virtual services that have a real server with a weight above 0.
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

/// What `desired` looks like if unwanted entries of `current` may stay.
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
                        wanted.insert(*destination);
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

/// The table in a kernel where each real server has this many connections.
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
    drainer.plan(
        &current,
        desired,
        &Options::new().prune(Prune::Everything, Scope::everything()),
        now,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_plan_leads_to_what_is_desired((current, desired) in pair_of_tables(), prune in prune()) {
        let options = Options::new().prune(prune, Scope::everything());
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
        let plan = Plan::diff(&table, &table, &Options::new().prune(Prune::Everything, Scope::everything()));
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
        let options = Options::new().prune(Prune::Everything, scope);
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

        // First, all unwanted real servers lose their weight, and those with connections stay.
        let first = by_drainer(&mut drainer, &current, connections, &desired, start);
        assert_never_without_servers(&first, &current);
        let drained = result_of(&first, &current);
        for step in first.steps() {
            if let Step::DeleteDestination { destination, .. } = step {
                prop_assert_eq!((destination.weight, connections), (0, 0));
            }
        }

        // Just before the timeout, those with connections are still there.
        let early = start + timeout - Duration::from_nanos(1);
        let mut clock = drainer.clone();
        let second = by_drainer(&mut clock, &drained, connections, &desired, early);
        if connections > 0 {
            prop_assert_eq!(second.steps(), &[]);
            prop_assert_eq!(second.draining(), first.draining());
        } else {
            prop_assert_eq!(result_of(&second, &drained), desired.clone());
        }

        // The timeout runs from the first look that finds weight 0: the second.
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
        text(&current, &desired, &Options::new().prune(Prune::Everything, Scope::everything())),
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
    let plan = |drained: &[(u8, Removal)]| {
        let drained = drained.iter().map(|&(number, how)| (key(0), server(number).key(), how));
        let options = everything().drained(drained);
        text(&current, &Table::new(), &options)
    };
    assert_eq!(
        plan(&[(1, Removal::Empty)]),
        [
            "- server 10.0.0.1:80 of tcp/192.0.2.53:80, which has drained",
            "  server 10.0.0.2:80 of tcp/192.0.2.53:80 drains",
        ]
    );
    assert_eq!(
        plan(&[(1, Removal::Deadline), (2, Removal::AtOnce)]),
        [
            "- server 10.0.0.1:80 of tcp/192.0.2.53:80, whose time to drain is up",
            "- server 10.0.0.2:80 of tcp/192.0.2.53:80",
            "- service tcp/192.0.2.53:80",
        ]
    );
}

fn everything() -> Options {
    Options::new().prune(Prune::Everything, Scope::everything())
}

/// A service with one real server, of weight 0, with these active and inactive connections.
fn draining(number: u32, [active, inactive]: [u32; 2]) -> ServiceSnapshot {
    let entry = DestinationEntry::new(server(1).weight(0))
        .active_connections(active)
        .inactive_connections(inactive);
    ServiceSnapshot::new(ServiceEntry::new(Service::new(key(number)))).destinations([entry])
}

/// Planning service by service used to forget, each time, the real servers draining in all others.
#[test]
fn services_that_are_planned_one_by_one_reach_their_deadlines() {
    let timeout = Duration::from_secs(60);
    let (mut drainer, start) = (Drainer::new(timeout), Instant::now());
    let step = Duration::from_secs(20);
    for round in 0..4 {
        let now = start + step * round;
        for number in 0..3 {
            // As a part of the table, and as a service by itself.
            let desired = Table::new().with(Service::new(key(number)));
            let current = draining(number, [1, 0]);
            let plan = if number == 0 {
                let current = Snapshot::new([current]);
                drainer.plan(&current, &desired, &everything(), now)
            } else {
                let wanted = desired.get(&key(number));
                drainer.plan_service(&key(number), Some(&current), wanted, &everything(), now)
            };
            let expected =
                format!("- server 10.0.0.1:80 of {}, whose time to drain is up\n", key(number));
            let drains = format!("  server 10.0.0.1:80 of {} drains\n", key(number));
            assert_eq!(plan.to_string(), if round == 3 { expected } else { drains }, "{round}");
        }
    }
}

#[test]
fn a_drainer_forgets_what_it_looked_for_and_what_is_gone() {
    let (mut drainer, start) = (Drainer::new(Duration::from_secs(60)), Instant::now());
    let late = start + Duration::from_secs(60);
    let remembered = |drainer: &Drainer| drainer.services().copied().collect::<Vec<_>>();
    let services = [0, 1, 2].map(|number| draining(number, [1, 0]));
    let _ = drainer.plan(&Snapshot::new(services.clone()), &Table::new(), &everything(), start);
    assert_eq!(remembered(&drainer), [key(0), key(1), key(2)]);

    // A single service is reported as gone; a part of the table says nothing about the others.
    let _ = drainer.plan_service(&key(1), None, None, &everything(), late);
    let _ = drainer.plan(&Snapshot::new([]), &Table::new(), &everything(), late);
    assert_eq!(remembered(&drainer), [key(0), key(2)]);
    // The whole table does.
    let whole = Snapshot::new([services[2].clone()]).whole(true);
    let plan = drainer.plan(&whole, &Table::new(), &everything(), late);
    assert_eq!(remembered(&drainer), [key(2)]);
    assert_eq!(plan.steps().len(), 2, "{plan}");

    // If it comes back after that, its full time starts again.
    let plan = drainer.plan_service(&key(0), Some(&services[0]), None, &everything(), late);
    assert_eq!(plan.draining(), [(key(0), server(1).key())]);

    // A service that starts draining has to be looked at again.
    let live = snapshot(
        &Table::new().with(TableService::new(Service::new(key(0))).destination(server(1))),
        1,
    );
    let mut fresh = Drainer::new(Duration::from_secs(60));
    let _ = fresh.plan(&live, &Table::new(), &everything(), late);
    assert_eq!(remembered(&fresh), [key(0)]);

    // Real servers of other owners drain by their own clocks.
    let others = Options::new().prune(Prune::Everything, Scope::services([key(1)]));
    let _ = drainer.plan(&Snapshot::new(services).whole(true), &Table::new(), &others, late);
    assert_eq!(remembered(&drainer), [key(1)]);
}

#[test]
fn each_service_drains_by_its_policy() {
    let long = Duration::from_secs(3600);
    let mut drainer = Drainer::new(DrainPolicy::new(long).udp_at_once(true));
    drainer.set_policy(key(1), DrainPolicy::new(long).active_only(true));
    drainer.set_policy(key(2), DrainPolicy::new(Duration::ZERO));
    let now = Instant::now();
    let how = |drainer: &mut Drainer, number, connections| {
        let current = draining(number, connections);
        let wanted = TableService::new(Service::new(key(number)));
        let plan =
            drainer.plan_service(&key(number), Some(&current), Some(&wanted), &everything(), now);
        match plan.steps() {
            [] => None,
            [Step::DeleteDestination { how, .. }] => Some(*how),
            steps => panic!("{steps:?}"),
        }
    };
    // Number 5 is a UDP service.
    for (number, connections, expected) in [
        (0, [0, 0], Some(Removal::Empty)),
        (0, [0, 1], None),
        (0, [1, 0], None),
        (1, [0, 1], Some(Removal::Empty)),
        (1, [1, 0], None),
        (2, [1, 0], Some(Removal::Deadline)),
        (5, [0, 1], Some(Removal::AtOnce)),
    ] {
        let reason = how(&mut drainer, number, connections);
        assert_eq!(reason, expected, "{number}, {connections:?}");
    }
    drainer.set_policy(key(2), None);
    assert_eq!(how(&mut drainer, 2, [1, 0]), None);

    // With weight, too.
    let udp = TableService::new(Service::new(key(5))).destination(server(1));
    let current = snapshot(&Table::new().with(udp), 1);
    let plan = drainer.plan(&current, &Table::new(), &everything(), now);
    assert!(plan.draining().is_empty());
    assert_eq!(plan.steps().len(), 2, "{plan}");
}

#[test]
fn nothing_is_deleted_outside_of_a_scope() {
    let mut current = web([server(1), server(2)]);
    current.insert(TableService::new(Service::new(key(1))).destination(server(1)));
    let desired = web([server(2)]);
    assert!(Plan::diff(&current, &desired, &Options::new()).is_empty());
    let mine = |keys: &[ServiceKey]| {
        let scope = Scope::services(keys.iter().copied());
        text(&current, &desired, &Options::new().prune(Prune::Everything, scope))
    };
    let server_goes = "- server 10.0.0.1:80 of tcp/192.0.2.53:80";
    assert_eq!(mine(&[key(0)]), [server_goes]);
    let not_mine = "! service tcp/192.0.2.53:80 is out of scope: left as it is";
    assert_eq!(mine(&[key(1)]), ["- service fwmark/1", not_mine]);
    assert_eq!(mine(&[key(0), key(1)]), [server_goes, "- service fwmark/1"]);
}

#[test]
fn a_joined_plan_has_the_phases_of_one() {
    let now = Instant::now();
    let current = web([server(1)]);
    let mut desired = web([server(2)]);
    desired.insert(TableService::new(Service::new(key(1))).destination(server(1)));
    let whole = Plan::diff(&current, &desired, &everything());
    let each: Vec<Plan> = [key(0), key(1)]
        .iter()
        .map(|key| Plan::diff_service(current.get(key), desired.get(key), &everything()))
        .collect();
    let mut joined: Plan = each.iter().cloned().collect();
    assert_eq!(joined, whole);

    // A later look at the same service counts.
    let later = Plan::diff_service(current.get(&key(0)), None, &everything());
    joined.extend([later]);
    assert_eq!(
        joined.to_string(),
        "+ service fwmark/1, scheduler wlc\n\
         + server 10.0.0.1:80 of fwmark/1, direct route, weight 1\n\
         - service tcp/192.0.2.53:80\n"
    );
    let mut drainer = Drainer::new(Duration::from_secs(1));
    let drains = drainer.plan_service(
        &key(0),
        snapshot(&current, 1).services().first(),
        None,
        &everything(),
        now,
    );
    joined.extend([drains]);
    assert_eq!(joined.draining(), [(key(0), server(1).key())]);
    assert_eq!(joined.steps().len(), 3, "{joined}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plans_of_all_services_are_the_plan_of_the_table(
        (current, desired) in pair_of_tables(),
        prune in prune(),
    ) {
        let options = Options::new().prune(prune, Scope::everything());
        let keys: BTreeSet<ServiceKey> =
            current.services().chain(desired.services()).map(|it| *it.key()).collect();
        let joined: Plan = keys
            .iter()
            .map(|key| Plan::diff_service(current.get(key), desired.get(key), &options))
            .collect();
        prop_assert_eq!(result_of(&joined, &current), expected_without(prune, &current, &desired));
        prop_assert_eq!(joined.steps().len(), Plan::diff(&current, &desired, &options).steps().len());
        assert_never_without_servers(&joined, &current);
    }
}
