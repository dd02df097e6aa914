//! Lists as JSON. JSON.md describes the schema, which only grows within a version.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipvs::{
    Connection, Destination, Family, Forward, GueChecksum, PersistenceEngine, PersistenceMask,
    Protocol, Service, ServiceKey, Stats, StatsWidth, SyncDaemon, Tunnel, Version,
};
use ipvs_os::InetNtop;
use serde::{Serialize, Serializer};

use crate::text::list::Counts;
use crate::text::scheduler_flags;

const SCHEMA_VERSION: u32 = 1;

/// A document with a list, whose elements are written one at a time.
pub(crate) struct Document<W> {
    out: W,
    empty: bool,
}

impl<W: Write> Document<W> {
    pub(crate) fn services(mut out: W, version: Version, size: u32) -> io::Result<Self> {
        write!(out, r#"{{"schema_version":{SCHEMA_VERSION},"ipvs_version":"{version}","#)?;
        write!(out, r#""connection_table_size":{size},"services":["#)?;
        Ok(Self { out, empty: true })
    }

    pub(crate) fn connections(mut out: W) -> io::Result<Self> {
        write!(out, r#"{{"schema_version":{SCHEMA_VERSION},"connections":["#)?;
        Ok(Self { out, empty: true })
    }

    pub(crate) fn daemons(mut out: W) -> io::Result<Self> {
        write!(out, r#"{{"schema_version":{SCHEMA_VERSION},"daemons":["#)?;
        Ok(Self { out, empty: true })
    }

    pub(crate) fn service<'a>(
        &mut self,
        service: &Service,
        stats: &Stats,
        servers: impl IntoIterator<Item = (&'a Destination, Counts, &'a Stats)>,
    ) -> io::Result<()> {
        let servers = servers.into_iter();
        let destinations = servers
            .map(|(server, counts, stats)| JsonDestination::new(server, counts, stats))
            .collect();
        self.element(&JsonService::new(service, stats, destinations))
    }

    pub(crate) fn connection(&mut self, connection: &Connection) -> io::Result<()> {
        self.element(&JsonConnection::from(connection))
    }

    pub(crate) fn daemon(&mut self, daemon: &SyncDaemon) -> io::Result<()> {
        self.element(&JsonDaemon::from(daemon))
    }

    fn element(&mut self, element: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if self.empty { b"\n" } else { b",\n" })?;
        self.empty = false;
        Ok(serde_json::to_writer(&mut self.out, element)?)
    }

    /// Ends the document, which is invalid JSON until then.
    pub(crate) fn end(mut self) -> io::Result<()> {
        self.out.write_all(if self.empty { b"]}\n" } else { b"\n]}\n" })
    }
}

pub(crate) fn write_timeouts(mut out: impl Write, tcp_fin_udp: [Duration; 3]) -> io::Result<()> {
    let [tcp, fin, udp] = tcp_fin_udp.map(|timeout| timeout.as_secs());
    write!(out, r#"{{"schema_version":{SCHEMA_VERSION},"timeouts":"#)?;
    writeln!(out, r#"{{"tcp":{tcp},"tcp_fin":{fin},"udp":{udp}}}}}"#)
}

/// A name from the kernel, which need not be UTF-8.
#[derive(Serialize)]
#[serde(untagged)]
enum Name<'a> {
    Text(&'a str),
    Bytes { hex: String },
}

impl<'a> From<&'a [u8]> for Name<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(_) => Self::Bytes { hex: bytes.iter().map(|b| format!("{b:02x}")).collect() },
        }
    }
}

/// An address, written as in the lists.
#[derive(Clone, Copy, Debug)]
struct Address(IpAddr);

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&InetNtop(self.0))
    }
}

#[derive(Serialize)]
struct JsonService<'a> {
    family: &'static str,
    protocol: Option<String>,
    address: Option<Address>,
    port: Option<u16>,
    fwmark: Option<u32>,
    scheduler: Option<Name<'a>>,
    scheduler_flags: Vec<String>,
    one_packet: bool,
    persistence: Option<JsonPersistence>,
    persistence_engine: Option<Name<'a>>,
    stats: JsonStats,
    destinations: Vec<JsonDestination>,
}

#[derive(Serialize)]
struct JsonPersistence {
    timeout: u64,
    mask: String,
}

