//! What is measured side by side does the same: other crates write the same bytes and read the same
//! values.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use ipvs::{Connections, PersistenceEngine, Protocol};
use ipvs_benches::micro::attribute_tree::{self, Attribute, DestAttribute, StatsAttribute};
use ipvs_benches::micro::samples::{self, Lines};
use ipvs_benches::micro::{CASES, neli, ours};
use ipvs_sys::attr::stats;
use ipvs_sys::{Dest, ForwardMethod, Stats, Stats64, TunnelFlags, TunnelType};

#[test]
fn all_write_the_same_request() {
    for number in [0, 7, 9_999] {
        let (service, dest) = (samples::service_key(), samples::dest(number));
        let (mut ours, mut tree) = (Vec::new(), vec![0xff; 500]);
        ours::encode(&mut ours, &service, &dest);
        attribute_tree::encode(&mut tree, &service, &dest);
        assert_eq!(tree, ours);
        assert_eq!(neli::encode(&service, &dest).unwrap(), ours);
    }
}

#[test]
fn all_read_the_same_list() {
    let datagram = samples::list_of_dests(samples::PER_DATAGRAM).swap_remove(0);
    let expected: Vec<Dest> = (0..samples::PER_DATAGRAM).map(samples::listed_dest).collect();

    let mut read = Vec::new();
    ours::decode(&datagram, |message| read.extend(message.dest)).unwrap();
    assert_eq!(read, expected);

    read.clear();
    attribute_tree::decode(&datagram, |message| {
        let [Attribute::Dest(attributes)] = &message.attributes[..] else { panic!("{message:?}") };
        read.push(dest_of(attributes));
    })
    .unwrap();
    assert_eq!(read, expected);

    read.clear();
    neli::decode(&datagram, |dest| read.push(dest)).unwrap();
    assert_eq!(read, expected);
}

/// The values of an attribute tree; all are at their places in it, and none is left over.
fn dest_of(attributes: &[DestAttribute]) -> Dest {
    let mut dest = Dest::default();
    for attribute in attributes {
        match attribute {
            DestAttribute::Addr(addr) => dest.addr = Some(*addr),
            DestAttribute::Port(port) => dest.port = Some(*port),
            DestAttribute::FwdMethod(value) => dest.fwd_method = Some(ForwardMethod(*value)),
            DestAttribute::Weight(value) => dest.weight = Some(*value),
            DestAttribute::TunType(value) => dest.tun_type = Some(TunnelType(*value)),
            DestAttribute::TunPort(value) => dest.tun_port = Some(*value),
            DestAttribute::TunFlags(value) => {
                dest.tun_flags = Some(TunnelFlags::from_bits_retain(*value));
            }
            DestAttribute::UpperThreshold(value) => dest.u_thresh = Some(*value),
            DestAttribute::LowerThreshold(value) => dest.l_thresh = Some(*value),
            DestAttribute::ActiveConns(value) => dest.active_conns = Some(*value),
            DestAttribute::InactConns(value) => dest.inact_conns = Some(*value),
            DestAttribute::PersistConns(value) => dest.persist_conns = Some(*value),
            DestAttribute::AddrFamily(value) => dest.addr_family = Some(*value),
            DestAttribute::Stats(values) => dest.stats = Some(stats_of(values)),
            DestAttribute::Stats64(values) => dest.stats64 = Some(stats64_of(values)),
            DestAttribute::Other(other) => panic!("{other:?}"),
        }
    }
    dest
}

fn stats_of(values: &[StatsAttribute]) -> Stats {
    let narrow = |wanted| {
        values.iter().find_map(|value| match value {
            StatsAttribute::Narrow { kind, value } if *kind == wanted => Some(*value),
            _ => None,
        })
    };
    Stats {
        conns: narrow(stats::CONNS).unwrap(),
        inpkts: narrow(stats::INPKTS).unwrap(),
        outpkts: narrow(stats::OUTPKTS).unwrap(),
        inbytes: wide(values, stats::INBYTES),
        outbytes: wide(values, stats::OUTBYTES),
        cps: narrow(stats::CPS).unwrap(),
        inpps: narrow(stats::INPPS).unwrap(),
        outpps: narrow(stats::OUTPPS).unwrap(),
        inbps: narrow(stats::INBPS).unwrap(),
        outbps: narrow(stats::OUTBPS).unwrap(),
    }
}

fn stats64_of(values: &[StatsAttribute]) -> Stats64 {
    Stats64 {
        conns: wide(values, stats::CONNS),
        inpkts: wide(values, stats::INPKTS),
        outpkts: wide(values, stats::OUTPKTS),
        inbytes: wide(values, stats::INBYTES),
        outbytes: wide(values, stats::OUTBYTES),
        cps: wide(values, stats::CPS),
        inpps: wide(values, stats::INPPS),
        outpps: wide(values, stats::OUTPPS),
        inbps: wide(values, stats::INBPS),
        outbps: wide(values, stats::OUTBPS),
    }
}

fn wide(values: &[StatsAttribute], wanted: u16) -> u64 {
    let value = values.iter().find_map(|value| match value {
        StatsAttribute::Wide { kind, value } if *kind == wanted => Some(*value),
        _ => None,
    });
    value.unwrap()
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
