//! The lists of `-L`, except for connections: columns, cuts and blanks are the C program's, because
//! scripts parse them.

use std::io::{self, Write};
use std::net::IpAddr;
use std::time::Duration;

use ipvs::{
    Destination, DestinationSummary, Family, Protocol, Service, ServiceKey, Stats, SyncDaemon,
    Version,
};
use ipvs_os::InetNtop;

use crate::text::fields::{forward_text, mask_text, protocol_of, scheduler_text, tunnel_text};
use crate::text::line_buffer::LineBuffer as _;
use crate::text::names::EndpointText;
use crate::text::numbers::{Scale, column, signed};
use crate::text::scheduler_flags;

/// The width to which an IPv4 service, protocol included, is cut; an IPv6 one shifts the columns.
const SERVICE_WIDTH: usize = 33;
/// The width to which an IPv4 real server is cut; an IPv6 one shifts the columns.
const SERVER_WIDTH: usize = 28;
/// The beginning of the line of a real server.
const SERVER_START: &[u8] = b"  -> ";

/// The columns of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Plain,
    Stats,
    Rate,
    Thresholds,
    PersistentConn,
    TunInfo,
}

/// Writes the table of services and servers.
pub(crate) struct Table<'a, W> {
    out: W,
    text: EndpointText<'a>,
    format: Format,
    scale: Scale,
    /// The line under construction.
    line: Vec<u8>,
}

impl<'a, W: Write> Table<'a, W> {
    pub(crate) fn new(out: W, text: EndpointText<'a>, format: Format, scale: Scale) -> Self {
        Self { out, text, format, scale, line: Vec::new() }
    }

