//! The traffic between the C ipvsadm and real kernels decodes to what the command line says, and
//! encodes to the same bytes again.
//!
//! The captures are from a little-endian machine, and netlink uses native byte order: a big-endian
//! machine can't read them, and is tested against neli (`oracle_neli`) instead.
#![cfg(target_endian = "little")]
#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;
mod expected;

use std::collections::BTreeSet;

use common::{
    golden::{Capture, captures},
    tree,
};
use expected::{Expected, SERIES, comparable, expected, names};
use ipvs_sys::{
    AttrSet, Body, DecodeError, Echo, ErrorMessage, ExtAck, Family, Frame, GENL_NAME, Header,
    Message, Messages, Writer, nl,
};

/// The messages of a capture in order, and whether each was sent to the kernel.
fn frames(capture: &Capture) -> Vec<(bool, Frame<'_>)> {
    let mut frames = Vec::new();
    for datagram in &capture.datagrams {
        for frame in Messages::new(&datagram.bytes) {
            frames.push((datagram.to_kernel, frame.unwrap()));
        }
    }
    frames
}

/// The captures with a name, one per kernel.
fn captures_of(name: &str) -> Vec<Capture> {
    let captures: Vec<_> =
        captures().into_iter().filter(|capture| capture.step() == name).collect();
    assert_eq!(captures.len(), SERIES.len(), "captures of {name}");
    captures
}

#[test]
fn every_kernel_has_every_capture_and_no_other() {
    let there: BTreeSet<_> = captures().into_iter().map(|capture| capture.name).collect();
    let wanted: BTreeSet<_> = SERIES
        .iter()
        .flat_map(|series| names().map(move |name| format!("{series}/{name}")))
        .collect();
    assert_eq!(there, wanted);
    for capture in captures() {
        let kernel = capture.comments("kernel").next().unwrap();
        assert!(kernel.starts_with(&format!("{}.", capture.series())), "{}", capture.name);
    }
}

/// The meaning of every message of every ipvsadm command, derived from its command line.
#[test]
fn messages_mean_what_the_command_line_says() {
    for capture in captures() {
        let Some(expected) = expected(&capture) else { continue };
        // `info` begins with requests to the controller, which have a test of their own.
        let mut frames =
            frames(&capture).into_iter().filter(|(_, frame)| !is_of_controller(frame)).peekable();
        for expected in expected {
            let mut next = || frames.next().unwrap_or_else(|| panic!("{} ends", capture.name));
            match expected {
                Expected::Request(flags, message) => {
                    let (to_kernel, frame) = next();
                    let read = (to_kernel, frame.header.flags, decode(&frame));
                    assert_eq!(read, (true, flags, message), "{}", capture.name);
                }
                Expected::Reply(message) => {
                    let (to_kernel, frame) = next();
                    let read = (to_kernel, frame.header.flags, decode(&frame));
                    assert_eq!(read, (false, 0, message), "{}", capture.name);
                }
                Expected::Dump(mut messages) => {
                    // In the order of the kernel's hash table.
                    for _ in 0..messages.len() {
                        let (to_kernel, frame) = next();
                        assert_eq!((to_kernel, frame.header.flags), (false, nl::NLM_F_MULTI));
                        let message = comparable(&capture, decode(&frame));
                        let place = messages.iter().position(|expected| *expected == message);
                        let place =
                            place.unwrap_or_else(|| panic!("{}: {message:?}", capture.name));
                        messages.swap_remove(place);
                    }
                    let (_, frame) = next();
                    assert_eq!(
                        (frame.header.flags, frame.body),
                        (nl::NLM_F_MULTI, Body::Done(ErrorMessage::default())),
                        "{}",
                        capture.name
                    );
                }
                Expected::Errno(errno) => {
                    let (to_kernel, frame) = next();
                    let Body::Error(error) = frame.body else {
                        panic!("{}: {frame:?}", capture.name)
                    };
                    let read = (to_kernel, error.errno, error.ext_ack);
                    assert_eq!(read, (false, errno, ExtAck::default()), "{}", capture.name);
                }
            }
        }
        assert_eq!(frames.next(), None, "{} goes on", capture.name);
    }
}

