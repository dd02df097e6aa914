//! Batches over a scripted transport: one result for each change, in order, whatever the kernel
//! replies.

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod script;

use std::time::Duration;

use ipvs::{
    Batch, Destination, DestinationKey, Error, ErrorKind, Operation, Persistence, Service,
    ServiceKey, SyncRole,
};
use script::{Act, EEXIST, ENOBUFS, ENOENT, client, script};

fn key(n: usize) -> ServiceKey {
    ServiceKey::fwmark(
        ipvs::Family::V4,
        u32::try_from(n + 1).expect("few").try_into().expect("not 0"),
    )
}

fn services(n: usize) -> Batch {
    let mut batch = Batch::new();
    for i in 0..n {
        batch.add_service(&Service::new(key(i)));
    }
    batch
}

fn kinds(results: &[Result<(), Error>]) -> Vec<Option<ErrorKind>> {
    results.iter().map(|result| result.as_ref().err().map(Error::kind)).collect()
}

/// Indices of the results of this kind.
fn of_kind(results: &[Result<(), Error>], kind: ErrorKind) -> Vec<usize> {
    let all = kinds(results).into_iter().enumerate();
    all.filter(|(_, found)| *found == Some(kind)).map(|(i, _)| i).collect()
}

#[test]
fn each_change_has_its_result_in_order_over_several_windows() {
    let act = || Act::Window(|i| if i % 10 == 3 { EEXIST } else { 0 });
    let mut script = script([act(), act(), act()]);
    let results = client(&mut script).run(&services(300));
    assert_eq!(script.windows, [128, 128, 44]);
    let failed = (0..300).filter(|i| i % 128 % 10 == 3).collect::<Vec<_>>();
    assert_eq!(of_kind(&results, ErrorKind::ServiceExists), failed);
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 300 - failed.len());
    let error = results[131].as_ref().unwrap_err();
    assert_eq!(error.operation(), Operation::AddService);
    assert!(error.to_string().contains("fwmark/132"), "{error}");
}

#[test]
fn a_value_that_has_no_place_fails_unsent_and_in_its_turn() {
    let mut batch = services(1);
    let persistence = Persistence::new(Duration::from_millis(1500));
    batch.add_service(&Service::new(key(1)).persistent(persistence));
    batch.flush();
    let mut script = script([Act::Window(|i| if i == 1 { 1 } else { 0 })]);
    let results = client(&mut script).run(&batch);
    let (invalid, denied) = (ErrorKind::InvalidInput, ErrorKind::PermissionDenied);
    assert_eq!(kinds(&results), [None, Some(invalid), Some(denied)]);
    assert_eq!(script.windows, [2]);
}

#[test]
fn a_batch_of_nothing_that_can_be_sent_sends_nothing() {
    let mut batch = Batch::new();
    batch.set_timeouts(ipvs::Timeouts::default().udp(Duration::ZERO));
    let mut script = script([]);
    let mut client = client(&mut script);
    assert_eq!(kinds(&client.run(&batch)), [Some(ErrorKind::InvalidInput)]);
    assert!(client.run(&Batch::new()).is_empty());
}

#[test]
fn lost_answers_leave_open_what_was_not_answered_and_nothing_else() {
    let mut script =
        script([Act::Lost(|i| if i == 5 { EEXIST } else { 0 }, 20), Act::Window(|_| 0)]);
    let results = client(&mut script).run(&services(130));
    assert_eq!(of_kind(&results, ErrorKind::ServiceExists), [5]);
    let open = (6..128).collect::<Vec<_>>();
    assert_eq!(of_kind(&results, ErrorKind::OutcomeUnknown), open);
    assert_eq!(script.windows, [128, 2], "the kernel can still be reached");
}

