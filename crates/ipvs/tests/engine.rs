//! The protocol engine with hand-made replies: which requests complete, and in which order.
//!
//! The replies are built here byte by byte according to netlink(7), not by the crate under test.

use std::time::{Duration, Instant};

use ipvs::proto::{Engine, Event, Failure, PushError, Request, RequestId, RequestKind};
use ipvs_sys::Command;

const TIMEOUT: Duration = Duration::from_secs(5);
const FAMILY: u16 = 0x21;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK: u16 = 4;
const NLM_F_MULTI: u16 = 2;
const ESRCH: i32 = 3;
const EEXIST: i32 = 17;

fn engine() -> Engine {
    let mut engine = Engine::new(TIMEOUT);
    engine.set_family(FAMILY);
    engine
}

fn flush() -> Request<'static> {
    Request::new(Command::Flush, RequestKind::Change)
}

fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// nlmsgerr: the negated errno, then the header of the request.
fn answer(seq: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    message(NLMSG_ERROR, 0x100, seq, &payload)
}

fn reply(seq: u32, flags: u16) -> Vec<u8> {
    message(FAMILY, flags, seq, &[Command::NewService as u8, 1, 0, 0])
}

fn done(seq: u32) -> Vec<u8> {
    message(NLMSG_DONE, NLM_F_MULTI, seq, &0i32.to_ne_bytes())
}

/// The sequence numbers and flags of the messages in a datagram.
fn headers(datagram: &[u8]) -> Vec<(u32, u16)> {
    let mut headers = Vec::new();
    let mut rest = datagram;
    while rest.len() >= 16 {
        let length = u32::from_ne_bytes(rest[..4].try_into().expect("4 bytes")) as usize;
        headers.push((
            u32::from_ne_bytes(rest[8..12].try_into().expect("4 bytes")),
            u16::from_ne_bytes(rest[6..8].try_into().expect("2 bytes")),
        ));
        rest = &rest[length.next_multiple_of(4)..];
    }
    headers
}

fn transmit(engine: &mut Engine) -> Vec<(u32, u16)> {
    headers(engine.poll_transmit().expect("something to send"))
}

#[derive(Debug, PartialEq)]
enum Seen {
    Reply(RequestId),
    Completed(RequestId, Result<(), Failure>),
}

fn seen(event: Event<'_>) -> Seen {
    match event {
        Event::Reply { id, .. } => Seen::Reply(id),
        Event::Completed { id, outcome } => Seen::Completed(id, outcome),
        other => panic!("an event this test doesn't know: {other:?}"),
    }
}

fn feed(engine: &mut Engine, datagram: &[u8]) -> Vec<Seen> {
    let mut events = Vec::new();
    engine.handle_datagram(datagram, |event| events.push(seen(event))).expect("well formed");
    events
}

fn refused(errno: i32) -> Result<(), Failure> {
    Err(Failure::Kernel { errno, message: None })
}

#[test]
fn only_the_last_of_a_window_is_acknowledged_and_that_completes_all() {
    let mut engine = engine();
    let ids: Vec<_> = (0..3).map(|_| engine.push(&flush()).unwrap()).collect();
    let sent = transmit(&mut engine);
    let acks: Vec<_> = sent.iter().map(|(_, flags)| flags & NLM_F_ACK != 0).collect();
    assert_eq!(acks, [false, false, true]);

    let events = feed(&mut engine, &answer(sent[2].0, 0));
    assert_eq!(events, ids.all_completed());
    assert!(engine.is_idle());
    assert_eq!(engine.poll_timeout(Instant::now()), None);
}

trait MapSettled {
    fn all_completed(&self) -> Vec<Seen>;
}

impl MapSettled for Vec<RequestId> {
    fn all_completed(&self) -> Vec<Seen> {
        self.iter().map(|id| Seen::Completed(*id, Ok(()))).collect()
    }
}

#[test]
fn a_refused_request_completes_those_before_it_and_leaves_the_rest() {
    let mut engine = engine();
    let ids: Vec<_> = (0..4).map(|_| engine.push(&flush()).unwrap()).collect();
    let sent = transmit(&mut engine);

    assert_eq!(
        feed(&mut engine, &answer(sent[1].0, EEXIST)),
        [Seen::Completed(ids[0], Ok(())), Seen::Completed(ids[1], refused(EEXIST))]
    );
    assert!(!engine.is_idle());
    assert_eq!(
        feed(&mut engine, &answer(sent[3].0, ESRCH)),
        [Seen::Completed(ids[2], Ok(())), Seen::Completed(ids[3], refused(ESRCH))]
    );
    assert!(engine.is_idle());
}

#[test]
fn stale_and_foreign_answers_are_passed_over() {
    let mut engine = engine();
    let first = engine.push(&flush()).unwrap();
    let old = transmit(&mut engine)[0].0;
    let mut abandoned = Vec::new();
    engine.abandon(|event| abandoned.push(seen(event)));
    assert_eq!(abandoned, [Seen::Completed(first, Err(Failure::Unknown))]);

    let second = engine.push(&flush()).unwrap();
    let new = transmit(&mut engine)[0].0;
    assert_ne!(old, new);
    let before = engine.poll_timeout(Instant::now());
    assert_eq!(feed(&mut engine, &answer(old, 0)), []);
    assert_eq!(feed(&mut engine, &answer(new.wrapping_add(7), 0)), []);
    assert_eq!(feed(&mut engine, &answer(0, 0)), []);
    assert_eq!(engine.poll_timeout(Instant::now()), before, "stale answers don't buy time");
    assert_eq!(feed(&mut engine, &answer(new, 0)), [Seen::Completed(second, Ok(()))]);
}