impl<'a> JsonService<'a> {
    fn new(service: &'a Service, stats: &Stats, destinations: Vec<JsonDestination>) -> Self {
        let family = service.key.family();
        let (protocol, address, port, fwmark) = match service.key {
            ServiceKey::Addr { protocol, addr, port } => {
                (Some(protocol_text(protocol)), Some(Address(addr)), Some(port), None)
            }
            ServiceKey::Fwmark { mark, .. } => (None, None, None, Some(mark.get())),
        };
        let mask = |mask: PersistenceMask| match family {
            Family::V4 => mask.as_v4().map(|mask| mask.to_string()),
            Family::V6 => mask.as_v6().map(|prefix| prefix.to_string()),
        };
        Self {
            family: family_text(family),
            protocol,
            address,
            port,
            fwmark,
            scheduler: service.scheduler.as_ref().map(|name| name.as_bytes().into()),
            scheduler_flags: scheduler_flags(service),
            one_packet: service.one_packet,
            persistence: service.persistence.as_ref().map(|persistence| JsonPersistence {
                timeout: persistence.timeout.as_secs(),
                mask: mask(persistence.mask).unwrap_or_default(),
            }),
            persistence_engine: service
                .persistence_engine
                .as_ref()
                .map(|name| name.as_bytes().into()),
            stats: JsonStats::from(stats),
            destinations,
        }
    }
}

#[derive(Serialize)]
struct JsonDestination {
    family: &'static str,
    address: Address,
    port: u16,
    forward: String,
    tunnel: Option<JsonTunnel>,
    weight: u32,
    upper_threshold: u32,
    lower_threshold: u32,
    active_connections: u32,
    inactive_connections: u32,
    persistent_connections: u32,
    stats: JsonStats,
}

impl JsonDestination {
    fn new(server: &Destination, counts: Counts, stats: &Stats) -> Self {
        Self {
            family: family_text(Family::of(server.addr)),
            address: Address(server.addr),
            port: server.port,
            forward: forward_text(server.forward),
            tunnel: match server.forward {
                Forward::Tunnel(tunnel) => Some(JsonTunnel::from(tunnel)),
                _ => None,
            },
            weight: server.weight,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
            active_connections: counts.active,
            inactive_connections: counts.inactive,
            persistent_connections: counts.persistent,
            stats: JsonStats::from(stats),
        }
    }
}

fn forward_text(forward: Forward) -> String {
    let text = match forward {
        Forward::Masquerade => "masquerade",
        Forward::DirectRoute => "direct-route",
        Forward::Tunnel(_) => "tunnel",
        Forward::LocalNode => "local",
        Forward::Bypass => "bypass",
        Forward::Other(number) => return number.to_string(),
        _ => "unknown",
    };
    text.to_owned()
}

#[derive(Serialize)]
struct JsonTunnel {
    r#type: String,
    port: Option<u16>,
    checksum: Option<&'static str>,
}

impl From<Tunnel> for JsonTunnel {
    fn from(tunnel: Tunnel) -> Self {
        let (kind, port, checksum) = match tunnel {
            Tunnel::Ipip => ("ipip".to_owned(), None, None),
            Tunnel::Gue { port, checksum } => {
                let checksum = match checksum {
                    GueChecksum::None => "none",
                    GueChecksum::Full => "full",
                    GueChecksum::Remote => "remote",
                };
                ("gue".to_owned(), Some(port), Some(checksum))
            }
            Tunnel::Gre { checksum } => {
                ("gre".to_owned(), None, Some(if checksum { "full" } else { "none" }))
            }
            Tunnel::Other { kind, .. } => (kind.to_string(), None, None),
            _ => ("unknown".to_owned(), None, None),
        };
        Self { r#type: kind, port, checksum }
    }
}

#[derive(Serialize)]
struct JsonStats {
    bits: u8,
    connections: u64,
    incoming_packets: u64,
    outgoing_packets: u64,
    incoming_bytes: u64,
    outgoing_bytes: u64,
    rates: Option<JsonRates>,
}

#[derive(Serialize)]
struct JsonRates {
    connections: u64,
    incoming_packets: u64,
    outgoing_packets: u64,
    incoming_bytes: u64,
    outgoing_bytes: u64,
}

impl From<&Stats> for JsonStats {
    fn from(stats: &Stats) -> Self {
        Self {
            bits: if stats.width == StatsWidth::Bits32 { 32 } else { 64 },
            connections: stats.connections,
            incoming_packets: stats.incoming_packets,
            outgoing_packets: stats.outgoing_packets,
            incoming_bytes: stats.incoming_bytes,
            outgoing_bytes: stats.outgoing_bytes,
            rates: stats.rates.map(|rates| JsonRates {
                connections: rates.connections,
                incoming_packets: rates.incoming_packets,
                outgoing_packets: rates.outgoing_packets,
                incoming_bytes: rates.incoming_bytes,
                outgoing_bytes: rates.outgoing_bytes,
            }),
        }
    }
}

#[derive(Serialize)]
struct JsonConnection<'a> {
    protocol: String,
    client: Endpoint,
    r#virtual: Endpoint,
    destination: Endpoint,
    state: &'a str,
    expires: u64,
    persistence_engine: Option<Name<'a>>,
    persistence_data: Option<Name<'a>>,
}

