//! The lists of `-L`: the columns, cuts and blanks of the C tool, which scripts take apart.

use std::io::{self, Write};
use std::net::SocketAddr;

use ipvs::{
    Connection, Destination, DestinationEntry, Family, Forward, GueChecksum, Info, Protocol,
    Scheduler, SchedulerFlags, Service, ServiceEntry, ServiceKey, SyncDaemon, Timeouts, Tunnel,
};

use crate::flags::high::Format;
use crate::names::EndpointText;
use crate::numbers::{Scale, column, signed};

/// What an IPv4 service's text, protocol included, is cut to; an IPv6 one pushes the columns.
const SERVICE_WIDTH: usize = 33;
/// What an IPv4 server's text is cut to; an IPv6 one pushes the columns.
const SERVER_WIDTH: usize = 28;

/// Writes the table of services and servers.
pub(crate) struct Table<'a, W> {
    pub(crate) out: W,
    pub(crate) text: EndpointText<'a>,
    pub(crate) format: Format,
    pub(crate) scale: Scale,
}

impl<W: Write> Table<'_, W> {
    /// The line that only a list of everything begins with.
    pub(crate) fn version(&mut self, info: &Info) -> io::Result<()> {
        let Info { version, connection_table_size: size, .. } = info;
        writeln!(self.out, "IP Virtual Server version {version} (size={size})")
    }

    pub(crate) fn titles(&mut self) -> io::Result<()> {
        let first = "Prot LocalAddress:Port";
        let second = "  -> RemoteAddress:Port";
        let out = &mut self.out;
        let statistics = |out: &mut W, titles: [&str; 5]| {
            write!(out, "{first:<SERVICE_WIDTH$}")?;
            for title in titles {
                write!(out, " {title:>8}")?;
            }
            writeln!(out, "\n{second}")
        };
        match self.format {
            Format::Plain => {
                writeln!(out, "{first} Scheduler Flags")?;
                writeln!(out, "{second}           Forward Weight ActiveConn InActConn")
            }
            Format::TunInfo => {
                writeln!(out, "{first} Scheduler Flags")?;
                writeln!(
                    out,
                    "{second}           Forward TunnelInfo    Weight ActiveConn InActConn"
                )
            }
            Format::Stats => statistics(out, ["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"]),
            Format::Rate => statistics(out, ["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"]),
            Format::Thresholds => {
                let [a, b, c, d] = ["Uthreshold", "Lthreshold", "ActiveConn", "InActConn"];
                writeln!(out, "{first:<SERVICE_WIDTH$} {a:<10} {b:<10} {c:<10} {d:<10}\n{second}")
            }
            Format::PersistentConn => {
                let [a, b, c, d] = ["Weight", "PersistConn", "ActiveConn", "InActConn"];
                writeln!(out, "{first:<SERVICE_WIDTH$} {a:<9} {b:<11} {c:<10} {d:<10}\n{second}")
            }
        }
    }

    pub(crate) fn service(&mut self, entry: &ServiceEntry) -> io::Result<()> {
        let service = &entry.service;
        let text = self.service_text(&service.key);
        match self.format {
            Format::Stats => {
                let stats = &entry.stats;
                self.statistics(
                    &text,
                    SERVICE_WIDTH,
                    [
                        stats.connections,
                        stats.incoming_packets,
                        stats.outgoing_packets,
                        stats.incoming_bytes,
                        stats.outgoing_bytes,
                    ],
                )
            }
            Format::Rate => {
                let rates = entry.stats.rates.unwrap_or_default();
                self.statistics(
                    &text,
                    SERVICE_WIDTH,
                    [
                        rates.connections,
                        rates.incoming_packets,
                        rates.outgoing_packets,
                        rates.incoming_bytes,
                        rates.outgoing_bytes,
                    ],
                )
            }
            Format::Plain | Format::Thresholds | Format::PersistentConn | Format::TunInfo => {
                self.out.write_all(&text)?;
                self.out.write_all(b" ")?;
                self.out.write_all(scheduler_text(service))?;
                write_configuration(&mut self.out, service)?;
                self.out.write_all(b"\n")
            }
        }
    }

    fn service_text(&mut self, key: &ServiceKey) -> Vec<u8> {
        match *key {
            ServiceKey::Addr { protocol, addr, port } => {
                let name = match protocol {
                    Protocol::Tcp => "TCP",
                    Protocol::Udp => "UDP",
                    Protocol::Sctp => "SCTP",
                    _ => "?",
                };
                let mut text = format!("{name:<4} ").into_bytes();
                text.extend(self.text.endpoint(addr, port, Some(protocol)));
                if addr.is_ipv4() {
                    text.truncate(SERVICE_WIDTH);
                }
                text
            }
            ServiceKey::Fwmark { family, mark } => {
                // As a signed number, like the C tool.
                let mark = signed(mark.get());
                match family {
                    Family::V4 => format!("FWM  {mark}"),
                    Family::V6 => format!("FWM  {mark} IPv6"),
                }
                .into_bytes()
            }
        }
    }

    pub(crate) fn destination(
        &mut self,
        service: &ServiceKey,
        entry: &DestinationEntry,
    ) -> io::Result<()> {
        let Destination { addr, port, forward, weight, upper_threshold, lower_threshold, .. } =
            entry.destination;
        let mut text = b"  -> ".to_vec();
        text.extend(self.text.endpoint(addr, port, protocol_of(service)));
        let width = "  -> ".len() + SERVER_WIDTH;
        if addr.is_ipv4() {
            text.truncate(width);
        }
        if self.format == Format::Stats {
            let stats = &entry.stats;
            return self.statistics(
                &text,
                width,
                [
                    stats.connections,
                    stats.incoming_packets,
                    stats.outgoing_packets,
                    stats.incoming_bytes,
                    stats.outgoing_bytes,
                ],
            );
        }
        write_padded(&mut self.out, &text, width)?;
        let active = entry.active_connections;
        let inactive = entry.inactive_connections;
        let out = &mut self.out;
        match self.format {
            Format::Plain | Format::Stats => {
                let (method, weight) = (forward_text(forward), signed(weight));
                writeln!(out, " {method:<7} {weight:<6} {active:<10} {inactive:<10}")
            }
            Format::TunInfo => {
                let (method, weight) = (forward_text(forward), signed(weight));
                let tunnel = tunnel_text(forward);
                writeln!(out, " {method:<7} {tunnel:<13} {weight:<6} {active:<10} {inactive:<10}")
            }
            Format::Rate => {
                let rates = entry.stats.rates.unwrap_or_default();
                // The first three are never scaled.
                for rate in [rates.connections, rates.incoming_packets, rates.outgoing_packets] {
                    write!(out, " {rate:>8}")?;
                }
                let [input, output] = [rates.incoming_bytes, rates.outgoing_bytes];
                writeln!(out, "{}{}", column(input, self.scale), column(output, self.scale))
            }
            Format::Thresholds => {
                let [upper, lower] = [upper_threshold, lower_threshold];
                writeln!(out, " {upper:<10} {lower:<10} {active:<10} {inactive:<10}")
            }
            Format::PersistentConn => {
                let persistent = entry.persistent_connections;
                writeln!(out, " {weight:<9} {persistent:<11} {active:<10} {inactive:<10}")
            }
        }
    }

    fn statistics(&mut self, text: &[u8], width: usize, numbers: [u64; 5]) -> io::Result<()> {
        write_padded(&mut self.out, text, width)?;
        for number in numbers {
            self.out.write_all(column(number, self.scale).as_bytes())?;
        }
        self.out.write_all(b"\n")
    }
}

