//! A second opinion: neli, an independent netlink library, writes the same bytes and reads the same
//! values. The attributes' numbers, types and order are repeated here, from `linux/ip_vs.h` and the
//! fill functions of the kernel's `ip_vs_ctl.c`.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod common;

use std::io::Cursor;

use common::{config, message, name};
use ipvs_sys::{
    Body, Command, Daemon, Dest, Header, Message, Messages, Name, Service, Stats, Stats64, ctrl,
};
use neli::{
    FromBytes, Size, ToBytes,
    attr::Attribute,
    consts::nl::NlmF,
    genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder},
    nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder},
    types::{Buffer, GenlBuffer},
};
use proptest::prelude::*;

type NeliMessage = Nlmsghdr<u16, Genlmsghdr<u8, u16>>;
type NeliAttrs = GenlBuffer<u16, Buffer>;

/// Netlink header, generic-netlink header.
const HEADERS: usize = 16 + 4;

/// `IPVS_STATS_ATTR_PAD`
const PAD: u16 = 11;

/// An attribute as the protocol defines it.
#[derive(Clone, Debug)]
struct Node {
    kind: u16,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    U8(u8),
    U16(u16),
    /// In network byte order.
    Be16(u16),
    U32(u32),
    /// Aligned by an empty attribute if necessary.
    U64(u64),
    Bytes(Vec<u8>),
    Nest(Vec<Node>),
    /// A nest in which PAD may precede a 64-bit value.
    Stats(Vec<Node>),
}

/// A name and its NUL.
fn string(name: Name) -> Value {
    Value::Bytes([name.as_bytes(), &[0]].concat())
}

fn nodes(attrs: impl IntoIterator<Item = (u16, Option<Value>)>) -> Vec<Node> {
    attrs.into_iter().filter_map(|(kind, value)| Some(Node { kind, value: value? })).collect()
}

fn stats_nodes(stats: Stats) -> Value {
    Value::Stats(nodes([
        (1, Some(Value::U32(stats.conns))),
        (2, Some(Value::U32(stats.inpkts))),
        (3, Some(Value::U32(stats.outpkts))),
        (4, Some(Value::U64(stats.inbytes))),
        (5, Some(Value::U64(stats.outbytes))),
        (6, Some(Value::U32(stats.cps))),
        (7, Some(Value::U32(stats.inpps))),
        (8, Some(Value::U32(stats.outpps))),
        (9, Some(Value::U32(stats.inbps))),
        (10, Some(Value::U32(stats.outbps))),
    ]))
}

fn stats64_nodes(stats: Stats64) -> Value {
    Value::Stats(nodes([
        (1, Some(Value::U64(stats.conns))),
        (2, Some(Value::U64(stats.inpkts))),
        (3, Some(Value::U64(stats.outpkts))),
        (4, Some(Value::U64(stats.inbytes))),
        (5, Some(Value::U64(stats.outbytes))),
        (6, Some(Value::U64(stats.cps))),
        (7, Some(Value::U64(stats.inpps))),
        (8, Some(Value::U64(stats.outpps))),
        (9, Some(Value::U64(stats.inbps))),
        (10, Some(Value::U64(stats.outbps))),
    ]))
}

fn service_nodes(service: Service) -> Value {
    let flags = service
        .flags
        .map(|flags| [flags.flags.bits().to_ne_bytes(), flags.mask.to_ne_bytes()].concat());
    Value::Nest(nodes([
        (1, service.family.map(Value::U16)),
        (5, service.fwmark.map(Value::U32)),
        (2, service.protocol.map(Value::U16)),
        (3, service.addr.map(|addr| Value::Bytes(addr.to_vec()))),
        (4, service.port.map(Value::Be16)),
        (6, service.scheduler.map(string)),
        (11, service.pe_name.map(string)),
        (7, flags.map(Value::Bytes)),
        (8, service.timeout.map(Value::U32)),
        (9, service.netmask.map(Value::U32)),
        (10, service.stats.map(stats_nodes)),
        (12, service.stats64.map(stats64_nodes)),
    ]))
}

fn dest_nodes(dest: Dest) -> Value {
    Value::Nest(nodes([
        (1, dest.addr.map(|addr| Value::Bytes(addr.to_vec()))),
        (2, dest.port.map(Value::Be16)),
        (3, dest.fwd_method.map(|method| Value::U32(method.0))),
        (4, dest.weight.map(Value::U32)),
        (13, dest.tun_type.map(|tun_type| Value::U8(tun_type.0))),
        (14, dest.tun_port.map(Value::Be16)),
        (15, dest.tun_flags.map(|flags| Value::U16(flags.bits()))),
        (5, dest.u_thresh.map(Value::U32)),
        (6, dest.l_thresh.map(Value::U32)),
        (7, dest.active_conns.map(Value::U32)),
        (8, dest.inact_conns.map(Value::U32)),
        (9, dest.persist_conns.map(Value::U32)),
        (11, dest.addr_family.map(Value::U16)),
        (10, dest.stats.map(stats_nodes)),
        (12, dest.stats64.map(stats64_nodes)),
    ]))
}