fn decode(frame: &Frame<'_>) -> Message {
    let Body::Data(payload) = frame.body else { panic!("no data: {frame:?}") };
    Message::decode(payload).unwrap()
}

fn is_of_controller(frame: &Frame<'_>) -> bool {
    let header = match frame.body {
        Body::Error(ErrorMessage { request: Some(echo), .. }) => echo.header,
        _ => frame.header,
    };
    header.message_type == nl::GENL_ID_CTRL
}

/// A datagram from the kernel, read and written again, is the same datagram.
#[test]
fn replies_are_written_as_the_kernel_writes_them() {
    let mut datagrams = 0;
    for capture in captures() {
        for datagram in capture.datagrams.iter().filter(|datagram| !datagram.to_kernel) {
            let Some(ours) = write_again(&datagram.bytes) else { continue };
            datagrams += 1;
            // Linux 7.2 doesn't align 64-bit values if the machine doesn't need it.
            let ours = if capture.series() == "7.2" { tree::without_padding(&ours) } else { ours };
            assert_eq!(ours, datagram.bytes, "{}", capture.name);
        }
    }
    // At least three in each capture of ipvsadm.
    assert!(datagrams > 3 * 50 * SERIES.len(), "{datagrams}");
}

/// Requests from libnl have the same attributes as ours, but in another order, and their nests have
/// the flag.
#[test]
fn requests_have_the_same_attributes_as_those_of_libnl() {
    let mut datagrams = 0;
    for capture in captures() {
        for datagram in capture.datagrams.iter().filter(|datagram| datagram.to_kernel) {
            let Some(ours) = write_again(&datagram.bytes) else { continue };
            datagrams += 1;
            assert_eq!(tree::in_order(&ours), tree::in_order(&datagram.bytes), "{}", capture.name);
        }
    }
    assert!(datagrams > 50 * SERIES.len(), "{datagrams}");
}

/// Reads a datagram and writes it again; `None` if it is the controller's, or malformed on purpose.
fn write_again(datagram: &[u8]) -> Option<Vec<u8>> {
    let mut again = Vec::new();
    for frame in Messages::new(datagram) {
        let Frame { header, body } = frame.unwrap();
        match body {
            Body::Data(_) if header.message_type == nl::GENL_ID_CTRL => return None,
            Body::Data(payload) => {
                Message::decode(payload).ok()?.encode(&mut again, &header);
            }
            Body::Error(error) => {
                Writer::error(&mut again, header.seq, header.port_id, &error);
            }
            Body::Done(end) => {
                Writer::done(&mut again, header.seq, header.port_id, &end);
            }
            Body::Noop | Body::Overrun => panic!("{body:?}"),
        }
    }
    Some(again)
}

#[test]
fn the_controller_describes_the_family() {
    for capture in captures_of("info") {
        let frames = frames(&capture);
        // libnl asks twice for each socket, and ipvsadm opens two.
        let described: Vec<_> = frames
            .iter()
            .filter_map(|(to_kernel, frame)| match frame.body {
                Body::Data(payload) if is_of_controller(frame) && !to_kernel => Some(payload),
                _ => None,
            })
            .collect();
        assert!(!described.is_empty());
        let id = frames.last().unwrap().1;
        let Body::Error(ErrorMessage { request: Some(last), .. }) = id.body else {
            panic!("the last message is no acknowledgement: {id:?}")
        };
        for payload in described {
            let family = Family::decode(payload).unwrap();
            assert_eq!(
                family,
                Family {
                    id: last.header.message_type,
                    name: ipvs_sys::Name::new(GENL_NAME).unwrap(),
                    version: 1,
                    header_size: 0,
                    max_attr: 6,
                }
            );
            let mut ours = Vec::new();
            family.encode(&mut ours, 0, 0);
            // The kernel's reply continues with the list of commands.
            assert_eq!(ours[nl::NLMSG_HDRLEN..], payload[..ours.len() - nl::NLMSG_HDRLEN]);
        }
    }
}

