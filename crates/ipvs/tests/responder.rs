//! The responder compared with real kernels: the captures of ipvs-sys.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::collections::HashMap;
use std::path::Path;
use std::{io, mem};

use ipvs::Served;
use ipvs::proto::{Call, Refusal, Replies, Responder};
use ipvs::{Client, ErrorKind, Service, ServiceKey, Transport};
use ipvs_sys::{Body, Command, ExtAck, Family, Header, Message, Messages, nl};

#[allow(dead_code, reason = "this test needs a part of it")]
#[path = "../../ipvs-sys/tests/common/golden.rs"]
mod golden;

/// The id of the family, where it doesn't matter.
const FAMILY: u16 = 0x1c;

/// The content of a reply, regardless of the socket's port and of how much of the request it
/// echoes.
#[derive(Debug, PartialEq)]
enum Answer {
    Reply(Header, Box<Message>),
    Family(Header, Family),
    Error { seq: u32, errno: i32, message: Option<String> },
    Done { seq: u32, errno: i32 },
}

/// `with_words`: whether the socket asked for explanations.
fn answers(datagram: &[u8], with_words: bool) -> Vec<Answer> {
    let text =
        |ext_ack: &ExtAck<'_>| ext_ack.message_lossy().filter(|_| with_words).map(String::from);
    Messages::new(datagram)
        .map(|frame| {
            let frame = frame.unwrap();
            let (seq, header) = (frame.header.seq, Header { port_id: 0, ..frame.header });
            match frame.body {
                Body::Data(payload) if header.message_type == nl::GENL_ID_CTRL => {
                    Answer::Family(header, Family::decode(payload).unwrap())
                }
                Body::Data(payload) => {
                    Answer::Reply(header, Box::new(Message::decode(payload).unwrap()))
                }
                Body::Error(error) => {
                    let request = error.request.unwrap();
                    assert_eq!((request.header.seq, request.length > 0), (seq, true));
                    Answer::Error { seq, errno: error.errno, message: text(&error.ext_ack) }
                }
                Body::Done(error) => Answer::Done { seq, errno: error.errno },
                other => panic!("{other:?} in an answer"),
            }
        })
        .collect()
}