#[derive(Serialize)]
struct Endpoint {
    address: Address,
    port: u16,
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self { address: Address(addr.ip()), port: addr.port() }
    }
}

impl<'a> From<&'a Connection> for JsonConnection<'a> {
    fn from(connection: &'a Connection) -> Self {
        let engine = connection.persistence_engine.as_ref().map(PersistenceEngine::as_bytes);
        Self {
            protocol: protocol_text(connection.protocol),
            client: connection.client.into(),
            r#virtual: connection.virtual_addr.into(),
            destination: connection.destination.into(),
            state: &connection.state,
            expires: connection.expires.as_secs(),
            persistence_engine: engine.map(Name::from),
            persistence_data: connection.persistence_data.as_deref().map(Name::from),
        }
    }
}

#[derive(Serialize)]
struct JsonDaemon<'a> {
    role: String,
    interface: Name<'a>,
    sync_id: u8,
    max_length: Option<u16>,
    group: Option<Address>,
    port: Option<u16>,
    ttl: Option<u8>,
}

impl<'a> From<&'a SyncDaemon> for JsonDaemon<'a> {
    fn from(daemon: &'a SyncDaemon) -> Self {
        Self {
            role: daemon.role.to_string(),
            interface: daemon.interface.as_bytes().into(),
            sync_id: daemon.sync_id,
            max_length: daemon.max_length,
            group: daemon.group.map(Address),
            port: daemon.port,
            ttl: daemon.ttl,
        }
    }
}

fn family_text(family: Family) -> &'static str {
    match family {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    }
}

fn protocol_text(protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => "tcp".to_owned(),
        Protocol::Udp => "udp".to_owned(),
        Protocol::Sctp => "sctp".to_owned(),
        other => other.number().to_string(),
    }
}

