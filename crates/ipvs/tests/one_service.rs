//! One service at a time, and lists that only have to be consistent in themselves, on a model of a
//! table that other programs change.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod fake_table;

use std::rc::Rc;
use std::time::Duration;

use fake_table::{FakeTable, Services, key, server};
use ipvs::plan::{Options, Prune, Scope};
use ipvs::{
    Client, Consistency, Error, ErrorKind, Object, Operation, Service, ServiceSnapshot,
    SnapshotOptions, Table, TableService, Transport, Watch,
};
use ipvs_model::Kernel;
use ipvs_sys::Command::{self, GetDest, GetService};
use ipvs_sys::Name;

/// A service with two real servers.
fn one() -> FakeTable<'static> {
    let mut table = FakeTable::default();
    table.add(key(1), [server(1), server(2)]);
    table
}

fn untouched() -> TableService {
    TableService::new(Service::new(key(1))).destination(server(1)).destination(server(2))
}

/// What a look at the service finds, and the requests it makes. `other` acts before each request;
/// they are counted from 0.
fn look(
    options: &SnapshotOptions,
    mut other: impl FnMut(u32, &mut Services),
) -> (Result<Option<ServiceSnapshot>, Error>, Vec<Command>) {
    let mut asked = 0;
    let table = one().before(|_, services| {
        other(asked, services);
        asked += 1;
    });
    let commands = Rc::clone(&table.commands);
    let result = table.client().service_snapshot_with(&key(1), options);
    let commands = commands.borrow().clone();
    (result, commands)
}

#[test]
fn a_service_is_read_between_two_lists_of_its_servers() {
    let (snapshot, commands) = look(&SnapshotOptions::default(), |_, _| {});
    assert_eq!(TableService::from(snapshot.unwrap().unwrap()), untouched());
    assert_eq!(commands, [GetDest, GetService, GetDest]);
}

#[test]
fn as_many_lists_agree_as_are_asked_for() {
    for (agreeing, questions) in [(0, 2), (1, 2), (2, 3), (3, 5)] {
        let options = SnapshotOptions::default().agreeing(agreeing);
        let (snapshot, commands) = look(&options, |_, _| {});
        assert!(snapshot.unwrap().is_some());
        assert_eq!(commands.len(), questions, "{agreeing}");
    }
}

#[test]
fn a_torn_list_is_read_again() {
    // The first list lacks a real server that nobody touched.
    let whole = one().services();
    let (snapshot, commands) = look(&SnapshotOptions::default(), |asked, services| match asked {
        0 => drop(services[0].1.pop()),
        1 => services.clone_from(&whole),
        _ => {}
    });
    assert_eq!(TableService::from(snapshot.unwrap().unwrap()), untouched());
    assert_eq!(commands, [GetDest, GetService, GetDest, GetService, GetDest]);
}

/// The list is unchanged, but the service read in between differs, so the two don't belong
/// together.
#[test]
fn a_service_that_changes_between_its_lists_is_read_again() {
    let options = SnapshotOptions::default().agreeing(3);
    let (snapshot, commands) = look(&options, |asked, services| {
        if asked == 3 {
            services[0].0.scheduler = Some(Name::new(b"rr").unwrap());
        }
    });
    assert!(snapshot.unwrap().is_some());
    assert_eq!(commands.iter().filter(|it| **it == GetDest).count(), 4);
}

#[test]
fn a_service_that_is_not_there_is_none() {
    let (snapshot, commands) = look(&SnapshotOptions::default(), |_, services| services.clear());
    assert_eq!(snapshot.unwrap(), None);
    assert_eq!(commands, [GetDest, GetService]);
    // Deleted after its list was read.
    let (snapshot, _) =
        look(&SnapshotOptions::default(), |asked, services| services.truncate((asked == 0).into()));
    assert_eq!(snapshot.unwrap(), None);
}

#[test]
fn a_service_that_never_stays_is_an_error_of_its_own() {
    let options = SnapshotOptions::default().max_passes(5).pause(Duration::ZERO);
    let (snapshot, commands) =
        look(&options, |asked, services| services[0].1[0].weight = Some(asked));
    let error = snapshot.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Inconsistent, Operation::Snapshot));
    assert_eq!(error.object(), Some(&Object::Service(key(1))));
    assert_eq!(commands.iter().filter(|it| **it == GetDest).count(), 5);
}

#[test]
fn a_service_becomes_what_is_desired() {
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    let mut web = untouched();
    let mine = Options::new().prune(Prune::Everything, Scope::services([key(1)]));
    assert_eq!(client.reconcile(&web, &mine).unwrap().steps().len(), 3);
    assert!(client.reconcile(&web, &mine).unwrap().is_empty());

    web.remove(&server(1).key());
    // Without a scope, nothing is deleted.
    assert!(client.reconcile(&web, &Options::new()).unwrap().is_empty());
    let plan = client.reconcile(&web, &mine).unwrap();
    assert_eq!(plan.to_string(), "- server 192.0.2.1:80 of fwmark/1\n");
    assert_eq!(client.snapshot().unwrap().into_table(), Table::new().with(web));
}

#[test]
fn a_service_of_others_is_not_even_read() {
    let table = one();
    let commands = Rc::clone(&table.commands);
    let others = Options::new().scope(Scope::services([key(2)]));
    let plan = table.client().reconcile(&untouched(), &others).unwrap();
    assert_eq!((plan.out_of_scope(), plan.steps().len()), (&[key(1)][..], 0));
    assert!(commands.borrow().is_empty());
}