/// Replies as the kernel of the capture did, for requests that IPVS itself handled, not generic
/// netlink.
fn replay(
    kernel: &[Answer],
    seq: u32,
    call: &Call<'_>,
    to: &mut Replies<'_>,
) -> Result<(), Refusal> {
    for answer in kernel {
        match answer {
            Answer::Reply(header, message) if header.seq == seq => to.push(message),
            Answer::Error { seq: of, errno, message } if *of == seq && *errno != 0 => {
                assert_eq!(*message, None, "IPVS itself says nothing to {call:?}");
                return Err(Refusal::new(*errno));
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
#[cfg_attr(target_endian = "big", ignore = "the captures are of little-endian machines")]
fn it_answers_as_the_kernels_did() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ipvs-sys/tests/golden");
    let (mut compared, mut lists, mut explained) = (0, 0, 0);
    let captures = golden::captures_in(&folder);
    // Each kernel gave the family a different id.
    let mut ids = HashMap::new();
    for capture in &captures {
        let requests = capture.datagrams.iter().filter(|datagram| datagram.to_kernel);
        let mut types = requests.map(|it| u16::from_ne_bytes(it.bytes[4..6].try_into().unwrap()));
        let id = types.find(|id| *id != nl::GENL_ID_CTRL);
        ids.extend(id.map(|id| (capture.series(), id)));
    }
    for capture in &captures {
        let with_words = capture.comments("socket").any(|it| it.contains("NETLINK_EXT_ACK"));
        let mut datagrams = capture.datagrams.iter().peekable();
        while let Some(request) = datagrams.next() {
            assert!(request.to_kernel, "{}: an answer without a request", capture.name);
            let mut kernel = Vec::new();
            while let Some(answer) = datagrams.next_if(|datagram| !datagram.to_kernel) {
                kernel.extend(answers(&answer.bytes, with_words));
            }

            let mut responder = Responder::new(ids[capture.series()]);
            let mut rest = request.bytes.as_slice();
            while !rest.is_empty() {
                let length = u32::from_ne_bytes(rest[..4].try_into().unwrap()) as usize;
                let (one, others) = rest.split_at(length.next_multiple_of(4).min(rest.len()));
                let seq = u32::from_ne_bytes(one[8..12].try_into().unwrap());
                responder.respond(one, |call, replies| replay(&kernel, seq, call, replies));
                rest = others;
            }
            let (mut ours, mut buffer) = (Vec::new(), Vec::new());
            while responder.receive(&mut buffer) {
                ours.extend(answers(&buffer, with_words));
            }
            assert_eq!(ours, kernel, "{}", capture.name);
            compared += ours.len();
            lists += ours.iter().filter(|answer| matches!(answer, Answer::Done { .. })).count();
            let is_explained =
                |answer: &&Answer| matches!(answer, Answer::Error { message: Some(_), .. });
            explained += ours.iter().filter(is_explained).count();
        }
    }
    assert!(compared > 0 && lists > 0 && explained > 0, "{compared} {lists} {explained}");
}

/// Ensures that no datagram is longer than the kernel's own can be.
struct Bounded<T>(T);

impl<T: Transport> Transport for Bounded<T> {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        self.0.send(datagram)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let any = self.0.receive(buffer)?;
        assert!(buffer.len() <= 32 * 1024, "a datagram of {} bytes", buffer.len());
        Ok(any)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.0.reset()
    }
}

fn client(serve: fn(&Call<'_>, &mut Replies<'_>) -> Result<(), Refusal>) -> Client<impl Transport> {
    Client::with_transport(Bounded(Served::new(serve))).unwrap()
}

/// Many services, distinguished by their mark.
fn many_services(replies: &mut Replies<'_>) {
    let mut reply = Message::new(Command::NewService);
    for mark in 1..=10_000 {
        let key = ipvs_sys::Service { family: Some(2), fwmark: Some(mark), ..Default::default() };
        reply.service = Some(key);
        replies.push(&reply);
    }
}

#[test]
fn a_list_comes_whole_in_datagrams_of_bounded_length() {
    let mut client = client(|call, replies| {
        assert_eq!((call.message.command, call.dump), (Command::GetService, true));
        many_services(replies);
        Ok(())
    });
    let services = client.services().unwrap();
    let keys: Vec<_> = services.iter().map(|entry| entry.service.key.to_string()).collect();
    let expected: Vec<_> = (1..=10_000).map(|mark| format!("fwmark/{mark}")).collect();
    assert_eq!(keys, expected);
}

#[test]
fn what_was_said_before_a_refusal_is_dropped() {
    let mut client = client(|_call, replies| {
        many_services(replies);
        Err(Refusal::new(1).message("not today"))
    });
    let error = client.services().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(error.kernel_message(), Some("not today"));
}

#[test]
fn an_interrupted_request_is_never_answered() {
    let mut client = client(|_call, _replies| Err(Refusal::new(4)));
    let service = Service::new(ServiceKey::tcp("10.10.10.53:80".parse().unwrap()));
    let error = client.add_service(&service).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
}

#[test]
fn no_datagram_makes_it_panic() {
    let mut whole = Vec::new();
    let header = Header { message_type: FAMILY, flags: 5, seq: 1, port_id: 0 };
    ipvs_sys::Writer::message(&mut whole, &header, Command::Flush).finish();
    let mut responder = Responder::new(FAMILY);
    let mut calls = 0;
    for length in 0..=whole.len() {
        for at in 0..length {
            for value in [0, 1, 0x7f, 0xff] {
                let mut datagram = whole[..length].to_vec();
                let before = mem::replace(&mut datagram[at], value);
                responder.respond(&datagram, |_, _| {
                    calls += usize::from(before == value);
                    Ok(())
                });
            }
        }
    }
    assert!(calls > 0, "unchanged datagrams count");
}