    /// The first line, which only a list of the whole table has.
    pub(crate) fn version(&mut self, version: Version, size: u32) -> io::Result<()> {
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

    pub(crate) fn service(&mut self, service: &Service, stats: &Stats) -> io::Result<()> {
        self.line.clear();
        self.service_text(&service.key);
        match self.format {
            Format::Stats => self.statistics(SERVICE_WIDTH, counters(stats)),
            Format::Rate => {
                let rates = stats.rates.unwrap_or_default();
                let numbers = [
                    rates.connections,
                    rates.incoming_packets,
                    rates.outgoing_packets,
                    rates.incoming_bytes,
                    rates.outgoing_bytes,
                ];
                self.statistics(SERVICE_WIDTH, numbers);
            }
            Format::Plain | Format::Thresholds | Format::PersistentConn | Format::TunInfo => {
                self.line.push(b' ');
                self.line.extend_from_slice(scheduler_text(service));
                write_configuration(&mut self.line, service)?;
                self.line.push(b'\n');
            }
        }
        self.out.write_all(&self.line)
    }

    fn service_text(&mut self, key: &ServiceKey) {
        let line = &mut self.line;
        match *key {
            ServiceKey::Addr { protocol, addr, port } => {
                let name: &[u8] = match protocol {
                    Protocol::Tcp => b"TCP  ",
                    Protocol::Udp => b"UDP  ",
                    Protocol::Sctp => b"SCTP ",
                    _ => b"?    ",
                };
                line.extend_from_slice(name);
                self.text.endpoint(line, addr, port, Some(protocol));
                if addr.is_ipv4() {
                    line.truncate(SERVICE_WIDTH);
                }
            }
            ServiceKey::Fwmark { family, mark } => {
                line.extend_from_slice(b"FWM  ");
                // As a signed number, like the C program.
                line.signed(signed(mark.get()));
                if family == Family::V6 {
                    line.extend_from_slice(b" IPv6");
                }
            }
        }
    }

    pub(crate) fn server(
        &mut self,
        service: &ServiceKey,
        server: &Destination,
        counts: Counts,
        stats: &Stats,
    ) -> io::Result<()> {
        const WIDTH: usize = SERVER_START.len() + SERVER_WIDTH;
        let Destination { addr, port, forward, weight, .. } = *server;
        self.start_server(service, addr, port);
        let line = &mut self.line;
        match self.format {
            Format::Plain => {
                self.plain(forward_text(forward.into()), weight);
                return self.connections(counts);
            }
            Format::TunInfo => {
                line.text_left(forward_text(forward.into()), 7);
                line.push(b' ');
                line.text_left(tunnel_text(forward).as_bytes(), 13);
                line.push(b' ');
                let start = line.len();
                line.signed(signed(weight));
                line.pad(start, 6);
                line.push(b' ');
            }
            Format::Stats => {
                line.pop();
                self.statistics(WIDTH, counters(stats));
                return self.out.write_all(&self.line);
            }
            Format::Rate => {
                let rates = stats.rates.unwrap_or_default();
                // The first three are never scaled.
                line.pop();
                for rate in [rates.connections, rates.incoming_packets, rates.outgoing_packets] {
                    line.push(b' ');
                    line.number_right(rate, 8);
                }
                column(line, rates.incoming_bytes, self.scale);
                column(line, rates.outgoing_bytes, self.scale);
                line.push(b'\n');
                return self.out.write_all(line);
            }
            Format::Thresholds => {
                line.number_left(server.upper_threshold.into(), 10);
                line.push(b' ');
                line.number_left(server.lower_threshold.into(), 10);
                line.push(b' ');
            }
            Format::PersistentConn => {
                line.number_left(weight.into(), 9);
                line.push(b' ');
                line.number_left(counts.persistent.into(), 11);
                line.push(b' ');
            }
        }
        self.connections(counts)
    }

    /// The summary of a real server, in the plain format, which shows nothing else.
    pub(crate) fn summary(
        &mut self,
        service: &ServiceKey,
        server: &DestinationSummary,
    ) -> io::Result<()> {
        self.start_server(service, server.addr, server.port);
        self.plain(forward_text(server.forward), server.weight);
        self.connections(Counts {
            active: server.active_connections,
            inactive: server.inactive_connections,
            persistent: 0,
        })
    }

    /// The beginning of a real server's line, which is the same in every format.
    fn start_server(&mut self, service: &ServiceKey, addr: IpAddr, port: u16) {
        const WIDTH: usize = SERVER_START.len() + SERVER_WIDTH;
        let line = &mut self.line;
        line.clear();
        line.extend_from_slice(SERVER_START);
        self.text.endpoint(line, addr, port, protocol_of(service));
        if addr.is_ipv4() {
            line.truncate(WIDTH);
        }
        line.pad(0, WIDTH);
        line.push(b' ');
    }

    fn plain(&mut self, forward: &[u8], weight: u32) {
        let line = &mut self.line;
        line.text_left(forward, 7);
        line.push(b' ');
        let start = line.len();
        line.signed(signed(weight));
        line.pad(start, 6);
        line.push(b' ');
    }

    /// The end of a line.
    fn connections(&mut self, counts: Counts) -> io::Result<()> {
        let line = &mut self.line;
        line.number_left(counts.active.into(), 10);
        line.push(b' ');
        line.number_left(counts.inactive.into(), 10);
        line.push(b'\n');
        self.out.write_all(line)
    }

    fn statistics(&mut self, width: usize, numbers: [u64; 5]) {
        self.line.pad(0, width);
        for number in numbers {
            column(&mut self.line, number, self.scale);
        }
        self.line.push(b'\n');
    }
}

/// The connections of a real server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) active: u32,
    pub(crate) inactive: u32,
    pub(crate) persistent: u32,
}

fn counters(stats: &Stats) -> [u64; 5] {
    [
        stats.connections,
        stats.incoming_packets,
        stats.outgoing_packets,
        stats.incoming_bytes,
        stats.outgoing_bytes,
    ]
}