/// Ports have names within a protocol, which firewall marks don't have.
pub(crate) fn protocol_of(service: &ServiceKey) -> Option<Protocol> {
    match *service {
        ServiceKey::Addr { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark { .. } => None,
    }
}

/// Pads with blanks, counting bytes.
fn write_padded(out: &mut impl Write, text: &[u8], width: usize) -> io::Result<()> {
    out.write_all(text)?;
    write!(out, "{:1$}", "", width.saturating_sub(text.len()))
}

pub(crate) fn scheduler_text(service: &Service) -> &[u8] {
    service.scheduler.as_ref().map_or(b"none", Scheduler::as_bytes)
}

/// What follows the scheduler in the line of a service.
fn write_configuration(out: &mut impl Write, service: &Service) -> io::Result<()> {
    if let Some(flags) = scheduler_flags_text(service) {
        write!(out, " ({flags})")?;
    }
    if let Some(persistence) = &service.persistence {
        write!(out, " persistent {}", persistence.timeout.as_secs())?;
        if let Some(mask) = mask_text(service) {
            write!(out, " mask {mask}")?;
        }
        if let Some(engine) = service.engine {
            out.write_all(b" pe ")?;
            out.write_all(engine.as_bytes())?;
        }
    }
    if service.one_packet {
        out.write_all(b" ops")?;
    }
    Ok(())
}

/// `None` without flags; a flag that has no name for the scheduler gives an empty text.
pub(crate) fn scheduler_flags_text(service: &Service) -> Option<String> {
    let flags = service.scheduler_flags;
    let known = SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_2 | SchedulerFlags::FLAG_3;
    if !flags.intersects(known) {
        return None;
    }
    let names: &[_] = match service.scheduler {
        Some(Scheduler::SH) => &["sh-fallback", "sh-port"],
        Some(Scheduler::MH) => &["mh-fallback", "mh-port"],
        _ => &["flag-1", "flag-2", "flag-3"],
    };
    let bits = [SchedulerFlags::FLAG_1, SchedulerFlags::FLAG_2, SchedulerFlags::FLAG_3];
    let set = names.iter().zip(bits).filter(|(_, bit)| flags.contains(*bit));
    Some(set.map(|(name, _)| *name).collect::<Vec<_>>().join(","))
}

/// The mask of a persistent service; `None` for one that takes every address for itself.
pub(crate) fn mask_text(service: &Service) -> Option<String> {
    let mask = service.persistence.as_ref()?.mask;
    match service.key.family() {
        Family::V4 => mask.as_v4().filter(|mask| !mask.is_broadcast()).map(|mask| mask.to_string()),
        Family::V6 => mask.as_v6().filter(|bits| *bits != 128).map(|bits| bits.to_string()),
    }
}

fn forward_text(forward: Forward) -> &'static str {
    match forward {
        Forward::Masquerade => "Masq",
        Forward::LocalNode => "Local",
        Forward::Tunnel(_) => "Tunnel",
        Forward::DirectRoute => "Route",
        Forward::Bypass => "Bypass",
        _ => "Unknown",
    }
}

