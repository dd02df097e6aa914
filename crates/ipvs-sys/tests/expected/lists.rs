//! The table shown by the list captures, and its messages.

use ipvs_sys::{
    AF_INET, AF_INET6, Command, Dest, ForwardMethod, IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP,
    Message, Service, ServiceFlags, Stats, Stats64, TunnelFlags, TunnelType,
};

use super::{
    ACK, ALL,
    Expected::{self, Dump, Errno, Reply, Request},
    entries::{HOST, asked, dest, flags, fwmark, made, name, persistent, service, tunnel},
};
use crate::common::golden::Capture;

/// The table after `add-traffic-dest`, in the order of ipvsadm's list.
fn table() -> Vec<(Service, Vec<Dest>)> {
    let masq = Dest {
        u_thresh: Some(1000),
        l_thresh: Some(800),
        ..dest("10.0.0.12:8443", ForwardMethod::MASQUERADE)
    };
    let web_dests = vec![
        Dest { weight: Some(0), ..dest("10.0.0.11:80", ForwardMethod::DIRECT_ROUTE) },
        dest("10.0.0.13:80", ForwardMethod::TUNNEL),
        tunnel("10.0.0.14:80", TunnelType::GUE, 6080, TunnelFlags::NOCSUM),
        tunnel("10.0.0.15:80", TunnelType::GUE, 6081, TunnelFlags::CSUM),
        tunnel("10.0.0.16:80", TunnelType::GUE, 6082, TunnelFlags::REMCSUM),
        tunnel("10.0.0.17:80", TunnelType::GRE, 0, TunnelFlags::CSUM),
        Dest { weight: Some(65535), ..dest("[2001:db8::18]:80", ForwardMethod::TUNNEL) },
    ];
    let hashing = flags(ServiceFlags::SCHED_1 | ServiceFlags::SCHED_2);
    let tcp = |text, scheduler| made(service(text, IPPROTO_TCP), scheduler);
    let udp = |text, scheduler| made(service(text, IPPROTO_UDP), scheduler);
    let mask = u32::from_ne_bytes([255, 255, 255, 0]);
    let sip = persistent(udp("10.0.0.1:5060", "rr"), 60, HOST);
    vec![
        (made(fwmark(AF_INET6, u32::MAX), "sed"), vec![]),
        (persistent(tcp("10.0.0.1:80", "wrr"), 120, HOST), web_dests),
        (Service { flags: hashing, ..tcp("10.0.0.1:81", "sh") }, vec![]),
        (Service { flags: hashing, ..tcp("10.0.0.1:82", "mh") }, vec![]),
        (Service { flags: flags(ServiceFlags::SCHED_3), ..tcp("10.0.0.1:83", "rr") }, vec![]),
        (persistent(tcp("10.0.0.1:443", "wrr"), 600, mask), vec![masq]),
        (Service { flags: flags(ServiceFlags::ONE_PACKET), ..udp("10.0.0.1:53", "wlc") }, vec![]),
        (Service { pe_name: Some(name("sip")), ..sip }, vec![]),
        (
            persistent(udp("10.0.0.1:5353", "rr"), 300, HOST),
            vec![dest("10.0.0.21:5353", ForwardMethod::DIRECT_ROUTE)],
        ),
        (made(service("10.0.0.1:9899", IPPROTO_SCTP), "lc"), vec![]),
        (
            persistent(tcp("[2001:db8::1]:80", "rr"), 300, 64),
            vec![dest("[2001:db8::19]:80", ForwardMethod::DIRECT_ROUTE)],
        ),
        (made(fwmark(AF_INET, 7), "rr"), vec![dest("10.0.0.20:0", ForwardMethod::DIRECT_ROUTE)]),
    ]
}

/// `-L` of one service: the service, then its destinations.
pub(super) fn list_one(key: Service, capture: &Capture) -> Vec<Expected> {
    let table = table();
    let is_it = |service: &Service| self::key(service) == key;
    let (service, dests) = table.iter().find(|(service, _)| is_it(service)).unwrap();
    vec![
        Request(ACK, Message { service: Some(asked(key)), ..Message::new(Command::GetService) }),
        Reply(reported_service(service, capture)),
        Errno(0),
        Request(ALL, Message { service: Some(key), ..Message::new(Command::GetDest) }),
        Dump(dests.iter().map(|dest| reported_dest(dest, capture)).collect()),
    ]
}

