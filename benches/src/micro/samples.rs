//! Messages and lists as a kernel would see or send them.

use ipvs_sys::{Command, Dest, ErrorMessage, Header, Service, Stats, Stats64, Writer, nl};

use crate::table::Table;

/// Any id does that generic netlink could give.
pub const FAMILY: u16 = 0x20;

/// How many entries there are in each datagram of a list.
pub const PER_DATAGRAM: u32 = 40;

/// A service of that many real servers.
const TABLE: Table = Table::new(1, 10_000);

/// The header of a request.
pub fn header() -> Header {
    Header { message_type: FAMILY, flags: nl::NLM_F_REQUEST, seq: 1, port_id: 0 }
}

/// What names the service in a request about a real server.
pub fn service_key() -> Service {
    let Service { family, protocol, addr, port, .. } = TABLE.wire_service(0);
    Service { family, protocol, addr, port, ..Service::default() }
}

/// A service as it is added.
pub fn service(number: u32) -> Service {
    TABLE.wire_service(number)
}

/// A real server as it is added.
pub fn dest(number: u32) -> Dest {
    TABLE.wire_server(0, number)
}

/// A service as it is listed.
pub fn listed_service(number: u32) -> Service {
    Service { stats: Some(stats(number)), stats64: Some(stats64(number)), ..service(number) }
}

/// A real server as it is listed.
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
    Stats {
        conns: number,
        inpkts: 6 * number,
        inbytes: 400 * u64::from(number),
        ..Stats::default()
    }
}

fn stats64(number: u32) -> Stats64 {
    let number = u64::from(number);
    Stats64 { conns: number, inpkts: 6 * number, inbytes: 400 * number, ..Stats64::default() }
}

/// A list of that many real servers: the datagrams that a kernel sends, its end in the last.
pub fn list_of_dests(count: u32) -> Vec<Vec<u8>> {
    list(count, |datagram, header, number| {
        Writer::message(datagram, header, Command::NewDest).dest(&listed_dest(number)).finish();
    })
}

/// A list of that many services: the datagrams that a kernel sends, its end in the last.
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

/// What an acknowledgement says.
pub fn success() -> ErrorMessage<'static> {
    ErrorMessage::default()
}