#[test]
fn what_the_kernel_refuses_is_reported() {
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    let web = untouched().destination(server(3).weight(u32::MAX));
    let error = client.reconcile(&web, &Options::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfRange);
    let found = client.service_snapshot(&key(1)).unwrap().unwrap();
    assert_eq!(TableService::from(found), untouched());
}

/// Another program deletes a service and adds another before each request: the whole table is never
/// the same twice, and yet no list lacks an entry that nobody touched.
#[test]
fn lists_agree_with_themselves_while_the_table_keeps_changing() {
    let options = SnapshotOptions::default().pause(Duration::ZERO);
    for consistency in [Consistency::Table, Consistency::Lists] {
        let mut table = FakeTable::default();
        for mark in 1..=3 {
            table.add(key(mark), [server(1), server(2)]);
        }
        let mut mark = 100;
        let mut client = table
            .before(|_, services| {
                services.retain(|(service, _)| service.fwmark < Some(100));
                let mut other = FakeTable::default();
                other.add(key(mark), []);
                services.splice(0..0, other.services());
                mark += 1;
            })
            .client();
        let options = options.clone().consistency(consistency);
        let read = client.snapshot_with(&options);
        if consistency == Consistency::Table {
            assert_eq!(read.unwrap_err().kind(), ErrorKind::Inconsistent);
            continue;
        }
        let read = read.unwrap();
        assert!(read.is_whole);
        for mark in 1..=3 {
            assert_eq!(read.service(&key(mark)).unwrap().destinations.len(), 2);
        }
    }
}

fn lists<T: Transport>(client: &mut Client<T>) -> Vec<ServiceSnapshot> {
    let options = SnapshotOptions::default().consistency(Consistency::Lists);
    client.snapshot_with(&options).unwrap().into_services()
}

#[test]
fn a_service_that_a_list_lacks_is_asked_for() {
    for is_there in [true, false] {
        let mut table = FakeTable::default();
        table.add(key(1), [server(1)]);
        table.add(key(2), [server(2)]);
        let (whole, mut asked) = (table.services(), 0);
        let table = table.before(|_, services| {
            asked += 1;
            match asked {
                2 => drop(services.pop()),
                3 if is_there => services.clone_from(&whole),
                _ => {}
            }
        });
        let commands = Rc::clone(&table.commands);
        let found = lists(&mut table.client());
        assert_eq!(found.len(), if is_there { 2 } else { 1 });
        assert_eq!(commands.borrow()[..3], [GetService; 3]);
    }
}

#[test]
fn a_list_that_has_a_service_twice_has_it_once() {
    let mut table = one();
    let mut copy = one().services();
    table.add(key(2), [server(2)]);
    let mut asked = 0;
    let table = table.before(|_, services| {
        asked += 1;
        match asked {
            2 => services.append(&mut copy),
            3 => services.truncate(2),
            _ => {}
        }
    });
    assert_eq!(lists(&mut table.client()).len(), 2);
}

#[test]
fn a_service_that_is_deleted_while_lists_are_read_is_left_out() {
    let mut table = one();
    table.add(key(2), [server(2)]);
    let mut asked = 0;
    let table = table.before(|_, services| {
        asked += 1;
        if asked == 3 {
            services.remove(0);
        }
    });
    let found = lists(&mut table.client());
    assert_eq!(found.iter().map(|it| it.entry.service.key).collect::<Vec<_>>(), [key(2)]);
}

#[test]
fn a_torn_list_of_servers_is_read_again() {
    let whole = one().services();
    let mut asked = 0;
    let table = one().before(|_, services| {
        asked += 1;
        match asked {
            3 => drop(services[0].1.pop()),
            4 => services.clone_from(&whole),
            _ => {}
        }
    });
    let commands = Rc::clone(&table.commands);
    assert_eq!(lists(&mut table.client())[0].destinations.len(), 2);
    assert_eq!(*commands.borrow(), [GetService, GetService, GetDest, GetDest, GetDest, GetService]);
}

#[test]
fn a_service_that_the_first_lists_skip_is_in_the_one_after_all_others() {
    let mut table = one();
    table.add(key(2), [server(2)]);
    let whole = table.services();
    let mut asked = 0;
    let table = table.before(|_, services| {
        asked += 1;
        match asked {
            1 => drop(services.pop()),
            3 => services.clone_from(&whole),
            _ => {}
        }
    });
    let found = lists(&mut table.client());
    assert_eq!(found.iter().map(|it| it.entry.service.key).collect::<Vec<_>>(), [key(1), key(2)]);
    assert_eq!(found[1].destinations.len(), 1);
}

#[test]
fn a_watch_reads_as_configured() {
    let mut asked = 0_u32;
    let mut client = one()
        .before(|_, services| {
            asked += 1;
            // A different name each time.
            let name = format!("a{asked}");
            services[0].0.scheduler = Some(Name::new(name.as_bytes()).unwrap());
        })
        .client();
    let options = SnapshotOptions::default().pause(Duration::ZERO);
    let mut watch = Watch::new().options(options.clone());
    assert_eq!(watch.poll(&mut client).unwrap_err().kind(), ErrorKind::Inconsistent);
    let mut watch = watch.options(options.consistency(Consistency::Lists));
    assert_eq!(watch.poll(&mut client).unwrap().len(), 3);
}
