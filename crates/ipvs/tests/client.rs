//! The client over a scripted transport: what no healthy kernel does must not hang it, and must
//! not be taken for success.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use ipvs::{Client, ErrorKind, Operation, Service, ServiceKey, SyncRole, Transport};

const CTRL: u16 = 0x10;
const FAMILY: u16 = 0x21;

/// What the other end does with a datagram of requests.
enum Act {
    /// Answer every request that wants it, with this errno for the first of the datagram.
    Answer(i32),
    /// Answer with a message that is cut short.
    Cut,
    /// Say nothing.
    Silence,
    /// Fail the receive with this errno.
    ReceiveError(i32),
    /// Fail the send with this errno.
    SendError(i32),
    /// Leave the first request's acknowledgement out, and answer the second.
    SkipFirst,
}

#[derive(Default)]
struct Script {
    acts: VecDeque<Act>,
    answers: VecDeque<io::Result<Vec<u8>>>,
    family: u16,
    resets: usize,
    resolved: usize,
}

struct Scripted<'a>(&'a mut Script);

fn message(kind: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (16 + payload.len() as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 2]);
    bytes.extend(seq.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

fn answer(seq: u32, errno: i32) -> Vec<u8> {
    let mut payload = (-errno).to_ne_bytes().to_vec();
    payload.extend([0; 16]);
    message(2, seq, &payload)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("a field of the request")
}

/// (message type, sequence number) of each request.
fn requests(datagram: &[u8]) -> Vec<(u16, u32)> {
    let (mut all, mut rest) = (Vec::new(), datagram);
    while !rest.is_empty() {
        all.push((u16::from_ne_bytes(field(rest, 4)), u32::from_ne_bytes(field(rest, 8))));
        rest = &rest[(u32::from_ne_bytes(field(rest, 0)) as usize).next_multiple_of(4)..];
    }
    all
}

impl Transport for Scripted<'_> {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let script = &mut *self.0;
        let requests = requests(datagram);
        if requests[0].0 == CTRL {
            // CTRL_CMD_NEWFAMILY with CTRL_ATTR_FAMILY_ID and CTRL_ATTR_FAMILY_NAME.
            script.resolved += 1;
            let mut payload = vec![1, 2, 0, 0, 6, 0, 1, 0];
            payload.extend(script.family.to_ne_bytes());
            payload.extend([0, 0, 9, 0, 2, 0]);
            payload.extend(b"IPVS\0\0\0\0");
            if cfg!(target_endian = "big") {
                payload[4..8].copy_from_slice(&[0, 6, 0, 1]);
                payload[12..16].copy_from_slice(&[0, 9, 0, 2]);
            }
            let mut reply = message(CTRL, requests[0].1, &payload);
            reply.extend(answer(requests[0].1, 0));
            script.answers.push_back(Ok(reply));
            return Ok(());
        }
        match script.acts.pop_front().expect("a request that the script doesn't know of") {
            Act::Answer(errno) => {
                for (i, (_, seq)) in requests.iter().enumerate() {
                    script.answers.push_back(Ok(answer(*seq, if i == 0 { errno } else { 0 })));
                }
            }
            Act::Cut => {
                let mut bytes = answer(requests[0].1, 0);
                bytes.truncate(18);
                script.answers.push_back(Ok(bytes));
            }
            Act::Silence => {}
            Act::ReceiveError(errno) => {
                script.answers.push_back(Err(io::Error::from_raw_os_error(errno)));
            }
            Act::SendError(errno) => return Err(io::Error::from_raw_os_error(errno)),
            Act::SkipFirst => script.answers.push_back(Ok(answer(requests[1].1, 0))),
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
        match self.0.answers.pop_front() {
            Some(answer) => {
                *buffer = answer?;
                Ok(true)
            }
            None => {
                std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
                Ok(false)
            }
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        self.0.resets += 1;
        self.0.answers.clear();
        Ok(())
    }
}

fn script(acts: impl IntoIterator<Item = Act>) -> Script {
    Script { acts: acts.into_iter().collect(), family: FAMILY, ..Script::default() }
}

fn client(script: &mut Script) -> Client<Scripted<'_>> {
    let mut client = Client::with_transport(Scripted(script)).expect("the family is known");
    client.set_timeout(Duration::from_millis(20));
    client
}

fn service() -> Service {
    Service::new(ServiceKey::tcp("10.10.10.53:80".parse().expect("an address")))
}

const ENOENT: i32 = 2;
const ENOBUFS: i32 = 105;

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
    assert_eq!(client.flush().unwrap_err().kind(), ErrorKind::Protocol);
    client.flush().unwrap();
}

#[test]
fn a_send_that_fails_is_an_error_and_the_next_call_works() {
    let mut script = script([Act::SendError(ENOBUFS), Act::SendError(1), Act::Answer(0)]);
    let mut client = client(&mut script);
    assert!(client.flush().is_err());
    assert_eq!(client.flush().unwrap_err().kind(), ErrorKind::PermissionDenied);
    client.flush().unwrap();
}

#[test]
fn enoent_with_the_same_family_is_the_answer() {
    let mut script = script([Act::Answer(ENOENT)]);
    let mut client = client(&mut script);
    let error = client.add_service(&service()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SchedulerOrEngineNotFound);
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
    // The list that follows is empty: it runs no more.
    let mut script = script([Act::SkipFirst, Act::Answer(0)]);
    let started = Instant::now();
    let mut client = Client::with_transport(Scripted(&mut script)).unwrap();
    client.stop_sync_daemon(SyncRole::Master).unwrap();
    assert!(started.elapsed() < Duration::from_secs(5), "it didn't wait for the deadline");
}
