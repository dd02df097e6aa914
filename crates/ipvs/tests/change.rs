//! The same change made in each possible way: alone, by the method of its name, in a batch.
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ipvs::plan::{Removal, Step};
use ipvs::{
    Batch, Change, Client, Destination, DestinationKey, ErrorKind, Operation, PersistenceEngine,
    Scheduler, Service, ServiceKey, SyncDaemon, SyncRole, TimeoutsChange,
};
use ipvs_model::Kernel;
use ipvs_sys::Message;

/// errno(3).
const EPERM: i32 = 1;

fn vip() -> ServiceKey {
    "tcp/10.10.10.53:80".parse().unwrap()
}

fn server(last: u8) -> Destination {
    Destination::new(DestinationKey::new([10, 10, 10, last].into(), 80))
}

fn daemon() -> SyncDaemon {
    SyncDaemon::new(SyncRole::Master, "eth0".parse().unwrap()).sync_id(7)
}

fn timeouts() -> TimeoutsChange {
    TimeoutsChange { udp: Some(Duration::from_secs(60)), ..Default::default() }
}

/// Every change, and its text.
fn changes() -> Vec<(Change, &'static str)> {
    let (service, destination) = (vip(), server(1));
    let weighty = destination.weight(5);
    let key = destination.key();
    vec![
        (Change::AddService(Service::new(service)), "add virtual service tcp/10.10.10.53:80"),
        (
            Change::SetService(Service::new(service).scheduler(Scheduler::RR)),
            "set virtual service tcp/10.10.10.53:80",
        ),
        (
            Change::AddDestination { service, destination },
            "add real server 10.10.10.1:80 of virtual service tcp/10.10.10.53:80",
        ),
        (
            Change::SetDestination { service, destination: weighty },
            "set real server 10.10.10.1:80 of virtual service tcp/10.10.10.53:80",
        ),
        (
            Change::DeleteDestination { service, destination: key },
            "delete real server 10.10.10.1:80 of virtual service tcp/10.10.10.53:80",
        ),
        (Change::Zero(Some(service)), "zero the counters of virtual service tcp/10.10.10.53:80"),
        (Change::Zero(None), "zero the counters of all virtual services"),
        (Change::DeleteService(service), "delete virtual service tcp/10.10.10.53:80"),
        (Change::Flush, "delete all virtual services"),
        (Change::SetTimeouts(timeouts()), "set the connection timeouts"),
        (Change::StartSyncDaemon(daemon()), "start the master sync daemon"),
        (Change::StopSyncDaemon(SyncRole::Master), "stop the master sync daemon"),
    ]
}

/// The changes that reach the kernel while `act` uses a client.
fn requests(act: impl FnOnce(&mut Client<Kernel>)) -> Vec<Message> {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    kernel.before_each(move |request| {
        // A request that reads follows the end of a daemon.
        if request.command != ipvs_sys::Command::GetConfig {
            sink.lock().unwrap().push(*request);
        }
        Ok(())
    });
    act(&mut client);
    let seen = seen.lock().unwrap();
    seen.clone()
}

#[test]
fn a_change_is_the_method_of_its_name_alone_and_in_a_batch() {
    let (key, service, one) = (vip(), Service::new(vip()), server(1));
    let round_robin = service.clone().scheduler(Scheduler::RR);
    let weighty = one.weight(5);
    let by_methods = requests(|client| {
        client.add_service(&service).unwrap();
        client.set_service(&round_robin).unwrap();
        client.add_destination(&key, &one).unwrap();
        client.set_destination(&key, &weighty).unwrap();
        client.delete_destination(&key, one.key()).unwrap();
        client.zero(Some(&key)).unwrap();
        client.zero(None).unwrap();
        client.delete_service(&key).unwrap();
        client.flush().unwrap();
        client.set_timeouts(timeouts()).unwrap();
        client.start_sync_daemon(&daemon()).unwrap();
        client.stop_sync_daemon(SyncRole::Master).unwrap();
    });
    let by_batch = requests(|client| {
        let mut batch = Batch::new();
        batch.add_service(&service).set_service(&round_robin);
        batch.add_destination(&key, &one).set_destination(&key, &weighty);
        batch.delete_destination(&key, one.key());
        batch.zero(Some(&key)).zero(None).delete_service(&key).flush();
        batch.set_timeouts(timeouts());
        batch.start_sync_daemon(&daemon()).stop_sync_daemon(SyncRole::Master);
        client.run(&batch).into_iter().collect::<Result<(), _>>().unwrap();
    });
    let changes = changes();
    let one_by_one = requests(|client| {
        changes.iter().for_each(|(change, _)| client.change(change).unwrap());
    });
    let together = requests(|client| {
        let batch: Batch = changes.iter().map(|(change, _)| change).collect();
        assert!(batch.changes().eq(changes.iter().map(|(change, _)| change)));
        client.run(&batch).into_iter().collect::<Result<(), _>>().unwrap();
    });
    assert_eq!(by_methods.len(), changes.len());
    assert_eq!(by_batch, by_methods);
    assert_eq!(one_by_one, by_methods);
    assert_eq!(together, by_methods);
}

#[test]
fn an_error_says_of_a_change_what_the_change_says_of_itself() {
    for (change, text) in changes() {
        assert_eq!(change.to_string(), text);
        let kernel = Kernel::new();
        let mut client = Client::with_transport(kernel.clone()).unwrap();
        kernel.before_each(|_| Err(ipvs::proto::Refusal::new(EPERM)));
        let error = client.change(&change).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.operation(), change.operation());
        assert_eq!(error.object().copied(), change.object());
        assert!(error.to_string().starts_with(&format!("cannot {text}: ")), "{error}");
    }
}

#[test]
fn a_batch_names_what_the_kernel_lacks() {
    let service = Service::new(vip()).scheduler(Scheduler::new("lbrc").unwrap());
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    let mut batch = Batch::new();
    batch.add_service(&service.persistence_engine(PersistenceEngine::SIP)).flush();
    let results = client.run(&batch);
    let error = results[0].as_ref().unwrap_err();
    assert_eq!(error.operation(), Operation::AddService);
    assert!(error.to_string().contains("no scheduler lbrc"), "{error}");
    assert!(error.to_string().contains("persistence engine sip"), "{error}");
}

#[test]
fn a_step_of_a_plan_is_a_change() {
    let (service, from, key) = (Service::new(vip()), server(1).weight(3), vip());
    let to = from.weight(7);
    for (step, change) in [
        (Step::AddService(service.clone()), Change::AddService(service.clone())),
        (
            Step::SetService {
                from: service.clone(),
                to: service.clone().scheduler(Scheduler::RR),
            },
            Change::SetService(service.clone().scheduler(Scheduler::RR)),
        ),
        (Step::DeleteService(service), Change::DeleteService(key)),
        (
            Step::AddDestination { service: key, destination: from },
            Change::AddDestination { service: key, destination: from },
        ),
        (
            Step::SetDestination { service: key, from, to },
            Change::SetDestination { service: key, destination: to },
        ),
        (
            Step::DrainDestination { service: key, destination: from },
            Change::SetDestination { service: key, destination: from.weight(0) },
        ),
        (
            Step::DeleteDestination { service: key, destination: from, how: Removal::AtOnce },
            Change::DeleteDestination { service: key, destination: from.key() },
        ),
    ] {
        assert_eq!(Change::from(&step), change);
    }
}