fn tunnel_text(forward: Forward) -> String {
    let Forward::Tunnel(tunnel) = forward else { return "n/a".to_owned() };
    match tunnel {
        Tunnel::Ipip => "ipip".to_owned(),
        Tunnel::Gue { port, checksum } => {
            let checksum = match checksum {
                GueChecksum::None => "-c",
                GueChecksum::Full => "+c",
                GueChecksum::Remote => "r+c",
            };
            format!("gue:{port}:{checksum}")
        }
        Tunnel::Gre { checksum: false } => "gre:-c".to_owned(),
        Tunnel::Gre { checksum: true } => "gre:+c".to_owned(),
        _ => "invalid".to_owned(),
    }
}

/// Writes the connections of `-L -c`.
pub(crate) struct ConnectionTable<'a, W> {
    pub(crate) out: W,
    pub(crate) text: EndpointText<'a>,
    /// Whether the persistence engine's data are shown.
    pub(crate) engine: bool,
}

impl<W: Write> ConnectionTable<'_, W> {
    pub(crate) fn titles(&mut self) -> io::Result<()> {
        let [state, source, target, server] = ["state", "source", "virtual", "destination"];
        writeln!(self.out, "IPVS connection entries")?;
        write!(self.out, "pro expire {state:<11} {source:<18} {target:<18} ")?;
        if self.engine {
            writeln!(self.out, "{server:<18} {:<16} pe_data", "pe name")
        } else {
            writeln!(self.out, "{server}")
        }
    }

    pub(crate) fn connection(&mut self, connection: &Connection) -> io::Result<()> {
        let protocol = protocol_text(connection.protocol);
        let seconds = connection.expires.as_secs();
        let time = format!("{:02}:{:02}", seconds / 60, seconds % 60);
        write!(self.out, "{protocol:<3} {time:<6} {:<11} ", connection.state)?;
        self.endpoint(connection, connection.client, 18)?;
        self.endpoint(connection, connection.virtual_addr, 18)?;
        let engine = connection.engine.filter(|_| self.engine);
        match (engine, &connection.engine_data) {
            (Some(name), Some(data)) if !data.is_empty() => {
                // Not the widths of the titles, but the C tool's.
                self.endpoint(connection, connection.destination, 16)?;
                write_padded(&mut self.out, name.as_bytes(), 18)?;
                self.out.write_all(b" ")?;
                self.out.write_all(data)?;
            }
            _ => {
                let text = self.endpoint_text(connection, connection.destination);
                self.out.write_all(&text)?;
            }
        }
        self.out.write_all(b"\n")
    }

    fn endpoint_text(&mut self, connection: &Connection, endpoint: SocketAddr) -> Vec<u8> {
        self.text.endpoint(endpoint.ip(), endpoint.port(), Some(connection.protocol))
    }

    fn endpoint(
        &mut self,
        connection: &Connection,
        endpoint: SocketAddr,
        width: usize,
    ) -> io::Result<()> {
        let text = self.endpoint_text(connection, endpoint);
        write_padded(&mut self.out, &text, width)?;
        self.out.write_all(b" ")
    }
}