#[test]
fn after_silence_the_rest_is_not_sent() {
    let mut script = script([Act::Window(|_| 0), Act::Silence]);
    let mut batch = services(300);
    let persistence = Persistence::new(Duration::from_millis(1500));
    batch.add_service(&Service::new(key(1)).persistent(persistence));
    let results = client(&mut script).run(&batch);
    assert!(results[..128].iter().all(Result::is_ok));
    assert_eq!(of_kind(&results, ErrorKind::OutcomeUnknown), (128..256).collect::<Vec<_>>());
    assert_eq!(of_kind(&results, ErrorKind::NotSent), (256..300).collect::<Vec<_>>());
    assert_eq!(results[300].as_ref().unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn what_could_not_be_sent_was_not_executed() {
    let mut script = script([Act::Window(|_| 0), Act::SendError(ENOBUFS)]);
    let results = client(&mut script).run(&services(300));
    assert!(results[..128].iter().all(Result::is_ok));
    assert_eq!(of_kind(&results, ErrorKind::Io), (128..256).collect::<Vec<_>>());
    assert_eq!(of_kind(&results, ErrorKind::NotSent), (256..300).collect::<Vec<_>>());
}

#[test]
fn what_met_a_family_that_is_gone_is_repeated_and_nothing_else() {
    let mut script = script([Act::Reload(0x33, 100), Act::Window(|_| 0), Act::Window(|_| 0)]);
    let results = client(&mut script).run(&services(200));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_eq!(results.len(), 200);
    assert_eq!(script.windows, [128, 100], "28 of the first window are in the second");
    assert_eq!(script.resolved, 2);
}

#[test]
fn enoent_with_the_same_family_is_each_changes_own_answer() {
    let mut batch = Batch::new();
    for i in 0..3 {
        batch.delete_destination(&key(i), DestinationKey::new([10, 0, 0, 1].into(), 80));
    }
    let mut script = script([Act::Window(|_| ENOENT)]);
    let results = client(&mut script).run(&batch);
    assert_eq!(of_kind(&results, ErrorKind::DestinationNotFound), [0, 1, 2]);
    assert_eq!(script.resolved, 2);
}

#[test]
fn a_family_that_never_stays_ends_all_the_same() {
    let mut script = script([Act::Reload(0x33, 0), Act::Reload(0x34, 0)]);
    let results = client(&mut script).run(&services(2));
    assert_eq!(of_kind(&results, ErrorKind::SchedulerOrPersistenceEngineNotFound), [0, 1]);
}

#[test]
fn a_stopped_daemon_whose_acknowledgement_is_left_out_is_looked_for_before_what_follows() {
    let mut batch = services(1);
    batch.stop_sync_daemon(SyncRole::Master);
    batch.add_destination(&key(0), &Destination::new(DestinationKey::new([10, 0, 0, 1].into(), 1)));
    // The list in the middle is empty: the daemon has stopped.
    let mut script =
        script([Act::Window(|_| 0), Act::SkipFirst, Act::Answer(0), Act::Window(|_| EEXIST)]);
    let results = client(&mut script).run(&batch);
    assert_eq!(kinds(&results), [None, None, Some(ErrorKind::DestinationExists)]);
    assert_eq!(script.windows, [1, 2, 1, 1]);
}

#[test]
fn a_full_batch_is_one_window_and_can_be_used_again() {
    let mut batch = Batch::new();
    let mut script = script([Act::Window(|_| 0), Act::Window(|_| EEXIST)]);
    let mut client = client(&mut script);
    for _ in 0..2 {
        while !batch.is_full() {
            batch.add_service(&Service::new(key(batch.len())));
        }
        let mut seen = Vec::new();
        client.run_each(&batch, |index, _| seen.push(index));
        assert_eq!(seen, (0..batch.len()).collect::<Vec<_>>());
        batch.clear();
        assert!(batch.is_empty());
    }
    drop(client);
    assert_eq!(script.windows, [128, 128]);
}

/// Only a missing object counts as done: other refusals are errors.
#[test]
fn removing_what_is_not_there_is_no_error() {
    let kernel = ipvs_model::Kernel::new();
    let mut client = ipvs::Client::with_transport(kernel.clone()).unwrap();
    let server = Destination::new(DestinationKey::new([10, 0, 0, 1].into(), 80));
    client.add_service(&Service::new(key(1))).unwrap();
    client.add_destination(&key(1), &server).unwrap();
    let mut batch = Batch::new();
    batch
        .remove_destination(&key(1), &server)
        .remove_destination(&key(1), &server)
        .delete_destination(&key(1), &server)
        .remove_destination(&key(2), &server)
        .remove_service(&key(1))
        .remove_service(&key(1))
        .delete_service(&key(1));
    let kinds: Vec<_> =
        client.run(&batch).into_iter().map(|result| result.err().map(|it| it.kind())).collect();
    let (server, service) = (ErrorKind::DestinationNotFound, ErrorKind::ServiceNotFound);
    assert_eq!(kinds, [None, None, Some(server), None, None, None, Some(service)]);

    let fault = ipvs_model::Fault::on(Operation::DeleteService);
    kernel.fail(fault.kind(ErrorKind::OutOfMemory)).unwrap();
    batch.clear();
    batch.remove_service(&key(1));
    assert_eq!(client.run(&batch)[0].as_ref().unwrap_err().kind(), ErrorKind::OutOfMemory);
}