/// What follows the scheduler in the line of a service.
fn write_configuration(out: &mut impl Write, service: &Service) -> io::Result<()> {
    if let Some(flags) = scheduler_flags::listed(service) {
        write!(out, " ({flags})")?;
    }
    if let Some(persistence) = &service.persistence {
        write!(out, " persistent {}", persistence.timeout.as_secs())?;
        if let Some(mask) = mask_text(service) {
            write!(out, " mask {mask}")?;
        }
        if let Some(engine) = service.persistence_engine {
            out.write_all(b" pe ")?;
            out.write_all(engine.as_bytes())?;
        }
    }
    if service.one_packet {
        out.write_all(b" ops")?;
    }
    Ok(())
}

/// Writes the line of `-L --timeout`.
pub(crate) fn write_timeouts(out: &mut impl Write, tcp_fin_udp: [Duration; 3]) -> io::Result<()> {
    let [tcp, fin, udp] = tcp_fin_udp.map(|timeout| timeout.as_secs());
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
        write!(out, ", group={}", InetNtop(group))?;
    }
    if let Some(port) = daemon.port {
        write!(out, ", port={port}")?;
    }
    if let Some(ttl) = daemon.ttl {
        write!(out, ", ttl={ttl}")?;
    }
    writeln!(out, ")")
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use ipvs::{
        Forward, GueChecksum, InterfaceName, Persistence, PersistenceEngine, PersistenceMask,
        Rates, Scheduler, SchedulerFlags, SyncRole, Tunnel,
    };

    use super::*;
    use crate::text::names::tests::TestNames;

    fn table(format: Format) -> Table<'static, Vec<u8>> {
        Table::new(Vec::new(), EndpointText::new(true, &TestNames), format, Scale::Short)
    }

    fn written<W: AsRef<[u8]>>(out: W) -> String {
        String::from_utf8(out.as_ref().to_vec()).unwrap()
    }

    fn tcp(addr: &str) -> ServiceKey {
        ServiceKey::tcp(addr.parse().unwrap())
    }

    fn service_line(format: Format, service: &Service, stats: &Stats) -> String {
        let mut table = table(format);
        table.service(service, stats).unwrap();
        written(table.out)
    }

    fn plain(service: &Service) -> String {
        service_line(Format::Plain, service, &Stats::default())
    }

    fn server_line(format: Format, server: &Destination, counts: Counts, stats: &Stats) -> String {
        let mut table = table(format);
        table.server(&tcp("10.0.0.1:80"), server, counts, stats).unwrap();
        written(table.out)
    }

    fn stats() -> Stats {
        let mut stats = Stats::default();
        stats.connections = 1;
        stats.incoming_packets = 2000;
        stats.outgoing_packets = 1;
        stats.incoming_bytes = 120_056_000;
        stats.outgoing_bytes = 576;
        let mut rates = Rates::default();
        rates.connections = 100_000_000;
        rates.incoming_packets = 2;
        rates.outgoing_packets = 3;
        rates.incoming_bytes = 4;
        rates.outgoing_bytes = 1_000_000_000;
        stats.rates = Some(rates);
        stats
    }

    #[test]
    fn titles() {
        for (format, expected) in [
            (
                Format::Plain,
                "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           \
                 Forward Weight ActiveConn InActConn\n",
            ),
            (
                Format::Stats,
                "Prot LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  \
                 -> RemoteAddress:Port\n",
            ),
            (
                Format::Rate,
                "Prot LocalAddress:Port                 CPS    InPPS   OutPPS    InBPS   OutBPS\n  \
                 -> RemoteAddress:Port\n",
            ),
            (
                Format::Thresholds,
                "Prot LocalAddress:Port            Uthreshold Lthreshold ActiveConn InActConn \n  \
                 -> RemoteAddress:Port\n",
            ),
            (
                Format::PersistentConn,
                "Prot LocalAddress:Port            Weight    PersistConn ActiveConn InActConn \n  \
                 -> RemoteAddress:Port\n",
            ),
            (
                Format::TunInfo,
                "Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           \
                 Forward TunnelInfo    Weight ActiveConn InActConn\n",
            ),
        ] {
            let mut table = table(format);
            table.titles().unwrap();
            assert_eq!(written(table.out), expected);
        }
    }

    #[test]
    fn the_version_line() {
        let mut table = table(Format::Plain);
        table.version(Version { major: 1, minor: 2, patch: 1 }, 4096).unwrap();
        assert_eq!(written(table.out), "IP Virtual Server version 1.2.1 (size=4096)\n");
    }

    #[test]
    fn services() {
        let udp = ServiceKey::udp("10.0.0.1:32".parse().unwrap());
        let persistence = Persistence::new(Duration::from_secs(60))
            .mask(PersistenceMask::v4([255, 255, 0, 0].into()));
        let full = Service::new(udp)
            .scheduler(Scheduler::RR)
            .persistent(persistence)
            .persistence_engine(PersistenceEngine::SIP)
            .one_packet(true);
        assert_eq!(plain(&full), "UDP  10.0.0.1:32 rr persistent 60 mask 255.255.0.0 pe sip ops\n");
        let v6 = Service::new(tcp("[2001:db8:1111:2222:3333:4444:5555:6666]:65535")).persistent(
            Persistence::new(Duration::from_secs(100)).mask(PersistenceMask::v6(64).unwrap()),
        );
        assert_eq!(
            plain(&v6),
            "TCP  [2001:db8:1111:2222:3333:4444:5555:6666]:65535 wlc persistent 100 mask 64\n"
        );
        let sctp = ServiceKey::sctp("10.0.0.1:2905".parse().unwrap());
        // The persistence engine is shown only with persistence.
        let idle = Service::new(sctp).scheduler(None).persistence_engine(PersistenceEngine::SIP);
        assert_eq!(plain(&idle), "SCTP 10.0.0.1:2905 none\n");
        let mark = |family, mark| {
            plain(&Service::new(ServiceKey::fwmark(family, NonZeroU32::new(mark).unwrap())))
        };
        assert_eq!(mark(Family::V4, 9), "FWM  9 wlc\n");
        assert_eq!(mark(Family::V6, u32::MAX), "FWM  -1 IPv6 wlc\n");
    }

    #[test]
    fn scheduler_flags_have_the_schedulers_names() {
        let line = |scheduler: Scheduler, flags| {
            let service = Service::new(tcp("10.0.0.1:80")).scheduler(scheduler);
            plain(&service.scheduler_flags(flags))
        };
        let all = SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_2 | SchedulerFlags::FLAG_3;
        assert_eq!(line(Scheduler::RR, all), "TCP  10.0.0.1:80 rr (flag-1,flag-2,flag-3)\n");
        assert_eq!(line(Scheduler::SH, all), "TCP  10.0.0.1:80 sh (sh-fallback,sh-port)\n");
        assert_eq!(line(Scheduler::MH, SchedulerFlags::MH_PORT), "TCP  10.0.0.1:80 mh (mh-port)\n");
        assert_eq!(line(Scheduler::SH, SchedulerFlags::FLAG_3), "TCP  10.0.0.1:80 sh ()\n");
    }

    #[test]
    fn statistics_of_services() {
        let service = Service::new(tcp("10.0.0.1:53"));
        assert_eq!(
            service_line(Format::Stats, &service, &stats()),
            "TCP  10.0.0.1:53                         1     2000        1  120056K      576\n"
        );
        assert_eq!(
            service_line(Format::Rate, &service, &stats()),
            "TCP  10.0.0.1:53                   100000K        2        3        4    1000M\n"
        );
    }

    #[test]
    fn servers() {
        let addr = "10.1.0.2:8080".parse().unwrap();
        let server =
            Destination::new(addr).forward(Forward::Masquerade).weight(20).thresholds(500, 300);
        let counts = Counts { active: 7, inactive: 8, persistent: 9 };
        for (format, expected) in [
            (
                Format::Plain,
                "  -> 10.1.0.2:8080                Masq    20     7          8         \n",
            ),
            (
                Format::TunInfo,
                "  -> 10.1.0.2:8080                Masq    n/a           20     7          8         \n",
            ),
            (
                Format::Thresholds,
                "  -> 10.1.0.2:8080                500        300        7          8         \n",
            ),
            (
                Format::PersistentConn,
                "  -> 10.1.0.2:8080                20        9           7          8         \n",
            ),
            (
                Format::Stats,
                "  -> 10.1.0.2:8080                       1     2000        1  120056K      576\n",
            ),
            // Connections and packets per second are never scaled.
            (
                Format::Rate,
                "  -> 10.1.0.2:8080                100000000        2        3        4    1000M\n",
            ),
        ] {
            assert_eq!(server_line(format, &server, counts, &stats()), expected);
        }
    }

    #[test]
    fn long_numbers_shift_the_columns() {
        let addr = "10.1.0.2:8080".parse().unwrap();
        let server = Destination::new(addr).weight(2_147_483_647);
        let counts = Counts { active: 4_000_000_000, inactive: 1, persistent: 0 };
        for (format, expected) in [
            (Format::Plain, "Route   2147483647 4000000000 1         "),
            (Format::TunInfo, "Route   n/a           2147483647 4000000000 1         "),
            (Format::PersistentConn, "2147483647 0           4000000000 1         "),
        ] {
            assert_eq!(
                server_line(format, &server, counts, &Stats::default()),
                format!("  -> 10.1.0.2:8080                {expected}\n")
            );
        }
    }

    #[test]
    fn tunnels() {
        for (tunnel, info) in [
            (Tunnel::Ipip, "ipip         "),
            (Tunnel::Gue { port: 6080, checksum: GueChecksum::None }, "gue:6080:-c  "),
            (Tunnel::Gue { port: 6080, checksum: GueChecksum::Full }, "gue:6080:+c  "),
            (Tunnel::Gue { port: 6080, checksum: GueChecksum::Remote }, "gue:6080:r+c "),
            (Tunnel::Gre { checksum: false }, "gre:-c       "),
            (Tunnel::Gre { checksum: true }, "gre:+c       "),
        ] {
            let addr = "10.1.0.2:80".parse().unwrap();
            let server = Destination::new(addr).forward(Forward::Tunnel(tunnel));
            let (counts, stats) = (Counts::default(), Stats::default());
            assert_eq!(
                server_line(Format::TunInfo, &server, counts, &stats),
                format!(
                    "  -> 10.1.0.2:80                  Tunnel  {info} 1      0          0         \n"
                )
            );
        }
    }

    #[test]
    fn long_names_are_cut_and_long_addresses_shift_the_columns() {
        let mut table = table(Format::Plain);
        table.text = EndpointText::new(false, &TestNames);
        let key = tcp("192.168.10.3:8080");
        let (counts, stats) = (Counts::default(), Stats::default());
        let server = |addr: &str| Destination::new(addr.parse().unwrap());
        table.service(&Service::new(key), &stats).unwrap();
        table.server(&key, &server("192.168.10.3:80"), counts, &stats).unwrap();
        let v6 = "[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535";
        table.server(&key, &server(v6), counts, &stats).unwrap();
        assert_eq!(
            written(table.out),
            "TCP  real-server-with-a-very-long wlc\n  \
             -> real-server-with-a-very-long Route   1      0          0         \n  \
             -> [2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:65535 Route   1      0          0         \n"
        );
    }

    #[test]
    fn timeouts_and_daemons() {
        let mut out = Vec::new();
        write_timeouts(&mut out, [900, 120, 300].map(Duration::from_secs)).unwrap();
        let daemon = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap());
        write_daemon(&mut out, &daemon).unwrap();
        let group = "224.0.0.81".parse().unwrap();
        let full =
            daemon.sync_id(7).max_length(1472).group(Some(group)).port(Some(8848)).ttl(Some(1));
        write_daemon(&mut out, &full).unwrap();
        assert_eq!(
            written(out),
            "Timeout (tcp tcpfin udp): 900 120 300\n\
             master sync daemon (mcast=eth0, syncid=0)\n\
             master sync daemon (mcast=eth0, syncid=7, maxlen=1472, group=224.0.0.81, port=8848, \
             ttl=1)\n"
        );
    }
}
