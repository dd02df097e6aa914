//! One `NEW_DEST` request encoded, and a datagram of 40 real servers decoded: by `ipvs-sys`, and
//! by neli, an independent implementation of generic netlink.
//!
//! What is timed is checked first: both write the same bytes, and both read the same values.

use std::hint::black_box;
use std::io::Cursor;

use divan::Bencher;
use ipvs_sys::{
    AF_INET, Body, Command, Dest, ForwardMethod, Header, IPPROTO_TCP, Message, Messages, Service,
    Stats, Stats64, TunnelFlags, TunnelType, Writer, addr_bytes, attr,
};
use neli::consts::nl::NlmF;
use neli::genl::{AttrTypeBuilder, Genlmsghdr, GenlmsghdrBuilder, Nlattr, NlattrBuilder};
use neli::nl::{NlPayload, Nlmsghdr, NlmsghdrBuilder};
use neli::types::{Buffer, GenlBuffer};
use neli::{FromBytes, Size, ToBytes};

const FAMILY: u16 = 0x20;
const SERVERS: u32 = 40;

fn main() {
    assert_eq!(encode_neli(&service(), &dest(7)), encode_ours(&service(), &dest(7)));
    let reply = reply();
    let weights = u64::from((0..SERVERS).sum::<u32>());
    assert_eq!(decode_ours(&reply), weights);
    assert_eq!(decode_neli(&reply), weights);
    divan::main();
}

fn service() -> Service {
    Service {
        family: Some(AF_INET),
        protocol: Some(IPPROTO_TCP),
        addr: Some(addr_bytes([10, 10, 10, 53].into())),
        port: Some(80),
        ..Service::default()
    }
}

fn dest(weight: u32) -> Dest {
    Dest {
        addr: Some(addr_bytes([10, 10, 10, 102].into())),
        port: Some(80),
        fwd_method: Some(ForwardMethod::DIRECT_ROUTE),
        weight: Some(weight),
        tun_type: Some(TunnelType::IPIP),
        tun_port: Some(0),
        tun_flags: Some(TunnelFlags::empty()),
        u_thresh: Some(0),
        l_thresh: Some(0),
        addr_family: Some(AF_INET),
        ..Dest::default()
    }
}

/// What a kernel sends for a service with 40 real servers.
fn reply() -> Vec<u8> {
    let mut datagram = Vec::new();
    for weight in 0..SERVERS {
        let dest = Dest {
            active_conns: Some(1),
            inact_conns: Some(2),
            persist_conns: Some(3),
            stats: Some(Stats::default()),
            stats64: Some(Stats64::default()),
            ..dest(weight)
        };
        Writer::message(&mut datagram, &header(), Command::NewDest).dest(&dest).finish();
    }
    datagram
}

fn header() -> Header {
    Header { message_type: FAMILY, flags: 0x1, seq: 1, port_id: 0 }
}

fn encode_ours(service: &Service, dest: &Dest) -> Vec<u8> {
    let mut buffer = Vec::new();
    encode_into(&mut buffer, service, dest);
    buffer
}

fn encode_into(buffer: &mut Vec<u8>, service: &Service, dest: &Dest) {
    Writer::message(buffer, &header(), Command::NewDest).service(service).dest(dest).finish();
}

fn decode_ours(datagram: &[u8]) -> u64 {
    Messages::new(datagram)
        .filter_map(|frame| match frame.expect("well formed").body {
            Body::Data(payload) => Message::decode(payload).expect("well formed").dest?.weight,
            _ => None,
        })
        .map(u64::from)
        .sum()
}

fn node(kind: u16, value: impl Size + ToBytes) -> Nlattr<u16, Buffer> {
    NlattrBuilder::default()
        .nla_type(AttrTypeBuilder::default().nla_type(kind).build().expect("complete"))
        .nla_payload(value)
        .build()
        .expect("complete")
}

