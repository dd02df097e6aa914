//! Bugs found by random schedules, each reduced to the smallest case.

use std::cell::RefCell;
use std::rc::Rc;

use ipvs::{Change, Client, Destination, Service, ServiceKey, SyncDaemon, SyncRole};
use ipvs_model::Kernel;
use rustix::io::Errno;
use splitmix::Random;

use super::call::{Answer, Call, Claim, Question, Said};
use super::fault::Fault;
use super::wire::{Socket, Wire};

fn vip() -> ServiceKey {
    "tcp/192.0.2.53:80".parse().unwrap()
}

fn server() -> Destination {
    Destination::new("198.51.100.1:80".parse().unwrap())
}

/// The result of a call to a kernel with one service and a sync daemon, and the number of deadlines
/// that the call waited for.
fn said(call: &Call, plan: &[(usize, Fault)]) -> (Said, usize) {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    client.add_service(&Service::new(vip())).unwrap();
    let daemon = SyncDaemon::new(SyncRole::Master, "eth0".parse().unwrap());
    client.start_sync_daemon(&daemon).unwrap();
    let wire = Rc::new(RefCell::new(Wire::new(kernel, Random::new(0))));
    let mut client = Client::with_transport(Socket(Rc::clone(&wire))).unwrap();
    wire.borrow_mut().begin(plan.to_vec());
    let said = call.make(&mut client);
    let waits = wire.borrow().waits;
    (said, waits)
}

/// The entries of the first list were kept, and those of the second appended.
#[test]
fn a_repeated_list_starts_empty() {
    let plan = [(0, Fault::ListFails(1, Errno::NOENT)), (1, Fault::Reload(0))];
    let (said, _) = said(&Call::Read(Question::Services), &plan);
    assert_eq!(said, Said::Read(Ok(Answer::Services(Vec::new()))));
}

/// The client looked for the daemon although the replies had just broken off: two deadlines in one
/// call.
#[test]
fn after_a_broken_answer_a_daemon_is_not_looked_for() {
    let call = Call::Change(Change::StopSyncDaemon(SyncRole::Master));
    let plan = [(0, Fault::NoAcknowledgement), (0, Fault::CutAt(60)), (1, Fault::LostFrom(0))];
    assert_eq!(said(&call, &plan), (Said::Changes(vec![Claim::Unknown]), 0));
}

/// The error said that the kernel has no such scheduler, and the next reply was lost; in fact the
/// module had been reloaded.
#[test]
fn enoent_before_a_missing_answer_says_nothing() {
    let services = ["tcp/192.0.2.54:80", "tcp/192.0.2.55:80"];
    let change = |key: &str| Change::AddService(Service::new(key.parse().unwrap()));
    let call = Call::Batch(services.map(change).to_vec());
    let plan = [(0, Fault::Reload(0)), (0, Fault::LostFrom(1))];
    assert_eq!(said(&call, &plan).0, Said::Changes(vec![Claim::Unknown; 2]));
}

/// The client couldn't find out whether the family was still the same, and reported that as the
/// result of the change.
#[test]
fn an_unreadable_family_leaves_the_meaning_of_enoent_open() {
    let call = Call::Change(Change::SetDestination { service: vip(), destination: server() });
    let plan = [(1, Fault::CutAt(20))];
    assert_eq!(said(&call, &plan).0, Said::Changes(vec![Claim::Unknown]));
}