/// `-L` of everything: all services, then the destinations of each.
pub(super) fn list_all(capture: &Capture) -> Vec<Expected> {
    let table = table();
    let services = table.iter().map(|(service, _)| reported_service(service, capture)).collect();
    let mut expected = vec![Request(ALL, Message::new(Command::GetService)), Dump(services)];
    for (service, dests) in &table {
        let service = Some(key(service));
        let get = Message { service, ..Message::new(Command::GetDest) };
        let dests = dests.iter().map(|dest| reported_dest(dest, capture)).collect();
        expected.extend([Request(ALL, get), Dump(dests)]);
    }
    expected
}

fn key(service: &Service) -> Service {
    let Service { family, protocol, addr, port, fwmark, .. } = *service;
    Service { family, protocol, addr, port, fwmark, ..Service::default() }
}

/// A service as the kernel reports it, with its counters.
fn reported_service(service: &Service, capture: &Capture) -> Message {
    let mut flags = service.flags.unwrap();
    flags.flags |= ServiceFlags::HASHED;
    let is_traffics = service.port == Some(5353);
    let (stats, stats64) = counted(is_traffics.then_some("UDP  10.0.0.1:5353 "), capture);
    let service = Service { flags: Some(flags), stats, stats64, ..*service };
    Message { service: Some(service), ..Message::new(Command::NewService) }
}

fn reported_dest(dest: &Dest, capture: &Capture) -> Message {
    let is_traffics = dest.port == Some(5353);
    let (stats, stats64) = counted(is_traffics.then_some("  -> 10.0.0.21:5353 "), capture);
    let dest = Dest {
        // Nobody replies: for UDP such a connection is inactive. The template is for one client.
        active_conns: Some(0),
        inact_conns: Some(if is_traffics { CONNECTIONS as u32 } else { 0 }),
        persist_conns: Some(u32::from(is_traffics)),
        stats,
        stats64,
        ..*dest
    };
    Message { dest: Some(dest), ..Message::new(Command::NewDest) }
}

/// The client's ports.
const CONNECTIONS: u64 = 40;
/// Ten packets from each.
const PACKETS: u64 = CONNECTIONS * 10;
/// Each has 100 bytes after the headers of IPv4 and UDP.
const BYTES: u64 = PACKETS * (20 + 8 + 100);

/// Statistics of the traffic sent, or of none; `row` is the beginning of the line in ipvsadm's list
/// that has the rates.
fn counted(row: Option<&str>, capture: &Capture) -> (Option<Stats>, Option<Stats64>) {
    let Some(row) = row else { return (Some(Stats::default()), Some(Stats64::default())) };
    let [cps, inpps, outpps, inbps, outbps] =
        if capture.step() == "list-rate" { rates(row, capture) } else { [0; 5] };
    let stats64 = Stats64 {
        conns: CONNECTIONS,
        inpkts: PACKETS,
        outpkts: 0,
        inbytes: BYTES,
        outbytes: 0,
        cps,
        inpps,
        outpps,
        inbps,
        outbps,
    };
    let stats = Stats {
        conns: CONNECTIONS as u32,
        inpkts: PACKETS as u32,
        outpkts: 0,
        inbytes: BYTES,
        outbytes: 0,
        cps: cps as u32,
        inpps: inpps as u32,
        outpps: outpps as u32,
        inbps: inbps as u32,
        outbps: outbps as u32,
    };
    (Some(stats), Some(stats64))
}

/// The rates that ipvsadm printed. Some must be non-zero, or the test would prove nothing.
fn rates(row: &str, capture: &Capture) -> [u64; 5] {
    let line = capture.comments("stdout").find(|line| line.starts_with(row)).unwrap();
    let numbers = line[row.len()..].split_whitespace().map(|number| number.parse().unwrap());
    let rates: [u64; 5] = numbers.collect::<Vec<_>>().try_into().unwrap();
    assert!(rates[0] > 0 && rates[1] > 0 && rates[3] > 0, "{line}");
    rates
}

/// A message of a list without the rates, except in the list that shows them, because they change
/// from one moment to the next.
pub(crate) fn comparable(capture: &Capture, mut message: Message) -> Message {
    if capture.step() == "list-rate" {
        return message;
    }
    let of_service = message.service.as_mut().map(|it| (&mut it.stats, &mut it.stats64));
    let of_dest = message.dest.as_mut().map(|it| (&mut it.stats, &mut it.stats64));
    for (stats, stats64) in of_service.into_iter().chain(of_dest) {
        if let Some(stats) = stats {
            *stats = Stats { cps: 0, inpps: 0, outpps: 0, inbps: 0, outbps: 0, ..*stats };
        }
        if let Some(stats) = stats64 {
            *stats = Stats64 { cps: 0, inpps: 0, outpps: 0, inbps: 0, outbps: 0, ..*stats };
        }
    }
    message
}