fn encode_neli(service: &Service, dest: &Dest) -> Vec<u8> {
    let service: GenlBuffer<u16, Buffer> = [
        service.family.map(|v| node(attr::service::AF, v)),
        service.protocol.map(|v| node(attr::service::PROTOCOL, v)),
        service.addr.map(|v| node(attr::service::ADDR, v.to_vec())),
        service.port.map(|v| node(attr::service::PORT, v.to_be())),
    ]
    .into_iter()
    .flatten()
    .collect();
    let dest: GenlBuffer<u16, Buffer> = [
        dest.addr.map(|v| node(attr::dest::ADDR, v.to_vec())),
        dest.port.map(|v| node(attr::dest::PORT, v.to_be())),
        dest.fwd_method.map(|v| node(attr::dest::FWD_METHOD, v.0)),
        dest.weight.map(|v| node(attr::dest::WEIGHT, v)),
        dest.tun_type.map(|v| node(attr::dest::TUN_TYPE, v.0)),
        dest.tun_port.map(|v| node(attr::dest::TUN_PORT, v.to_be())),
        dest.tun_flags.map(|v| node(attr::dest::TUN_FLAGS, v.bits())),
        dest.u_thresh.map(|v| node(attr::dest::U_THRESH, v)),
        dest.l_thresh.map(|v| node(attr::dest::L_THRESH, v)),
        dest.addr_family.map(|v| node(attr::dest::ADDR_FAMILY, v)),
    ]
    .into_iter()
    .flatten()
    .collect();
    let attrs: GenlBuffer<u16, Buffer> =
        [node(attr::cmd::SERVICE, service), node(attr::cmd::DEST, dest)].into_iter().collect();
    let payload: Genlmsghdr<u8, u16> = GenlmsghdrBuilder::default()
        .cmd(Command::NewDest as u8)
        .version(1)
        .attrs(attrs)
        .build()
        .expect("complete");
    let message: Nlmsghdr<u16, _> = NlmsghdrBuilder::default()
        .nl_type(FAMILY)
        .nl_flags(NlmF::REQUEST)
        .nl_seq(1)
        .nl_payload(NlPayload::Payload(payload))
        .build()
        .expect("complete");
    let mut buffer = Cursor::new(Vec::new());
    message.to_bytes(&mut buffer).expect("a buffer takes everything");
    buffer.into_inner()
}

fn decode_neli(datagram: &[u8]) -> u64 {
    let mut cursor = Cursor::new(datagram);
    let mut weights = 0;
    while (cursor.position() as usize) < datagram.len() {
        let message =
            Nlmsghdr::<u16, Genlmsghdr<u8, u16>>::from_bytes(&mut cursor).expect("well formed");
        let payload = message.get_payload().expect("a generic-netlink message");
        let attrs = payload.attrs().get_attr_handle();
        let dest = attrs.get_nested_attributes::<u16>(attr::cmd::DEST).expect("a destination");
        weights +=
            u64::from(dest.get_attr_payload_as::<u32>(attr::dest::WEIGHT).expect("a weight"));
    }
    weights
}

#[divan::bench]
fn encode_one_new_dest_ipvs_sys(bencher: Bencher<'_, '_>) {
    let (service, dest) = (service(), dest(7));
    let mut buffer = Vec::with_capacity(256);
    bencher.bench_local(|| {
        buffer.clear();
        encode_into(&mut buffer, black_box(&service), black_box(&dest));
    });
}

#[divan::bench]
fn encode_one_new_dest_neli(bencher: Bencher<'_, '_>) {
    let (service, dest) = (service(), dest(7));
    bencher.bench_local(|| encode_neli(black_box(&service), black_box(&dest)));
}

#[divan::bench]
fn decode_40_destinations_ipvs_sys(bencher: Bencher<'_, '_>) {
    let reply = reply();
    bencher.bench_local(|| decode_ours(black_box(&reply)));
}

#[divan::bench]
fn decode_40_destinations_neli(bencher: Bencher<'_, '_>) {
    let reply = reply();
    bencher.bench_local(|| decode_neli(black_box(&reply)));
}