/// The error in reply to the only request of captures, and the request itself.
fn error_of(name: &str, check: impl Fn(&Capture, Header, &[u8], ErrorMessage<'_>)) {
    for capture in captures_of(name) {
        let [(true, request), (false, reply)] = frames(&capture)[..] else {
            panic!("{}: not a request and a reply", capture.name)
        };
        let (Body::Data(payload), Body::Error(error)) = (request.body, reply.body) else {
            panic!("{}: {request:?} {reply:?}", capture.name)
        };
        check(&capture, request.header, payload, error);
    }
}

/// The kernel's message for an attribute of the wrong size.
const FAILED_POLICY: Option<&[u8]> = Some(b"Attribute failed policy validation");
const ENOENT: i32 = 2;
const EINVAL: i32 = 22;
const ERANGE: i32 = 34;
const EOPNOTSUPP: i32 = 95;

#[test]
fn extended_acknowledgements() {
    // TIMEOUT_TCP is the first attribute, after the headers' 20 bytes.
    for (name, said, capped) in [
        ("short-timeout", false, false),
        ("short-timeout-extack", true, false),
        ("short-timeout-extack-capped", true, true),
    ] {
        error_of(name, |capture, header, payload, error| {
            assert_eq!(error.errno, ERANGE, "{}", capture.name);
            let echo = Echo {
                header,
                length: (nl::NLMSG_HDRLEN + payload.len()) as u32,
                payload: if capped { &[] } else { payload },
            };
            assert_eq!(error.request, Some(echo), "{}", capture.name);
            let expected = if said {
                // The violated policy is a nest of the kernel's own.
                assert!(error.ext_ack.policy.is_some(), "{}", capture.name);
                ExtAck {
                    message: FAILED_POLICY,
                    offset: Some(20),
                    policy: error.ext_ack.policy,
                    ..ExtAck::default()
                }
            } else {
                ExtAck::default()
            };
            assert_eq!(error.ext_ack, expected, "{}", capture.name);
            assert!(matches!(
                Message::decode(payload),
                Err(DecodeError::ValueLength { set, kind: 4, offset: 4, .. }) if set == AttrSet::COMMAND
            ));
        });
    }

    // STATE is the first attribute of the first nest.
    error_of("short-daemon-state", |capture, _, payload, error| {
        assert_eq!(error.errno, EINVAL, "{}", capture.name);
        assert_eq!(error.ext_ack.message, FAILED_POLICY, "{}", capture.name);
        assert_eq!(error.ext_ack.offset, Some(24), "{}", capture.name);
        assert!(matches!(
            Message::decode(payload),
            Err(DecodeError::ValueLength { set, kind: 1, offset: 8, .. }) if set == AttrSet::DAEMON
        ));
    });
}

/// Attributes of services are checked without extended acknowledgements.
#[test]
fn errors_without_a_word() {
    error_of("short-service-family", |capture, _, payload, error| {
        assert_eq!((error.errno, error.ext_ack), (EINVAL, ExtAck::default()), "{}", capture.name);
        assert!(matches!(
            Message::decode(payload),
            Err(DecodeError::ValueLength { set, kind: 1, offset: 8, .. }) if set == AttrSet::SERVICE
        ));
    });
    error_of("unknown-command", |capture, _, payload, error| {
        assert_eq!(
            (error.errno, error.ext_ack),
            (EOPNOTSUPP, ExtAck::default()),
            "{}",
            capture.name
        );
        assert_eq!(Message::decode(payload), Err(DecodeError::Command(99)));
    });
    error_of("unknown-family", |capture, header, _, error| {
        assert_eq!((error.errno, error.ext_ack), (ENOENT, ExtAck::default()), "{}", capture.name);
        assert_eq!(header.message_type, nl::GENL_ID_CTRL);
    });
}
