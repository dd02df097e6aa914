//! Edits write only the differences; tested on a model of a table that other programs also change.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod fake_table;

use std::time::Duration;

use fake_table::{FakeTable, key, server};
use ipvs::{DrainOptions, Drained, Ensured, ErrorKind, Operation, Scheduler, Service};
use ipvs_sys::Command;

/// Two services, one of them with two real servers.
fn two<'a>() -> FakeTable<'a> {
    let mut table = FakeTable::default();
    table.add(key(1), [server(1), server(2)]);
    table.add(key(2), []);
    table
}

/// Deletes the first service, or its first real server, just before the first command of this kind,
/// and restores it before the next command.
fn gone_for(command: Command) -> impl FnMut(Command, &mut fake_table::Services) {
    let mut step = 0;
    move |seen, services| match (step, seen) {
        (0, seen) if seen == command => {
            step = 1;
            match command {
                Command::SetService => drop(services.remove(0)),
                _ => drop(services[0].1.remove(0)),
            }
        }
        (1, _) => {
            step = 2;
            *services = two().services();
        }
        _ => {}
    }
}

#[test]
fn an_edit_that_changes_nothing_sends_nothing() {
    let table = two();
    let commands = table.commands.clone();
    let mut client = table.client();
    assert!(!client.edit_service(&key(1), |service| service.one_packet = false).unwrap());
    assert!(!client.edit_destination(&key(1), &server(1).key(), |it| it.weight = 1).unwrap());
    assert_eq!(*commands.borrow(), [Command::GetService, Command::GetDest]);
}

#[test]
fn an_edit_changes_what_it_says_and_keeps_the_rest() {
    let mut client = two().client();
    let rr = Some(Scheduler::RR);
    assert!(client.edit_service(&key(1), |service| service.scheduler = rr).unwrap());
    assert!(client.edit_destination(&key(1), &server(1).key(), |it| it.weight = 9).unwrap());
    let service = client.service(&key(1)).unwrap().unwrap().service;
    assert_eq!(service, Service::new(key(1)).scheduler(Scheduler::RR));
    let servers = client.destinations(&key(1)).unwrap();
    assert_eq!(servers[0].destination, server(1).weight(9));
    assert_eq!(servers[1].destination, server(2));
}

#[test]
fn an_edit_of_what_is_not_there_says_so() {
    let mut client = two().client();
    let error = client.edit_service(&key(3), |_| panic!("there is nothing to edit")).unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::ServiceNotFound, Operation::SetService)
    );
    let mut edit = |service, of| client.edit_destination(&key(service), &server(of).key(), |_| ());
    assert_eq!(edit(3, 1).unwrap_err().kind(), ErrorKind::ServiceNotFound);
    assert_eq!(edit(2, 1).unwrap_err().kind(), ErrorKind::DestinationNotFound);
    assert_eq!(edit(1, 3).unwrap_err().kind(), ErrorKind::DestinationNotFound);
}