/// The words of `-b` for the flags, and flags without a word in hexadecimal.
fn scheduler_flags(service: &Service) -> Vec<String> {
    let (words, rest) = scheduler_flags::words(service);
    let bits = (0..u32::BITS).map(|bit| 1 << bit).filter(|bit| rest.bits() & bit != 0);
    words.into_iter().map(str::to_owned).chain(bits.map(|bit| format!("{bit:#x}"))).collect()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ipvs::{
        Connections, DestinationKey, InterfaceName, Persistence, Rates, Scheduler, SchedulerFlags,
        SyncRole,
    };

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    const VERSION: Version = Version { major: 1, minor: 2, patch: 1 };

    /// Written by hand from JSON.md, as are the others.
    const SERVICES: &str = r#"{"schema_version":1,"ipvs_version":"1.2.1","connection_table_size":4096,"services":[
{"family":"ipv4","protocol":"tcp","address":"10.10.10.53","port":80,"fwmark":null,"scheduler":"sh","scheduler_flags":["sh-port","flag-3","0x100"],"one_packet":false,"persistence":{"timeout":360,"mask":"255.255.0.0"},"persistence_engine":null,"stats":{"bits":64,"connections":18446744073709551615,"incoming_packets":2,"outgoing_packets":3,"incoming_bytes":4,"outgoing_bytes":5,"rates":{"connections":6,"incoming_packets":7,"outgoing_packets":8,"incoming_bytes":9,"outgoing_bytes":10}},"destinations":[{"family":"ipv4","address":"10.10.10.102","port":80,"forward":"direct-route","tunnel":null,"weight":1,"upper_threshold":0,"lower_threshold":0,"active_connections":11,"inactive_connections":12,"persistent_connections":13,"stats":{"bits":32,"connections":0,"incoming_packets":0,"outgoing_packets":0,"incoming_bytes":0,"outgoing_bytes":0,"rates":null}},{"family":"ipv6","address":"2001:db8::102","port":80,"forward":"tunnel","tunnel":{"type":"gue","port":6080,"checksum":"remote"},"weight":2147483647,"upper_threshold":500,"lower_threshold":300,"active_connections":0,"inactive_connections":0,"persistent_connections":0,"stats":{"bits":64,"connections":0,"incoming_packets":0,"outgoing_packets":0,"incoming_bytes":0,"outgoing_bytes":0,"rates":null}}]},
{"family":"ipv6","protocol":null,"address":null,"port":null,"fwmark":4294967295,"scheduler":null,"scheduler_flags":[],"one_packet":true,"persistence":{"timeout":60,"mask":"64"},"persistence_engine":{"hex":"73ff"},"stats":{"bits":64,"connections":0,"incoming_packets":0,"outgoing_packets":0,"incoming_bytes":0,"outgoing_bytes":0,"rates":null},"destinations":[]}
]}
"#;

    #[test]
    fn services() {
        let mut stats = Stats::default();
        stats.connections = u64::MAX;
        stats.incoming_packets = 2;
        stats.outgoing_packets = 3;
        stats.incoming_bytes = 4;
        stats.outgoing_bytes = 5;
        let mut rates = Rates::default();
        rates.connections = 6;
        rates.incoming_packets = 7;
        rates.outgoing_packets = 8;
        rates.incoming_bytes = 9;
        rates.outgoing_bytes = 10;
        stats.rates = Some(rates);
        let (mut narrow, none) = (Stats::default(), Stats::default());
        narrow.width = StatsWidth::Bits32;

        let mask = PersistenceMask::v4([255, 255, 0, 0].into());
        let http = Service::new(ServiceKey::tcp("10.10.10.53:80".parse().unwrap()))
            .scheduler(Scheduler::SH)
            .scheduler_flags(
                SchedulerFlags::SH_PORT
                    | SchedulerFlags::FLAG_3
                    | SchedulerFlags::from_bits_retain(0x100),
            )
            .persistent(Persistence::new(Duration::from_secs(360)).mask(mask));
        let direct = Destination::new("10.10.10.102:80".parse().unwrap());
        let counts = Counts { active: 11, inactive: 12, persistent: 13 };
        let tunnel = Tunnel::Gue { port: 6080, checksum: GueChecksum::Remote };
        let through = Destination::new(DestinationKey::new("2001:db8::102".parse().unwrap(), 80))
            .forward(Forward::Tunnel(tunnel))
            .weight(2_147_483_647)
            .thresholds(500, 300);

        let mask = PersistenceMask::v6(64).unwrap();
        let marked = Service::new(ServiceKey::fwmark(Family::V6, NonZeroU32::MAX))
            .scheduler(None)
            .one_packet(true)
            .persistent(Persistence::new(Duration::from_secs(60)).mask(mask))
            .persistence_engine(PersistenceEngine::new(b"s\xff").unwrap());

        let written = text(|out| {
            let mut document = Document::services(out, VERSION, 4096)?;
            let servers = [(&direct, counts, &narrow), (&through, Counts::default(), &none)];
            document.service(&http, &stats, servers)?;
            document.service(&marked, &none, [])?;
            document.end()
        });
        assert_eq!(written, SERVICES);
    }

    #[test]
    fn no_services() {
        assert_eq!(
            text(|out| Document::services(out, VERSION, 0)?.end()),
            r#"{"schema_version":1,"ipvs_version":"1.2.1","connection_table_size":0,"services":[]}"#
                .to_owned() + "\n"
        );
    }

    #[test]
    fn forwarding_and_protocols_have_words() {
        let tunnel = |tunnel| serde_json::to_string(&JsonTunnel::from(tunnel)).unwrap();
        for (kind, expected) in [
            (Tunnel::Ipip, r#"{"type":"ipip","port":null,"checksum":null}"#),
            (Tunnel::Gre { checksum: false }, r#"{"type":"gre","port":null,"checksum":"none"}"#),
            (Tunnel::Gre { checksum: true }, r#"{"type":"gre","port":null,"checksum":"full"}"#),
            (
                Tunnel::Gue { port: 1, checksum: GueChecksum::None },
                r#"{"type":"gue","port":1,"checksum":"none"}"#,
            ),
            (
                Tunnel::Gue { port: 1, checksum: GueChecksum::Full },
                r#"{"type":"gue","port":1,"checksum":"full"}"#,
            ),
            (
                Tunnel::Other { kind: 9, port: 1, flags: 2 },
                r#"{"type":"9","port":null,"checksum":null}"#,
            ),
        ] {
            assert_eq!(tunnel(kind), expected);
        }
        for (method, expected) in [
            (Forward::Masquerade, "masquerade"),
            (Forward::LocalNode, "local"),
            (Forward::Bypass, "bypass"),
            (Forward::Other(6), "6"),
        ] {
            assert_eq!(forward_text(method), expected);
        }
        assert_eq!(protocol_text(Protocol::Other(50)), "50");
    }

    #[test]
    fn flags_are_named_by_their_scheduler() {
        let all = SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_2 | SchedulerFlags::FLAG_3;
        let key = ServiceKey::tcp("10.0.0.1:80".parse().unwrap());
        let words = |scheduler| {
            let service = Service::new(key).scheduler_flags(all);
            scheduler_flags(&service.scheduler(scheduler))
        };
        assert_eq!(words(None), ["flag-1", "flag-2", "flag-3"]);
        assert_eq!(words(Some(Scheduler::MH)), ["mh-fallback", "mh-port", "flag-3"]);
    }

    /// The kernel's lines are in the form of Linux 6.1; a Call-ID may hold any bytes.
    #[test]
    fn connections() {
        let proc = b"Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\n\
            TCP 0A000001 13CE 0A000001 0050 C0A80A01 0050 ESTABLISHED     899\n\
            UDP 2001:0db8:0000:0000:0000:0000:0000:0001 0000 2001:0db8:0000:0000:0000:0000:0000:0002 13C4 C0A80A01 13C4 NONE 60 sip a\"\\\x01\n\
            IP 0A000001 0000 00000005 0000 C0A80A01 0000 NONE 60 sip \xff@x\n";
        let written = text(|out| {
            let mut document = Document::connections(out)?;
            for connection in Connections::new(&proc[..]) {
                document.connection(&connection.unwrap())?;
            }
            document.end()
        });
        assert_eq!(
            written,
            r#"{"schema_version":1,"connections":[
{"protocol":"tcp","client":{"address":"10.0.0.1","port":5070},"virtual":{"address":"10.0.0.1","port":80},"destination":{"address":"192.168.10.1","port":80},"state":"ESTABLISHED","expires":899,"persistence_engine":null,"persistence_data":null},
{"protocol":"udp","client":{"address":"2001:db8::1","port":0},"virtual":{"address":"2001:db8::2","port":5060},"destination":{"address":"192.168.10.1","port":5060},"state":"NONE","expires":60,"persistence_engine":"sip","persistence_data":"a\"\\\u0001"},
{"protocol":"0","client":{"address":"10.0.0.1","port":0},"virtual":{"address":"0.0.0.5","port":0},"destination":{"address":"192.168.10.1","port":0},"state":"NONE","expires":60,"persistence_engine":"sip","persistence_data":{"hex":"ff4078"}}
]}
"#
        );
    }

    /// The address is in the form of the lists, and the time within what every JSON reader can
    /// represent (2^53).
    #[test]
    fn addresses_and_times_at_their_edges() {
        let proc = "title\nTCP 0000:0000:0000:0000:0000:0000:0a09:0003 0000 \
                    0000:0000:0000:0000:0000:ffff:0a09:0001 0050 0A090002 2580 NONE \
                    73786976294838206\n";
        let connection = Connections::new(proc.as_bytes()).next().unwrap().unwrap();
        let document: serde_json::Value =
            serde_json::to_value(JsonConnection::from(&connection)).unwrap();
        assert_eq!(document["client"]["address"], "::10.9.0.3");
        assert_eq!(document["virtual"]["address"], "::ffff:10.9.0.1");
        assert_eq!(document["expires"], 0);
    }

    #[test]
    fn timeouts_and_daemons() {
        assert_eq!(
            text(|out| write_timeouts(out, [900, 120, 300].map(Duration::from_secs))),
            r#"{"schema_version":1,"timeouts":{"tcp":900,"tcp_fin":120,"udp":300}}"#.to_owned()
                + "\n"
        );
        let master = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap())
            .sync_id(7)
            .max_length(1472)
            .group(Some("224.0.0.81".parse().unwrap()))
            .port(Some(8848))
            .ttl(Some(1));
        let backup = SyncDaemon::new(SyncRole::Backup, InterfaceName::new(b"\xe4").unwrap());
        let written = text(|out| {
            let mut document = Document::daemons(out)?;
            document.daemon(&master)?;
            document.daemon(&backup)?;
            document.end()
        });
        assert_eq!(
            written,
            r#"{"schema_version":1,"daemons":[
{"role":"master","interface":"eth0","sync_id":7,"max_length":1472,"group":"224.0.0.81","port":8848,"ttl":1},
{"role":"backup","interface":{"hex":"e4"},"sync_id":0,"max_length":null,"group":null,"port":null,"ttl":null}
]}
"#
        );
    }
}
