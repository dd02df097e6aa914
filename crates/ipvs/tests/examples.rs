//! The examples `controller` and `checker` on a model of the kernel.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]
#![cfg(feature = "serde")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use checker::Checker;
use controller::Controller;
use ipvs::plan::{Options, Prune, Scope};
use ipvs::{Client, Destination, DestinationKey, Service, ServiceKey, Table, TableService};
use ipvs_model::{ConnectionCounts, Kernel};

#[allow(dead_code, reason = "its main needs a kernel")]
#[path = "../examples/checker.rs"]
mod checker;
#[allow(dead_code, reason = "its main needs a kernel")]
#[path = "../examples/controller.rs"]
mod controller;

const DRAIN: Duration = Duration::from_secs(30);

fn key(service: u16) -> ServiceKey {
    let [high, low] = service.to_be_bytes();
    ServiceKey::tcp(([10, 96, high, low], 80).into())
}

fn server(service: u16, n: u8) -> Destination {
    let [high, low] = service.to_be_bytes();
    Destination::new(DestinationKey::new([10, 200 + n, high, low].into(), 80))
}

fn service(number: u16, servers: impl IntoIterator<Item = u8>) -> TableService {
    let mut service = TableService::new(Service::new(key(number)));
    service.extend(servers.into_iter().map(|n| server(number, n)));
    service
}

fn controller(kernel: &Kernel) -> Controller<Kernel> {
    let client = Client::with_transport(kernel.clone()).unwrap();
    Controller::new(client, "10.96.0.0/16".parse().unwrap(), DRAIN)
}

fn table_of(kernel: &Kernel) -> Table {
    Client::with_transport(kernel.clone()).unwrap().snapshot().unwrap().into_table()
}

/// With 5,000 services, a change of one endpoint costs a look at one service and one change.
#[test]
fn a_controller_looks_only_at_what_changes() {
    let (kernel, now) = (Kernel::new(), Instant::now());
    let mut controller = controller(&kernel);
    let mut desired: Table = (0..5000).map(|number| service(number, 0..5)).collect();
    controller.want(desired.clone());
    assert_eq!(controller.resync(now).unwrap().steps().len(), 30_000);

    let requests = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&requests);
    kernel.before_each(move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok(())
    });
    controller.want_service(service(7, 0..6));
    assert_eq!(controller.sync(now).unwrap().steps().len(), 1);
    // Three requests to look, one to change.
    assert_eq!(requests.swap(0, Ordering::Relaxed), 4);
    assert!(controller.sync(now).unwrap().is_empty());
    assert_eq!(requests.load(Ordering::Relaxed), 0);

    desired.insert(service(7, 0..6));
    desired.insert(service(8, 0..3));
    desired.remove(&key(9));
    controller.want(desired.clone());
    controller.sync(now).unwrap();
    assert_eq!(requests.load(Ordering::Relaxed), 2 * 3 + 2 + 5, "two services, weights taken");
    controller.sync(now).unwrap();
    assert!(table_of(&kernel) == desired, "another table");
}

#[test]
fn a_controller_drains_and_leaves_what_belongs_to_others() {
    let (kernel, start) = (Kernel::new(), Instant::now());
    let mut operator = Client::with_transport(kernel.clone()).unwrap();
    let other: ServiceKey = "tcp/192.0.2.1:80".parse().unwrap();
    operator.add_service(&Service::new(other)).unwrap();

    let mut controller = controller(&kernel);
    controller.want(Table::new().with(service(1, 0..2)).with(service(2, 0..2)));
    controller.resync(start).unwrap();
    kernel
        .set_connections(&key(1), &server(1, 1).key(), ConnectionCounts::default().active(3))
        .unwrap();
    controller.want(Table::new().with(service(1, 0..1)).with(service(2, 0..2)));
    controller.sync(start).unwrap();
    let weight = |kernel: &Kernel| {
        let table = table_of(kernel);
        table.get(&key(1)).unwrap().get(&server(1, 1).key()).map(|server| server.weight)
    };
    controller.sync(start).unwrap();
    controller.sync(start + DRAIN - Duration::from_millis(1)).unwrap();
    assert_eq!(weight(&kernel), Some(0));
    controller.sync(start + DRAIN).unwrap();
    assert_eq!(weight(&kernel), None);

    // Another program's change to a service of ours is repaired; its own service stays.
    operator.delete_service(&key(2)).unwrap();
    controller.resync(start + DRAIN).unwrap();
    let table = table_of(&kernel);
    assert_eq!(table.get(&key(2)), Some(&service(2, 0..2)));
    assert!(table.get(&other).is_some());
}

/// Changes that the kernel refuses are tried again, and other services proceed.
#[test]
fn a_controller_tries_again() {
    let (kernel, now) = (Kernel::new(), Instant::now());
    let mut controller = controller(&kernel);
    let refused = service(1, 0..1).destination(server(1, 2).weight(u32::MAX));
    controller.want(Table::new().with(refused).with(service(2, 0..1)));
    controller.sync(now).unwrap_err();
    assert_eq!(table_of(&kernel), [service(1, 0..1), service(2, 0..1)].into_iter().collect());
    controller.sync(now).unwrap_err();
    controller.want_service(service(1, [0, 2]));
    controller.sync(now).unwrap();
    assert_eq!(table_of(&kernel).get(&key(1)), Some(&service(1, [0, 2])));
}

#[test]
fn a_checker_gives_weight_to_those_that_answer() {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    let (first, second) = (server(1, 1).weight(5), server(1, 2).weight(3));
    let fallback = server(1, 9);
    let mut checker = Checker::new(Service::new(key(1)), vec![first, second], fallback);
    let options = Options::new().prune(Prune::Destinations, Scope::services([key(1)]));
    let mut round = |answers: [bool; 2]| {
        checker.heard(&answers);
        client.reconcile(&checker.wanted(), &options).unwrap();
        let found = client.service_snapshot(&key(1)).unwrap().unwrap();
        let weight = |server: &Destination| {
            let found = found.destinations.iter().find(|it| it.destination.key() == server.key());
            found.map(|it| it.destination.weight)
        };
        [weight(&first), weight(&second), weight(&fallback)]
    };
    // A single check is not enough, either way.
    assert_eq!(round([true, true]), [Some(0), Some(0), Some(1)]);
    assert_eq!(round([true, false]), [Some(5), Some(0), None]);
    assert_eq!(round([true, true]), [Some(5), Some(0), None]);
    assert_eq!(round([false, true]), [Some(5), Some(3), None]);
    assert_eq!(round([false, false]), [Some(0), Some(3), None]);
    assert_eq!(round([false, false]), [Some(0), Some(0), Some(1)]);

    // Changes by other programs are repaired.
    let mut operator = Client::with_transport(kernel).unwrap();
    operator.delete_service(&key(1)).unwrap();
    assert_eq!(round([true, true]), [Some(0), Some(0), Some(1)]);
    operator.add_destination(&key(1), &server(1, 7)).unwrap();
    operator.set_destination(&key(1), &server(1, 1).weight(9)).unwrap();
    assert_eq!(round([true, true]), [Some(5), Some(3), None]);
    assert_eq!(operator.destinations(&key(1)).unwrap().len(), 2);
}