fn daemon_nodes(daemon: Daemon) -> Value {
    Value::Nest(nodes([
        (1, daemon.state.map(|state| Value::U32(state.0))),
        (2, daemon.mcast_ifn.map(string)),
        (3, daemon.sync_id.map(Value::U32)),
        (4, daemon.sync_maxlen.map(Value::U16)),
        (7, daemon.mcast_port.map(Value::U16)),
        (8, daemon.mcast_ttl.map(Value::U8)),
        (6, daemon.mcast_group6.map(|group| Value::Bytes(group.octets().to_vec()))),
        (5, daemon.mcast_group.map(|group| Value::Bytes(group.octets().to_vec()))),
    ]))
}

fn message_nodes(message: &Message) -> Vec<Node> {
    if message.command == Command::SetInfo {
        return nodes([
            (1, message.info.version.map(Value::U32)),
            (2, message.info.conn_tab_size.map(Value::U32)),
        ]);
    }
    nodes([
        (1, message.service.map(service_nodes)),
        (2, message.dest.map(dest_nodes)),
        (3, message.daemon.map(daemon_nodes)),
        (4, message.timeouts.tcp.map(Value::U32)),
        (5, message.timeouts.tcp_fin.map(Value::U32)),
        (6, message.timeouts.udp.map(Value::U32)),
    ])
}

fn attr(kind: u16, value: impl Size + ToBytes) -> Nlattr<u16, Buffer> {
    NlattrBuilder::default()
        .nla_type(AttrTypeBuilder::default().nla_type(kind).build().unwrap())
        .nla_payload(value)
        .build()
        .unwrap()
}

/// The attributes in the kernel's layout, starting at `offset` of the datagram.
fn as_the_kernel(nodes: &[Node], mut offset: usize) -> NeliAttrs {
    let mut attrs = NeliAttrs::new();
    for Node { kind, value } in nodes {
        if matches!(value, Value::U64(_)) && offset % 8 == 0 {
            attrs.push(attr(PAD, Vec::<u8>::new()));
            offset += 4;
        }
        let attr = match value {
            Value::U8(value) => attr(*kind, *value),
            Value::U16(value) => attr(*kind, *value),
            Value::Be16(value) => attr(*kind, value.to_be()),
            Value::U32(value) => attr(*kind, *value),
            Value::U64(value) => attr(*kind, *value),
            Value::Bytes(value) => attr(*kind, value.clone()),
            Value::Nest(nodes) | Value::Stats(nodes) => {
                attr(*kind, as_the_kernel(nodes, offset + 4))
            }
        };
        offset += attr.padded_size();
        attrs.push(attr);
    }
    attrs
}

/// The attributes in a valid layout that nobody uses: in another order on each level, nests with
/// their flag, 64-bit values unaligned.
fn as_a_stranger(nodes: &[Node], turn: usize) -> NeliAttrs {
    let mut nodes = nodes.to_vec();
    if !nodes.is_empty() {
        let middle = turn % nodes.len();
        nodes.rotate_left(middle);
    }
    if turn % 2 == 1 {
        nodes.reverse();
    }
    nodes
        .iter()
        .map(|Node { kind, value }| match value {
            Value::Nest(nodes) | Value::Stats(nodes) => as_a_stranger(nodes, turn)
                .iter()
                .fold(attr(*kind, Vec::<u8>::new()), |nest, attr| nest.nest(attr).unwrap()),
            _ => as_the_kernel(&[Node { kind: *kind, value: value.clone() }], 4)
                .into_iter()
                .next()
                .unwrap(),
        })
        .collect()
}

fn neli_bytes(header: &Header, command: u8, version: u8, attrs: NeliAttrs) -> Vec<u8> {
    let genl =
        GenlmsghdrBuilder::default().cmd(command).version(version).attrs(attrs).build().unwrap();
    let message: NeliMessage = NlmsghdrBuilder::default()
        .nl_type(header.message_type)
        .nl_flags(NlmF::from(header.flags))
        .nl_seq(header.seq)
        .nl_pid(header.port_id)
        .nl_payload(NlPayload::Payload(genl))
        .build()
        .unwrap();
    let mut bytes = Cursor::new(Vec::new());
    message.to_bytes(&mut bytes).unwrap();
    bytes.into_inner()
}

