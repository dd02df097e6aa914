//! Messages of every kind, for the tests that need many of them.
#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod golden;
pub(crate) mod tree;

use std::net::{Ipv4Addr, Ipv6Addr};

use ipvs_sys::{
    Command, Daemon, DaemonState, Dest, ExtAck, Flags, ForwardMethod, Header, Info, Message, Name,
    Service, ServiceFlags, Stats, Stats64, Timeouts, TunnelFlags, TunnelType,
};
use proptest::{collection::vec, option, prelude::*};

/// Runs this many cases. A failure prints its smallest input, which belongs in a test of its own,
/// not in a file of seeds.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A name of up to `longest` bytes of any value except NUL.
pub(crate) fn name(longest: usize) -> impl Strategy<Value = Name> {
    vec(1..=u8::MAX, 0..=longest).prop_map(|bytes| Name::new(bytes).unwrap())
}

fn stats() -> impl Strategy<Value = Stats> {
    any::<([u32; 3], [u64; 2], [u32; 5])>().prop_map(|(counters, bytes, rates)| Stats {
        conns: counters[0],
        inpkts: counters[1],
        outpkts: counters[2],
        inbytes: bytes[0],
        outbytes: bytes[1],
        cps: rates[0],
        inpps: rates[1],
        outpps: rates[2],
        inbps: rates[3],
        outbps: rates[4],
    })
}

fn stats64() -> impl Strategy<Value = Stats64> {
    any::<[u64; 10]>().prop_map(|values| Stats64 {
        conns: values[0],
        inpkts: values[1],
        outpkts: values[2],
        inbytes: values[3],
        outbytes: values[4],
        cps: values[5],
        inpps: values[6],
        outpps: values[7],
        inbps: values[8],
        outbps: values[9],
    })
}

pub(crate) fn service() -> impl Strategy<Value = Service> {
    (
        any::<(Option<u16>, Option<u16>, Option<[u8; 16]>, Option<u16>, Option<u32>)>(),
        option::of(name(16)),
        option::of(name(16)),
        any::<(Option<(u32, u32)>, Option<u32>, Option<u32>)>(),
        option::of(stats()),
        option::of(stats64()),
    )
        .prop_map(|(key, scheduler, pe_name, options, stats, stats64)| {
            let (family, protocol, addr, port, fwmark) = key;
            let (flags, timeout, netmask) = options;
            let flags = flags
                .map(|(flags, mask)| Flags { flags: ServiceFlags::from_bits_retain(flags), mask });
            Service {
                family,
                protocol,
                addr,
                port,
                fwmark,
                scheduler,
                pe_name,
                flags,
                timeout,
                netmask,
                stats,
                stats64,
            }
        })
}

pub(crate) fn dest() -> impl Strategy<Value = Dest> {
    (
        any::<(Option<[u8; 16]>, Option<u16>, Option<u16>)>(),
        any::<[Option<u32>; 7]>(),
        any::<(Option<u8>, Option<u16>, Option<u16>)>(),
        option::of(stats()),
        option::of(stats64()),
    )
        .prop_map(|(key, numbers, tunnel, stats, stats64)| Dest {
            addr: key.0,
            port: key.1,
            addr_family: key.2,
            fwd_method: numbers[0].map(ForwardMethod),
            weight: numbers[1],
            u_thresh: numbers[2],
            l_thresh: numbers[3],
            active_conns: numbers[4],
            inact_conns: numbers[5],
            persist_conns: numbers[6],
            tun_type: tunnel.0.map(TunnelType),
            tun_port: tunnel.1,
            tun_flags: tunnel.2.map(TunnelFlags::from_bits_retain),
            stats,
            stats64,
        })
}

pub(crate) fn daemon() -> impl Strategy<Value = Daemon> {
    (
        any::<(Option<u32>, Option<u32>, Option<u16>, Option<u16>, Option<u8>)>(),
        option::of(name(16)),
        any::<(Option<[u8; 4]>, Option<[u8; 16]>)>(),
    )
        .prop_map(|(numbers, mcast_ifn, groups)| Daemon {
            state: numbers.0.map(DaemonState),
            mcast_ifn,
            sync_id: numbers.1,
            sync_maxlen: numbers.2,
            mcast_group: groups.0.map(Ipv4Addr::from),
            mcast_group6: groups.1.map(Ipv6Addr::from),
            mcast_port: numbers.3,
            mcast_ttl: numbers.4,
        })
}

/// Any message that the protocol can express: in `SetInfo`, everything without an attribute is
/// absent; in all other commands, `info` is.
pub(crate) fn message() -> impl Strategy<Value = Message> {
    (
        proptest::sample::select(Command::ALL),
        option::of(service()),
        option::of(dest()),
        option::of(daemon()),
        any::<[Option<u32>; 3]>(),
        any::<[Option<u32>; 2]>(),
    )
        .prop_map(|(command, service, dest, daemon, timeouts, info)| {
            if command == Command::SetInfo {
                let info = Info { version: info[0], conn_tab_size: info[1] };
                return Message { info, ..Message::new(command) };
            }
            let [tcp, tcp_fin, udp] = timeouts;
            let timeouts = Timeouts { tcp, tcp_fin, udp };
            Message { service, dest, daemon, timeouts, ..Message::new(command) }
        })
}

/// The header of a message with data: its type isn't one of netlink itself.
pub(crate) fn header() -> impl Strategy<Value = Header> {
    (0x10..=u16::MAX, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |(message_type, flags, seq, port_id)| Header { message_type, flags, seq, port_id },
    )
}

/// Possible contents of an extended acknowledgement, with the text and bytes it refers to.
#[derive(Clone, Debug)]
pub(crate) struct OwnedExtAck {
    message: Option<Vec<u8>>,
    blobs: [Option<Vec<u8>>; 2],
    numbers: [Option<u32>; 3],
}

impl OwnedExtAck {
    pub(crate) fn borrow(&self) -> ExtAck<'_> {
        ExtAck {
            message: self.message.as_deref(),
            offset: self.numbers[0],
            cookie: self.blobs[0].as_deref(),
            policy: self.blobs[1].as_deref(),
            missing_type: self.numbers[1],
            missing_nest: self.numbers[2],
        }
    }
}

pub(crate) fn ext_ack() -> impl Strategy<Value = OwnedExtAck> {
    (
        option::of(vec(1..=u8::MAX, 0..100)),
        [option::of(vec(any::<u8>(), 0..40)), option::of(vec(any::<u8>(), 0..40))],
        any::<[Option<u32>; 3]>(),
    )
        .prop_map(|(message, blobs, numbers)| OwnedExtAck { message, blobs, numbers })
}