#[test]
fn an_edit_of_the_key_is_refused() {
    let table = two();
    let commands = table.commands.clone();
    let mut client = table.client();
    let error = client.edit_service(&key(1), |service| service.key = key(9)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    let port = client.edit_destination(&key(1), &server(1).key(), |server| server.port = 9);
    assert_eq!(port.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(*commands.borrow(), [Command::GetService, Command::GetDest]);
}

#[test]
fn what_is_deleted_and_added_between_reading_and_writing_is_edited_all_the_same() {
    let table = two().before(gone_for(Command::SetService));
    let mut edits = 0;
    let edited = table.client().edit_service(&key(1), |service| {
        edits += 1;
        service.one_packet = true;
    });
    assert!(edited.unwrap());
    assert_eq!(edits, 2);

    let table = two().before(gone_for(Command::SetDest));
    assert!(
        table.client().edit_destination(&key(1), &server(1).key(), |it| it.weight = 2).unwrap()
    );
}

#[test]
fn ensuring_adds_sets_or_leaves_alone() {
    let table = two();
    let commands = table.commands.clone();
    let mut client = table.client();
    let service = Service::new(key(3)).scheduler(Scheduler::RR);
    assert_eq!(client.ensure_service(&service).unwrap(), Ensured::Added);
    assert_eq!(client.ensure_service(&service).unwrap(), Ensured::Unchanged);
    assert_eq!(client.ensure_service(&Service::new(key(3))).unwrap(), Ensured::Changed);
    assert_eq!(client.ensure_destination(&key(3), &server(1)).unwrap(), Ensured::Added);
    assert_eq!(client.ensure_destination(&key(3), &server(1)).unwrap(), Ensured::Unchanged);
    let heavy = server(1).weight(5);
    assert_eq!(client.ensure_destination(&key(3), &heavy).unwrap(), Ensured::Changed);
    let missing = client.ensure_destination(&key(4), &server(1)).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::ServiceNotFound);
    let writes = commands.borrow().iter().filter(|command| !fake_table::reads(**command)).count();
    assert_eq!(writes, 5, "each but the unchanged ones wrote once: {:?}", commands.borrow());
}

#[test]
fn a_race_for_a_service_is_lost_and_won() {
    // Another program adds it just before; then it only has to be set.
    let mut step = 0;
    let table = two().before(|command, services| {
        if command == Command::NewService && step == 0 {
            step = 1;
            let mut other = FakeTable::default();
            other.add(key(3), []);
            services.append(&mut other.services());
        }
    });
    let rr = Service::new(key(3)).scheduler(Scheduler::RR);
    assert_eq!(table.client().ensure_service(&rr).unwrap(), Ensured::Changed);

    let table = two().before(gone_for(Command::SetService));
    let rr = Service::new(key(1)).scheduler(Scheduler::RR);
    assert_eq!(table.client().ensure_service(&rr).unwrap(), Ensured::Changed);

    let table = two().before(gone_for(Command::SetDest));
    let heavy = server(1).weight(2);
    assert_eq!(table.client().ensure_destination(&key(1), &heavy).unwrap(), Ensured::Changed);
}

#[test]
fn a_rival_who_always_wins_ends_the_retries() {
    let mut tries = 0;
    let table = two().before(|command, services| match command {
        Command::NewService => {
            tries += 1;
            let mut other = FakeTable::default();
            other.add(key(3), []);
            services.append(&mut other.services());
        }
        _ => services.truncate(2),
    });
    let error = table.client().ensure_service(&Service::new(key(3))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ServiceExists);
    assert_eq!(tries, 8);
}

#[test]
fn a_list_that_lacks_a_server_by_mistake_is_not_believed() {
    // The first list of real servers lacks the first one, which nobody touched.
    let lacking = || {
        let mut lists = 0;
        move |command, services: &mut fake_table::Services| {
            if command == Command::GetDest {
                lists += 1;
                if lists == 1 {
                    services[0].1.remove(0);
                    return;
                }
            }
            *services = two().services();
        }
    };
    let found = two().before(lacking()).client().destination(&key(1), server(1).key());
    assert_eq!(found.unwrap().unwrap().destination, server(1));
    let ensured = two().before(lacking()).client().ensure_destination(&key(1), &server(1));
    assert_eq!(ensured.unwrap(), Ensured::Unchanged);
}

#[test]
fn a_list_that_lacks_a_server_by_mistake_does_not_end_its_drain() {
    let (mut lists, mut hidden) = (0, None);
    // Here the second list lacks it: the first list after its weight was set to 0.
    let table = two().before(|command, services| {
        if let Some(server) = hidden.take() {
            services[0].1.insert(0, server);
        }
        lists += usize::from(command == Command::GetDest);
        if command == Command::GetDest && lists == 2 {
            hidden = Some(services[0].1.remove(0));
        }
    });
    let mut client = table.client();
    let drained =
        client.drain(&key(1), &server(1).key(), &DrainOptions::new(Duration::ZERO)).unwrap();
    assert!(matches!(drained, Drained::Empty { .. }), "{drained:?}");
    assert_eq!(client.destinations(&key(1)).unwrap().len(), 1);
}

#[test]
fn a_single_real_server_is_found_or_not() {
    let mut client = two().client();
    let found = client.destination(&key(1), server(2).key()).unwrap().unwrap();
    assert_eq!(found.destination, server(2));
    assert_eq!(client.destination(&key(1), server(3).key()).unwrap(), None);
    assert_eq!(client.destination(&key(2), server(1).key()).unwrap(), None);
    let error = client.destination(&key(3), server(1).key()).unwrap_err();
    assert_eq!(
        (error.kind(), error.operation()),
        (ErrorKind::ServiceNotFound, Operation::Destination)
    );
}

#[test]
fn removing_tells_whether_it_was_there() {
    let mut client = two().client();
    assert!(client.remove_destination(&key(1), server(1).key()).unwrap());
    assert!(!client.remove_destination(&key(1), server(1).key()).unwrap());
    assert!(client.remove_service(&key(1)).unwrap());
    assert!(!client.remove_service(&key(1)).unwrap());
    assert!(!client.remove_destination(&key(1), server(2).key()).unwrap());
    assert_eq!(client.services().unwrap().len(), 1);
}