/// Fails unless neli sees exactly these attributes, in this order, with these values.
fn assert_neli_reads(attrs: &mut dyn Iterator<Item = &Nlattr<u16, Buffer>>, nodes: &[Node]) {
    for Node { kind, value } in nodes {
        let attr = attrs.next().unwrap_or_else(|| panic!("attribute {kind} is missing"));
        assert_eq!(attr.nla_type().nla_type(), kind);
        match value {
            Value::U8(value) => assert_eq!(attr.get_payload_as::<u8>().unwrap(), *value),
            Value::U16(value) => assert_eq!(attr.get_payload_as::<u16>().unwrap(), *value),
            Value::Be16(value) => {
                assert_eq!(u16::from_be(attr.get_payload_as::<u16>().unwrap()), *value);
            }
            Value::U32(value) => assert_eq!(attr.get_payload_as::<u32>().unwrap(), *value),
            Value::U64(value) => assert_eq!(attr.get_payload_as::<u64>().unwrap(), *value),
            Value::Bytes(value) => assert_eq!(attr.nla_payload().as_ref(), value),
            Value::Nest(nodes) => {
                assert_neli_reads(&mut attr.get_attr_handle::<u16>().unwrap().iter(), nodes);
            }
            Value::Stats(nodes) => {
                let inner = attr.get_attr_handle::<u16>().unwrap();
                let mut values = inner.iter().filter(|attr| *attr.nla_type().nla_type() != PAD);
                assert_neli_reads(&mut values, nodes);
            }
        }
    }
    assert!(attrs.next().is_none(), "more attributes than expected");
}

/// A header that neli can express: it drops unknown flags.
fn header() -> impl Strategy<Value = Header> {
    common::header().prop_map(|header| Header { flags: header.flags & 0x0f3f, ..header })
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn neli_writes_the_same_bytes(header in header(), message in message(), behind: bool) {
        // After another message of 20 bytes, everything is aligned differently.
        let mut ours = Vec::new();
        if behind {
            Message::new(Command::Flush).encode(&mut ours, &Header::default());
        }
        let range = message.encode(&mut ours, &header);

        let attrs = as_the_kernel(&message_nodes(&message), range.start + HEADERS);
        prop_assert_eq!(&ours[range], neli_bytes(&header, message.command as u8, 1, attrs));
    }

    #[test]
    fn neli_reads_the_same_values(header in header(), message in message()) {
        let mut ours = Vec::new();
        message.encode(&mut ours, &header);
        let read = NeliMessage::from_bytes(&mut Cursor::new(&ours)).unwrap();
        prop_assert_eq!(*read.nl_len() as usize, ours.len());
        prop_assert_eq!(*read.nl_type(), header.message_type);
        prop_assert_eq!(*read.nl_flags(), NlmF::from(header.flags));
        prop_assert_eq!(*read.nl_seq(), header.seq);
        prop_assert_eq!(*read.nl_pid(), header.port_id);
        let genl = read.get_payload().unwrap();
        prop_assert_eq!(*genl.cmd(), message.command as u8);
        prop_assert_eq!(*genl.version(), 1);
        assert_neli_reads(&mut genl.attrs().iter(), &message_nodes(&message));
    }

    #[test]
    fn what_neli_writes_in_its_own_way_is_read(
        header in header(),
        message in message(),
        turn in 0_usize..100,
    ) {
        let attrs = as_a_stranger(&message_nodes(&message), turn);
        let bytes = neli_bytes(&header, message.command as u8, 1, attrs);
        let mut messages = Messages::new(&bytes);
        let frame = messages.next().unwrap().unwrap();
        prop_assert_eq!(frame.header, header);
        let Body::Data(payload) = frame.body else { panic!("no data: {frame:?}") };
        prop_assert_eq!(Message::decode(payload), Ok(message));
        prop_assert!(messages.next().is_none());
    }

    #[test]
    fn neli_asks_for_a_family_in_the_same_way(name in name(15), seq: u32, port_id: u32) {
        let header = Header { message_type: 0x10, flags: 0x01, seq, port_id };
        let mut attrs = NeliAttrs::new();
        attrs.push(attr(2, [name.as_bytes(), &[0]].concat()));
        let mut ours = Vec::new();
        ctrl::get_family(&mut ours, header.flags, seq, port_id, &name);
        prop_assert_eq!(&ours, &neli_bytes(&header, 3, 2, attrs));
    }
}
