//! The client over a scripted transport: replies that no healthy kernel sends must not hang it, and
//! must not be mistaken for success.

use std::time::{Duration, Instant};

use ipvs::{Client, ErrorKind, Operation, Service, ServiceKey, SyncRole};

#[allow(dead_code, reason = "each test binary needs a part of it")]
mod script;

use script::{Act, EIO, ENOBUFS, ENOENT, client, script};

fn service() -> Service {
    Service::new(ServiceKey::tcp("10.10.10.53:80".parse().expect("an address")))
}

#[test]
fn silence_ends_at_the_deadline_with_an_unknown_outcome_and_the_next_call_works() {
    let mut script = script([Act::Silence, Act::Answer(0)]);
    let mut client = client(&mut script);
    let error = client.add_service(&service()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(error.operation(), Operation::AddService);
    client.add_service(&service()).unwrap();
    drop(client);
    assert_eq!(script.resets, 1);
}

#[test]
fn lost_answers_are_an_unknown_outcome() {
    let mut script = script([Act::ReceiveError(ENOBUFS), Act::Answer(0)]);
    let mut client = client(&mut script);
    assert_eq!(client.flush().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    client.flush().unwrap();
}

#[test]
fn an_answer_that_is_cut_short_is_an_error_and_the_next_call_works() {
    let mut script = script([Act::Cut, Act::Answer(0)]);
    let mut client = client(&mut script);
    assert_eq!(client.info().unwrap_err().kind(), ErrorKind::Protocol);
    client.flush().unwrap();
}

/// It may have been executed, whatever is wrong with the reply.
#[test]
fn a_change_without_a_reply_has_an_unknown_outcome() {
    let acts = || [Act::Cut, Act::ReceiveError(EIO), Act::ReceiveError(1)];
    let mut script = script(acts().into_iter().chain(acts()));
    let mut client = client(&mut script);
    let text = "cannot delete all virtual services: the kernel's reply is missing: ";
    for cause in ["", "Input/output error (os error 5)", "Operation not permitted (os error 1)"] {
        let error = client.flush().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert!(error.get_ref().is_some(), "{error:?}");
        let said = error.to_string();
        assert!(said.starts_with(text) && said.ends_with(cause), "{said}");
        assert_ne!(said, text);
    }
    for kind in [ErrorKind::Protocol, ErrorKind::Io, ErrorKind::PermissionDenied] {
        let error = client.services().unwrap_err();
        assert_eq!(error.kind(), kind);
        if kind == ErrorKind::Io {
            let text = "cannot list virtual services: Input/output error (os error 5)";
            assert_eq!(error.to_string(), text);
        }
    }
}

/// The greatest error number is 4095 (`linux/err.h`).
#[test]
fn a_number_that_is_no_error_number_is_no_answer() {
    let mut script = script([Act::Answer(4096), Act::Answer(i32::MAX), Act::Answer(4095)]);
    let mut client = client(&mut script);
    assert_eq!(client.flush().unwrap_err().kind(), ErrorKind::OutcomeUnknown);
    assert_eq!(client.services().unwrap_err().kind(), ErrorKind::Protocol);
    let error = client.flush().unwrap_err();
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Other, Some(4095)));
}

#[test]
fn a_send_that_fails_is_an_error_and_the_next_call_works() {
    let mut script = script([Act::SendError(ENOBUFS), Act::SendError(1), Act::Answer(0)]);
    let mut client = client(&mut script);
    assert_eq!(client.flush().unwrap_err().kind(), ErrorKind::Io, "it wasn't executed");
    assert_eq!(client.flush().unwrap_err().kind(), ErrorKind::PermissionDenied);
    client.flush().unwrap();
}

#[test]
fn enoent_with_the_same_family_is_the_answer() {
    let mut script = script([Act::Answer(ENOENT)]);
    let mut client = client(&mut script);
    let error = client.add_service(&service()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchedulerOrPersistenceEngineNotFound);
    drop(client);
    assert_eq!(script.resolved, 2, "it was asked whether the family is still the same");
}

#[test]
fn a_question_without_a_reply_is_an_error() {
    let mut script = script([Act::Answer(0)]);
    let error = client(&mut script).info().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[test]
fn a_stopped_daemon_whose_acknowledgement_is_left_out_is_looked_for() {
    // The list that follows is empty: the daemon has stopped.
    let mut script = script([Act::SkipFirst, Act::Answer(0)]);
    let started = Instant::now();
    let mut client = Client::with_transport(&mut script).unwrap();
    client.stop_sync_daemon(SyncRole::Master).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "it didn't wait for the deadline");
}