#[test]
fn a_list_ends_with_done_and_shares_no_window() {
    let mut engine = engine();
    let dump = Request::new(Command::GetService, RequestKind::Dump);
    let id = engine.push(&dump).unwrap();
    assert_eq!(engine.push(&flush()), Err(PushError::WindowFull));
    let seq = transmit(&mut engine)[0].0;

    let mut datagram = reply(seq, NLM_F_MULTI);
    datagram.extend(reply(seq, NLM_F_MULTI));
    assert_eq!(feed(&mut engine, &datagram), [Seen::Reply(id), Seen::Reply(id)]);
    assert!(!engine.is_idle());
    assert_eq!(feed(&mut engine, &done(seq)), [Seen::Completed(id, Ok(()))]);

    engine.push(&flush()).unwrap();
    assert_eq!(engine.push(&dump), Err(PushError::WindowFull));
}

#[test]
fn a_change_that_must_be_acknowledged_is_not_taken_for_done_by_silence() {
    let mut engine = engine();
    let stop =
        engine.push(&Request::new(Command::DelDaemon, RequestKind::AcknowledgedChange)).unwrap();
    let barrier = engine.push(&Request::new(Command::GetConfig, RequestKind::Get)).unwrap();
    let sent = transmit(&mut engine);
    let acks: Vec<_> = sent.iter().map(|(_, flags)| flags & NLM_F_ACK != 0).collect();
    assert_eq!(acks, [true, false]);

    assert_eq!(
        feed(&mut engine, &reply(sent[1].0, 0)),
        [
            Seen::Completed(stop, Err(Failure::Unacknowledged)),
            Seen::Reply(barrier),
            Seen::Completed(barrier, Ok(())),
        ]
    );
}

#[test]
fn a_window_takes_128_requests_and_one_is_under_way_at_a_time() {
    let mut engine = engine();
    for _ in 0..128 {
        engine.push(&flush()).unwrap();
    }
    assert_eq!(engine.push(&flush()), Err(PushError::WindowFull));
    let sent = transmit(&mut engine);
    assert_eq!(sent.len(), 128);
    engine.push(&flush()).expect("the next window fills while this one is under way");
    assert!(engine.poll_transmit().is_none());
    feed(&mut engine, &answer(sent[127].0, 0));
    assert_eq!(transmit(&mut engine).len(), 1);
}

#[test]
fn the_deadline_runs_from_the_last_answer() {
    let mut engine = engine();
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    assert_eq!(engine.poll_timeout(start), None);
    engine.push(&Request::new(Command::GetService, RequestKind::Dump)).unwrap();
    assert_eq!(engine.poll_timeout(start), None);
    let seq = headers(engine.poll_transmit().unwrap())[0].0;
    // The timeout starts when the caller has to wait, and asking again doesn't restart it.
    assert_eq!(engine.poll_timeout(after(1)), Some(after(1) + TIMEOUT));
    assert_eq!(engine.poll_timeout(after(2)), Some(after(1) + TIMEOUT));
    assert!(engine.handle_datagram(&reply(seq, NLM_F_MULTI), |_| ()).unwrap());
    assert_eq!(engine.poll_timeout(after(3)), Some(after(3) + TIMEOUT));
    // A message that isn't a reply to a request in flight doesn't renew it either.
    assert!(!engine.handle_datagram(&reply(seq + 1, NLM_F_MULTI), |_| ()).unwrap());
    assert_eq!(engine.poll_timeout(after(4)), Some(after(3) + TIMEOUT));
    assert!(engine.handle_datagram(&done(seq), |_| ()).unwrap());
    assert_eq!(engine.poll_timeout(after(5)), None);
}

#[test]
fn a_question_ends_with_its_reply_and_is_not_acknowledged() {
    let mut engine = engine();
    let change = engine.push(&flush()).unwrap();
    let question = engine.push(&Request::new(Command::GetInfo, RequestKind::Get)).unwrap();
    let sent = transmit(&mut engine);
    assert!(sent.iter().all(|(_, flags)| flags & NLM_F_ACK == 0));
    assert_eq!(
        feed(&mut engine, &reply(sent[1].0, 0)),
        [Seen::Completed(change, Ok(())), Seen::Reply(question), Seen::Completed(question, Ok(()))]
    );
    assert!(engine.is_idle());
}

#[test]
fn a_truncated_datagram_is_an_error_and_completes_nothing_that_it_lacks() {
    let mut engine = engine();
    let id = engine.push(&flush()).unwrap();
    let seq = transmit(&mut engine)[0].0;
    let whole = answer(seq, 0);
    for length in 1..whole.len() {
        let mut events = Vec::new();
        let fed = engine.handle_datagram(&whole[..length], |e| events.push(seen(e)));
        assert!(fed.is_err(), "{length} bytes");
        assert_eq!(events, [], "{length} bytes");
    }
    assert_eq!(feed(&mut engine, &whole), [Seen::Completed(id, Ok(()))]);
}
