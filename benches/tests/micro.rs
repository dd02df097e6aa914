//! What is measured does what it is there for.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use ipvs::{Connections, PersistenceEngine, Protocol};
use ipvs_benches::micro::samples::{self, Lines};
use ipvs_benches::micro::{CASES, ours};
use ipvs_sys::Dest;

#[test]
fn entries_read_back_as_they_were_written() {
    let datagram = samples::list_of_dests(samples::PER_DATAGRAM).swap_remove(0);
    let mut read = Vec::new();
    ours::decode(&datagram, |message| read.extend(message.dest)).unwrap();
    let expected: Vec<Dest> = (0..samples::PER_DATAGRAM).map(samples::listed_dest).collect();
    assert_eq!(read, expected);
}

#[test]
fn lines_of_connections_are_what_they_are_meant_to_be() {
    let read = |kind| {
        let text = samples::connections(3, kind);
        let read: Result<Vec<_>, _> = Connections::new(text.as_bytes()).collect();
        read.unwrap()
    };
    let v4 = read(Lines::V4);
    assert_eq!((v4.len(), v4[2].client), (3, "10.2.0.2:10002".parse().unwrap()));
    assert_eq!(v4[2].destination, "10.3.0.3:80".parse().unwrap());
    let v6 = read(Lines::V6);
    assert_eq!((v6.len(), v6[2].client), (3, "[2001:db8::2]:10002".parse().unwrap()));
    let engine = read(Lines::Engine);
    assert_eq!((engine.len(), engine[2].protocol), (3, Protocol::Sctp));
    assert_eq!(engine[2].persistence_engine, Some(PersistenceEngine::SIP));
    assert_eq!(engine[2].persistence_data.as_deref(), Some(&b"2@client.example"[..]));
}

/// Each checks by itself that it has done what it is there for.
#[test]
fn every_case_can_be_done_again() {
    for case in CASES {
        let mut step = case.prepare().unwrap();
        step().unwrap_or_else(|error| panic!("{case}: {error:#}"));
    }
}
