//! No bytes make a decoder panic, and whatever decodes is a valid message.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::{fmt::Write as _, hint::black_box};

use common::{config, golden, header, message};
use ipvs_sys::{
    AttrSet, Attrs, Body, Daemon, DecodeError, Dest, Family, Genl, Header, Message, Messages,
    Service, Stats, Stats64, Writer, request_ack,
};
use proptest::{collection::vec, prelude::*, strategy::ValueTree, test_runner::TestRunner};
use splitmix::Random;

/// The number of mutated datagrams in every run.
const ITERATIONS: u64 = 200_000;

#[test]
fn mutated_datagrams() {
    let seed = std::env::var("IPVS_TEST_SEED").map_or_else(
        |_| {
            let now = std::time::SystemTime::now();
            now.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64
        },
        |seed| seed.parse().expect("IPVS_TEST_SEED is a number"),
    );
    println!("IPVS_TEST_SEED={seed}");

    let corpus = corpus();
    let mut random = Random::new(seed);
    let mut text = String::new();
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..ITERATIONS {
        let mut datagram = corpus[random.below(corpus.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut datagram, &corpus, &mut random);
        }
        if decode_in_every_way(&datagram, &mut text) {
            accepted += 1;
        } else {
            refused += 1;
        }
    }
    // If nearly all of them were refused at the first length, nothing after it would be tested.
    println!("{accepted} accepted, {refused} refused");
    assert!(accepted > ITERATIONS / 20 && refused > ITERATIONS / 20);
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn garbage(bytes in vec(any::<u8>(), 0..200)) {
        decode_in_every_way(&bytes, &mut String::new());
    }

    #[test]
    fn garbage_behind_a_good_header(
        message_type in prop_oneof![0_u16..6, Just(0x10), Just(0x1c)],
        flags: u16,
        body in vec(any::<u8>(), 0..200),
    ) {
        let mut datagram = ((16 + body.len()) as u32).to_ne_bytes().to_vec();
        datagram.extend_from_slice(&message_type.to_ne_bytes());
        datagram.extend_from_slice(&flags.to_ne_bytes());
        datagram.extend_from_slice(&[0; 8]);
        datagram.extend_from_slice(&body);
        decode_in_every_way(&datagram, &mut String::new());
    }
}

/// Without overflow checks the tests above would prove less than they say.
#[test]
#[should_panic(expected = "overflow")]
fn overflows_are_checked() {
    black_box(black_box(255_u8) + black_box(1));
}

/// Passes bytes to every decoder that takes bytes; returns whether the whole datagram was accepted
/// as messages.
fn decode_in_every_way(bytes: &[u8], text: &mut String) -> bool {
    let mut accepted = true;
    for frame in Messages::new(bytes) {
        accepted &= frame.is_ok();
        show(text, &frame);
        match frame.map(|frame| frame.body) {
            Ok(Body::Data(payload)) => {
                accepted &= decode_payload(payload, text);
            }
            Ok(Body::Error(error) | Body::Done(error)) => {
                black_box(error.ext_ack.message_lossy());
                let mut again = Vec::new();
                Writer::error(&mut again, 1, 2, &error);
                let mut frames = Messages::new(&again);
                // Without a request, an empty one is written.
                let body = frames.next().unwrap().unwrap().body;
                let Body::Error(read) = body else { panic!("no error: {body:?}") };
                assert_eq!(read.errno, error.errno);
                assert_eq!(read.ext_ack, error.ext_ack);
            }
            Ok(Body::Noop | Body::Overrun) | Err(_) => {}
        }
    }

    // The same bytes, decoded as something else.
    decode_payload(bytes, text);
    attrs(Attrs::new(AttrSet::EXT_ACK, bytes), 2, text);
    show(text, &Service::decode(bytes));
    show(text, &Dest::decode(bytes));
    show(text, &Daemon::decode(bytes));
    show(text, &Stats::decode(bytes));
    show(text, &Stats64::decode(bytes));
    let mut copy = bytes.to_vec();
    for offset in [0, bytes.len() / 2, bytes.len(), usize::MAX] {
        show(text, &request_ack(&mut copy, offset));
    }
    accepted
}

/// Passes bytes to every decoder of generic-netlink messages; returns whether they are a message of
/// IPVS.
fn decode_payload(payload: &[u8], text: &mut String) -> bool {
    show(text, &Family::decode(payload));
    if let Ok(genl) = Genl::new(payload) {
        attrs(genl.attrs, 2, text);
    }
    let message = Message::decode(payload);
    show(text, &message);
    let Ok(message) = message else { return false };

    // An accepted message can be written, and is then the same.
    let mut datagram = Vec::new();
    message.encode(&mut datagram, &Header { message_type: 0x1c, ..Header::default() });
    assert_eq!(Message::decode(&datagram[16..]), Ok(message));
    true
}

/// Reads attributes as every type and as nests.
fn attrs(attrs: Attrs<'_>, depth: usize, text: &mut String) {
    for attr in attrs {
        let Ok(attr) = attr else {
            show(text, &attr);
            continue;
        };
        let numbers = attr.u8().is_ok() || attr.u16().is_ok() || attr.u32().is_ok();
        black_box(numbers || attr.be16().is_ok() || attr.u64().is_ok() || attr.name().is_ok());
        show(text, &attr.array::<3>());
        if depth > 0 {
            self::attrs(attr.nested(AttrSet::SERVICE), depth - 1, text);
        }
    }
}

/// Formats the error, because that may panic too.
fn show<T>(text: &mut String, result: &Result<T, DecodeError>) {
    black_box(result.is_ok());
    if let Err(error) = result {
        text.clear();
        write!(text, "{error}").unwrap();
        assert!(!text.is_empty());
    }
}

/// Valid datagrams: the captured traffic of kernels, and the inputs of the property tests.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    // In the other byte order the captures are garbage, of which there is enough.
    if cfg!(target_endian = "little") {
        let datagrams = golden::captures().into_iter().flat_map(|capture| capture.datagrams);
        corpus.extend(datagrams.map(|datagram| datagram.bytes));
    }
    let mut runner = TestRunner::deterministic();
    for _ in 0..300 {
        let messages = vec((header(), message()), 1..4).new_tree(&mut runner).unwrap().current();
        let mut datagram = Vec::new();
        for (header, message) in messages {
            message.encode(&mut datagram, &header);
        }
        corpus.push(datagram);
    }
    corpus
}

/// Changes a few bytes, preferably those of lengths.
fn mutate(datagram: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    if datagram.is_empty() {
        datagram.push(random.next_u64() as u8);
        return;
    }
    let at = random.below(datagram.len());
    match random.below(8) {
        0 => datagram[at] ^= 1 << random.below(8),
        1 => datagram[at] = random.next_u64() as u8,
        2 => datagram[at] = [0, 1, 3, 4, 5, 0x7f, 0x80, 0xff][random.below(8)],
        // A length or type of an attribute or message.
        3 | 4 => {
            let value = [0, 1, 3, 4, 5, 8, 20, datagram.len() as u16, 0x8000, 0xffff];
            let value = value[random.below(value.len())].to_ne_bytes();
            let at = at & !1;
            if let Some(place) = datagram.get_mut(at..at + 2) {
                place.copy_from_slice(&value);
            }
        }
        5 => datagram.truncate(at),
        6 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len().max(1)).min(other.len());
            datagram.extend_from_slice(&other[from..]);
        }
        _ => {
            let end = (at + random.below(8)).min(datagram.len());
            datagram.drain(at..end);
        }
    }
}
