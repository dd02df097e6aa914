//! Messages and lists as a kernel would see or send them.

use std::fmt::Write as _;

use ipvs_sys::{Command, Dest, ErrorMessage, Header, Service, Stats, Stats64, Writer, nl};

use crate::table::Table;

/// Any ID that generic netlink could assign.
pub const FAMILY: u16 = 0x20;

/// How many entries there are in each datagram of a list.
pub const PER_DATAGRAM: u32 = 40;

/// A service with that many real servers.
pub const TABLE: Table = Table::new(1, 10_000);

/// The header of a request.
pub fn header() -> Header {
    Header { message_type: FAMILY, flags: nl::NLM_F_REQUEST, seq: 1, port_id: 0 }
}

/// The attributes that identify the service in a request about a real server.
pub fn service_key() -> Service {
    let Service { family, protocol, addr, port, .. } = TABLE.wire_service(0);
    Service { family, protocol, addr, port, ..Service::default() }
}

/// A service as in a request that adds it.
pub fn service(number: u32) -> Service {
    TABLE.wire_service(number)
}

/// A real server as in a request that adds it.
pub fn dest(number: u32) -> Dest {
    TABLE.wire_server(0, number)
}

/// A service as in a list.
pub fn listed_service(number: u32) -> Service {
    Service { stats: Some(stats(number)), stats64: Some(stats64(number)), ..service(number) }
}

/// A real server as in a list.
pub fn listed_dest(number: u32) -> Dest {
    Dest {
        active_conns: Some(number % 7),
        inact_conns: Some(number % 11),
        persist_conns: Some(number % 3),
        stats: Some(stats(number)),
        stats64: Some(stats64(number)),
        ..dest(number)
    }
}

fn stats(number: u32) -> Stats {
    let wide = stats64(number);
    // The values are small enough.
    let narrow = |value: u64| value as u32;
    Stats {
        conns: narrow(wide.conns),
        inpkts: narrow(wide.inpkts),
        outpkts: narrow(wide.outpkts),
        inbytes: wide.inbytes,
        outbytes: wide.outbytes,
        cps: narrow(wide.cps),
        inpps: narrow(wide.inpps),
        outpps: narrow(wide.outpps),
        inbps: narrow(wide.inbps),
        outbps: narrow(wide.outbps),
    }
}

fn stats64(number: u32) -> Stats64 {
    let conns = u64::from(number);
    Stats64 {
        conns,
        inpkts: 6 * conns,
        outpkts: 5 * conns,
        inbytes: 400 * conns,
        outbytes: 4000 * conns,
        cps: conns % 100,
        inpps: conns % 101,
        outpps: conns % 102,
        inbps: conns % 103,
        outbps: conns % 104,
    }
}

/// A list of that many real servers: the datagrams that a kernel sends, with the end of the list in
/// the last one.
pub fn list_of_dests(count: u32) -> Vec<Vec<u8>> {
    list(count, |datagram, header, number| {
        Writer::message(datagram, header, Command::NewDest).dest(&listed_dest(number)).finish();
    })
}

/// A list of that many services: the datagrams that a kernel sends, with the end of the list in the
/// last one.
pub fn list_of_services(count: u32) -> Vec<Vec<u8>> {
    list(count, |datagram, header, number| {
        let service = listed_service(number);
        Writer::message(datagram, header, Command::NewService).service(&service).finish();
    })
}

fn list(count: u32, entry: impl Fn(&mut Vec<u8>, &Header, u32)) -> Vec<Vec<u8>> {
    let header = Header { flags: nl::NLM_F_MULTI, ..header() };
    let mut datagrams = Vec::new();
    for first in (0..count).step_by(PER_DATAGRAM as usize) {
        let mut datagram = Vec::new();
        for number in first..count.min(first + PER_DATAGRAM) {
            entry(&mut datagram, &header, number);
        }
        datagrams.push(datagram);
    }
    let mut end = Vec::new();
    Writer::done(&mut end, header.seq, 0, &success());
    datagrams.push(end);
    datagrams
}

/// The contents of an acknowledgement.
pub fn success() -> ErrorMessage<'static> {
    ErrorMessage::default()
}

/// The kinds of lines in `/proc/net/ip_vs_conn` that differ in the cost of reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// TCP over IPv4.
    V4,
    /// TCP over IPv6.
    V6,
    /// SCTP over IPv4, with a persistence engine and its data.
    Engine,
}

/// This many lines as the kernel writes them (`ip_vs_conn_seq_show` in `ip_vs_conn.c`), after their
/// title.
pub fn connections(count: u16, kind: Lines) -> String {
    let mut text = String::from(
        "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n",
    );
    for n in 0..count {
        let client = 0x0a02_0000 + u32::from(n);
        let server = 0x0a03_0001 + u32::from(n % 7);
        let (port, time) = (10_000 + n, n % 900);
        // Writing to a String can't fail.
        let _ = match kind {
            Lines::V4 => writeln!(
                text,
                "TCP {client:08X} {port:04X} 0A010001 0050 {server:08X} 0050 {:<11} {time:7}",
                "ESTABLISHED"
            ),
            Lines::V6 => writeln!(
                text,
                "TCP 2001:0db8:0000:0000:0000:0000:0000:{n:04x} {port:04X} \
                 2001:0db8:ffff:0000:0000:0000:0000:0001 0050 \
                 2001:0db8:ffff:0000:0000:0000:0001:{:04x} 0050 {:<11} {time:7}",
                n % 7,
                "ESTABLISHED"
            ),
            Lines::Engine => writeln!(
                text,
                "SCTP {client:08X} {port:04X} 0A010001 0050 {server:08X} 0050 {:<11} {time:7} sip \
                 {n}@client.example",
                "ESTABLISHED"
            ),
        };
    }
    text
}
