//! Snapshots of a table that other programs change, on a model of it.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod fake_table;

use std::time::{Duration, Instant};

use fake_table::{FakeTable, key, server};
use ipvs::{Error, ErrorKind, Operation, Service, SnapshotOptions, Table, TableService};
use ipvs_sys::Command;

/// Two services, one with two real servers and one with one.
fn two() -> FakeTable<'static> {
    let mut table = FakeTable::default();
    table.add(key(1), [server(1), server(2)]);
    table.add(key(2), [server(3)]);
    table
}

fn snapshot(table: FakeTable<'_>) -> Result<ipvs::Snapshot, Error> {
    table.client().snapshot()
}

fn untouched() -> Table {
    Table::new()
        .with(TableService::new(Service::new(key(1))).destination(server(1)).destination(server(2)))
        .with(TableService::new(Service::new(key(2))).destination(server(3)))
}

#[test]
fn a_table_that_nobody_changes_is_read_twice() {
    let snapshot = snapshot(two()).unwrap();
    assert_eq!(snapshot.passes, 2);
    assert_eq!(snapshot.table(), untouched());
    assert_eq!(snapshot.service(&key(2)).unwrap().destinations.len(), 1);
    assert_eq!(snapshot.service(&key(3)), None);
}

#[test]
fn an_empty_table_is_an_empty_snapshot() {
    assert_eq!(snapshot(FakeTable::default()).unwrap().into_table(), Table::new());
}

#[test]
fn what_one_pass_lacks_is_read_again() {
    // Only in the first pass, the list of services lacks one that nobody touched.
    let mut lists = 0;
    let table = two().before(|command, services| {
        if command == Command::GetService {
            lists += 1;
            match lists {
                1 => services.truncate(1),
                2 => *services = two().services(),
                _ => {}
            }
        }
    });
    let snapshot = snapshot(table).unwrap();
    assert_eq!((snapshot.table(), snapshot.passes), (untouched(), 3));
}

#[test]
fn a_service_deleted_before_its_real_servers_are_read_is_no_service_without_any() {
    let mut done = false;
    let table = two().before(|command, services| {
        if command == Command::GetDest && !done {
            done = true;
            services.remove(0);
        }
    });
    let snapshot = snapshot(table).unwrap();
    assert_eq!(snapshot.services().len(), 1);
    assert_eq!((snapshot.services()[0].entry.service.key, snapshot.passes), (key(2), 3));
}

#[test]
fn counters_may_change_all_the_time() {
    let table = two().before(|_, services| {
        for (_, destinations) in services {
            for destination in destinations {
                *destination.active_conns.get_or_insert(0) += 1;
            }
        }
    });
    assert_eq!(snapshot(table).unwrap().passes, 2);
}

#[test]
fn what_was_deleted_and_added_again_is_seen_by_its_place() {
    let mut lists = 0;
    let table = two().before(|command, services| {
        if command == Command::GetService {
            lists += 1;
            if lists == 2 {
                services.swap(0, 1);
            }
        }
    });
    assert_eq!(snapshot(table).unwrap().passes, 3);
}

#[test]
fn after_a_change_each_list_is_confirmed_once_wherever_that_ends() {
    // Requests 0, 3 and 6 read the services, those after them the real servers of each. Each case
    // says before which request something changes, in which list, and how many requests result.
    for (change, list, questions) in
        [(0, 2, 6_u32), (3, 0, 7), (4, 1, 8), (5, 2, 9), (3, 2, 9), (4, 0, 6), (5, 1, 6)]
    {
        let mut asked = 0;
        let table = two().before(|_, services| {
            if asked == change {
                match list {
                    0 => services.swap(0, 1),
                    other => services[other - 1].1[0].weight = Some(7),
                }
            }
            asked += 1;
        });
        let passes = snapshot(table).unwrap().passes;
        assert_eq!(asked, questions, "list {list} changed before question {change}");
        assert_eq!(passes, questions.div_ceil(3));
    }
}

#[test]
fn passes_that_keep_disagreeing_are_further_and_further_apart() {
    let pause = Duration::from_millis(2);
    for (max_passes, pauses) in [(3, 0), (4, 1), (10, 1 + 2 + 4 + 8 + 16 + 16 + 16)] {
        let mut lists = 0;
        let table = two().before(|command, services| {
            if command == Command::GetService {
                lists += 1;
                services[0].1[0].weight = Some(lists);
            }
        });
        let mut client = table.client();
        let options = SnapshotOptions::default().max_passes(max_passes);
        let begin = Instant::now();
        client.snapshot_with(&options.pause(pause)).unwrap_err();
        assert!(begin.elapsed() >= pause * pauses, "{max_passes}: {:?}", begin.elapsed());
    }
}

#[test]
fn a_table_that_never_stays_is_an_error_of_its_own_after_so_many_passes() {
    for (options, passes) in [
        (SnapshotOptions::default(), 10),
        (SnapshotOptions::default().max_passes(3), 3),
        (SnapshotOptions::default().max_passes(0).agreeing(4), 4),
    ] {
        let mut lists = 0;
        let table = two().before(|command, services| {
            if command == Command::GetService {
                lists += 1;
                services[0].1[0].weight = Some(lists);
            }
        });
        let error = table.client().snapshot_with(&options).unwrap_err();
        assert_eq!(
            (error.kind(), error.operation()),
            (ErrorKind::Inconsistent, Operation::Snapshot)
        );
        assert_eq!(lists, passes, "{options:?}");
    }
}

#[test]
fn as_many_passes_agree_as_are_asked_for() {
    for (agreeing, passes) in [(0, 1), (1, 1), (2, 2), (5, 5)] {
        let options = SnapshotOptions::default().agreeing(agreeing);
        let snapshot = two().client().snapshot_with(&options).unwrap();
        assert_eq!(snapshot.passes, passes);
    }
}

/// Regardless of the kernel's order.
#[test]
fn a_service_is_found_by_its_key() {
    let entry = |mark| ipvs::ServiceEntry::new(Service::new(key(mark)));
    let marks = [7, 3, 9, 1, 8];
    let services = marks.map(|mark| ipvs::ServiceSnapshot::new(entry(mark)));
    let snapshot = ipvs::Snapshot::new(services);
    for mark in 1..11 {
        let found = snapshot.service(&key(mark)).map(|service| *service.key());
        assert_eq!(found, marks.contains(&mark).then_some(key(mark)));
    }
    assert_eq!(snapshot.services()[0].key(), &key(7));
}