/// The kernel's word for a protocol, in its list of connections.
fn protocol_text(protocol: Protocol) -> String {
    match protocol.number() {
        6 => "TCP".to_owned(),
        17 => "UDP".to_owned(),
        132 => "SCTP".to_owned(),
        0 => "IP".to_owned(),
        1 => "ICMP".to_owned(),
        58 => "ICMPv6".to_owned(),
        other => format!("IP_{other}"),
    }
}

/// Writes the line of `-L --timeout`.
pub(crate) fn write_timeouts(out: &mut impl Write, timeouts: &Timeouts) -> io::Result<()> {
    let [tcp, fin, udp] = [timeouts.tcp, timeouts.tcp_fin, timeouts.udp].map(|t| t.as_secs());
    writeln!(out, "Timeout (tcp tcpfin udp): {tcp} {fin} {udp}")
}

/// Writes a line of `-L --daemon`.
pub(crate) fn write_daemon(out: &mut impl Write, daemon: &SyncDaemon) -> io::Result<()> {
    let SyncDaemon { role, interface, sync_id, .. } = daemon;
    write!(out, "{role} sync daemon (mcast=")?;
    out.write_all(interface.as_bytes())?;
    write!(out, ", syncid={sync_id}")?;
    if let Some(length) = daemon.max_length {
        write!(out, ", maxlen={length}")?;
    }
    if let Some(group) = daemon.group {
        write!(out, ", group={group}")?;
    }
    if let Some(port) = daemon.port {
        write!(out, ", port={port}")?;
    }
    if let Some(ttl) = daemon.ttl {
        write!(out, ", ttl={ttl}")?;
    }
    writeln!(out, ")")
}
