//! Summaries of real servers from `/proc/net/ip_vs`, a single file that lists the whole table of a
//! namespace.

use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::destination::DestinationEntry;
use crate::model::forward::Forward;
use crate::model::key::{DestinationKey, Protocol, ServiceKey};
use crate::model::service::ServiceEntry;
use crate::procfs::fields::Fields;

/// Relative to `/proc`. `net` alone would be that of the process's first thread.
pub(crate) const PATH: &str = "thread-self/net/ip_vs";

/// Bytes per read. The kernel returns at most a page, or one service with its real servers.
const BUFFER: usize = 8 * 1024;

/// The limit in bytes on packed real servers, some 20,000 of them. It bounds memory and also time:
/// to resume a read, the kernel counts services from the first one on.
const MAX_PACKED: usize = 256 * 1024;

/// The number of services from which on reading the file costs less than asking for each one:
/// reading takes a handful of system calls, but the kernel formats a service longer than a page
/// several times.
pub(crate) const WORTHWHILE: usize = 8;

/// The maximum number of services to read.
pub(crate) const MAX_SERVICES: usize = 20_000;

/// Longer than any line that the kernel writes.
const MAX_LINE: u64 = 4096;

/// The forwarding method of a real server, without the kind of tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardMethod {
    /// Address translation.
    Masquerade,
    /// To the director itself.
    LocalNode,
    /// Through a tunnel of any kind.
    Tunnel,
    /// Direct routing.
    DirectRoute,
    /// To the packet's own destination.
    Bypass,
    /// A method unknown to this version.
    Other,
}

impl From<Forward> for ForwardMethod {
    fn from(forward: Forward) -> Self {
        match forward {
            Forward::Masquerade => Self::Masquerade,
            Forward::LocalNode => Self::LocalNode,
            Forward::Tunnel(_) => Self::Tunnel,
            Forward::DirectRoute => Self::DirectRoute,
            Forward::Bypass => Self::Bypass,
            Forward::Other(_) => Self::Other,
        }
    }
}

/// A real server in a [`Client::overview`](crate::Client::overview).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DestinationSummary {
    /// The address.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
    /// How packets are forwarded to it.
    pub forward: ForwardMethod,
    /// Its share of new connections, relative to the service's other real servers.
    pub weight: u32,
    /// The number of established connections.
    pub active_connections: u32,
    /// The number of all other connections.
    pub inactive_connections: u32,
}

impl DestinationSummary {
    /// The key that identifies it within its service.
    pub fn key(&self) -> DestinationKey {
        DestinationKey::new(self.addr, self.port)
    }
}

impl From<&DestinationEntry> for DestinationSummary {
    fn from(entry: &DestinationEntry) -> Self {
        let destination = &entry.destination;
        Self {
            addr: destination.addr,
            port: destination.port,
            forward: destination.forward.into(),
            weight: destination.weight,
            active_connections: entry.active_connections,
            inactive_connections: entry.inactive_connections,
        }
    }
}

/// A virtual service in an [`overview`](crate::Client::overview).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServiceOverview {
    /// The virtual service.
    pub entry: ServiceEntry,
    /// Its real servers, in the kernel's order.
    pub destinations: Vec<DestinationSummary>,
}

impl ServiceOverview {
    pub(crate) fn new(entry: ServiceEntry, destinations: Vec<DestinationSummary>) -> Self {
        Self { entry, destinations }
    }
}

/// The real servers of many services, from one reading of `/proc/net/ip_vs`.
///
/// The kernel lists all real servers of a service at once, so each list is complete, which a list
/// over netlink need not be. Not every service is included: the file has no address family for
/// firewall marks; masquerading can't be told from bypassing; if another process deletes a service,
/// the kernel skips another one; and up to Linux 7.0 it skips services wherever another network
/// namespace has some. So [`Client::destination_summaries`](crate::Client::destination_summaries)
/// asks for those that are missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summaries {
    /// The packed real servers. There may be so many that they take most of a list's memory.
    packed: Vec<u8>,
    /// Sorted by key, each with the start and end of its real servers.
    services: Vec<(ServiceKey, u32, u32)>,
}

impl Summaries {
    /// The real servers of the service, in the kernel's order; `None` if the file doesn't have
    /// them.
    pub fn get(&self, service: &ServiceKey) -> Option<Vec<DestinationSummary>> {
        let at = self.services.binary_search_by(|(key, ..)| key.cmp(service)).ok()?;
        let (_, start, end) = self.services[at];
        let mut packed = self.packed.get(start as usize..end as usize)?;
        let mut destinations = Vec::new();
        while !packed.is_empty() {
            destinations.push(unpack(&mut packed)?);
        }
        Some(destinations)
    }

    pub(crate) fn of_file(file: impl Read) -> Self {
        Self::read(BufReader::with_capacity(BUFFER, file))
    }

    /// Reads lines in the form of `/proc/net/ip_vs`, including its title lines. Keeps what it
    /// understands.
    pub fn read(lines: impl BufRead) -> Self {
        // Unused capacity takes no memory, whereas growing by moving leaves a hole behind.
        let mut table = Self { packed: Vec::with_capacity(MAX_PACKED), ..Self::default() };
        // Anything unreadable or not understood counts as missing, so it is asked for.
        let complete = table.read_lines(lines).unwrap_or(false);
        if !complete {
            table.services.pop();
        }
        table.services.sort_unstable_by_key(|(key, ..)| *key);
        table.services.dedup_by(|(a, ..), (b, ..)| a == b);
        table
    }

    /// Whether the last service is complete.
    fn read_lines(&mut self, mut lines: impl BufRead) -> io::Result<bool> {
        let mut line = Vec::new();
        // Whether the real servers that follow belong to the last service.
        let mut is_known = false;
        loop {
            line.clear();
            let length = lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
            if length == 0 {
                return Ok(true);
            }
            if line.last() != Some(&b'\n') {
                return Ok(false);
            }
            if let Some(fields) = line.strip_prefix(b"  -> ") {
                if is_known {
                    let Some(destination) = parse_destination(fields) else {
                        self.services.pop();
                        is_known = false;
                        continue;
                    };
                    if self.packed.len() >= MAX_PACKED {
                        return Ok(false);
                    }
                    pack(&destination, &mut self.packed);
                    self.end_service();
                }
            } else if let Some(key) = parse_service(&line) {
                if self.services.len() >= MAX_SERVICES {
                    return Ok(true);
                }
                let at = self.position();
                self.services.push((key, at, at));
                is_known = true;
            } else {
                is_known = false;
            }
        }
    }

    fn position(&self) -> u32 {
        u32::try_from(self.packed.len()).unwrap_or(u32::MAX)
    }

    fn end_service(&mut self) {
        let end = self.position();
        if let Some(last) = self.services.last_mut() {
            last.2 = end;
        }
    }
}

const METHODS: [ForwardMethod; 3] =
    [ForwardMethod::LocalNode, ForwardMethod::Tunnel, ForwardMethod::DirectRoute];

/// The method's index in [`METHODS`], and whether the address is IPv6.
const IS_V6: u8 = 0x80;

/// Method, address, port, then the numbers, seven bits to a byte, as most are small.
fn pack(destination: &DestinationSummary, packed: &mut Vec<u8>) {
    let method = METHODS.iter().position(|method| *method == destination.forward);
    // The file yields no other methods.
    let method = method.and_then(|method| u8::try_from(method).ok()).unwrap_or_default();
    match destination.addr {
        IpAddr::V4(addr) => {
            packed.push(method);
            packed.extend_from_slice(&addr.octets());
        }
        IpAddr::V6(addr) => {
            packed.push(method | IS_V6);
            packed.extend_from_slice(&addr.octets());
        }
    }
    packed.extend_from_slice(&destination.port.to_be_bytes());
    let DestinationSummary { weight, active_connections, inactive_connections, .. } = *destination;
    for mut number in [weight, active_connections, inactive_connections] {
        while number >= 0x80 {
            packed.push(number.to_le_bytes()[0] | 0x80);
            number >>= 7;
        }
        packed.push(number.to_le_bytes()[0]);
    }
}

/// Takes the first real server off. Never `None` for packed data.
fn unpack(packed: &mut &[u8]) -> Option<DestinationSummary> {
    let first = *take::<1>(packed)?.first()?;
    let addr = match first & IS_V6 {
        0 => IpAddr::from(take::<4>(packed)?),
        _ => IpAddr::from(take::<16>(packed)?),
    };
    let port = u16::from_be_bytes(take(packed)?);
    let mut number = || {
        let (mut number, mut shift) = (0, 0);
        loop {
            let [byte] = take::<1>(packed)?;
            number |= u32::from(byte & 0x7f).checked_shl(shift)?;
            shift += 7;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
    };
    Some(DestinationSummary {
        addr,
        port,
        forward: *METHODS.get(usize::from(first & !IS_V6))?,
        weight: number()?,
        active_connections: number()?,
        inactive_connections: number()?,
    })
}

fn take<const N: usize>(packed: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = packed.split_first_chunk()?;
    *packed = rest;
    Some(*taken)
}

/// `PROTOCOL  ADDRESS:PORT …` (`ip_vs_info_seq_show`, `net/netfilter/ipvs/ip_vs_ctl.c`). `None` for
/// a firewall mark, a title or anything else.
fn parse_service(line: &[u8]) -> Option<ServiceKey> {
    let (protocol, rest) = line.split_at(line.iter().position(|b| *b == b' ')?);
    let protocol = match protocol {
        b"TCP" => Protocol::Tcp,
        b"UDP" => Protocol::Udp,
        b"SCTP" => Protocol::Sctp,
        _ => return None,
    };
    let (addr, port) = parse_endpoint(Fields(rest).next()?)?;
    Some(ServiceKey::Addr { protocol, addr, port })
}

/// `ADDRESS:PORT METHOD WEIGHT ACTIVE INACTIVE`. `None` for lines that aren't understood, and for
/// the method `Masq`: the kernel prints that for every method without a name of its own
/// (`ip_vs_fwd_name`), including bypassing.
fn parse_destination(fields: &[u8]) -> Option<DestinationSummary> {
    let mut fields = Fields(fields);
    let (addr, port) = parse_endpoint(fields.next()?)?;
    let forward = match fields.next()? {
        b"Local" => ForwardMethod::LocalNode,
        b"Tunnel" => ForwardMethod::Tunnel,
        b"Route" => ForwardMethod::DirectRoute,
        _ => return None,
    };
    let [weight, active_connections, inactive_connections] =
        [number(fields.next()?)?, number(fields.next()?)?, number(fields.next()?)?];
    let destination = DestinationSummary {
        addr,
        port,
        forward,
        weight,
        active_connections,
        inactive_connections,
    };
    fields.next().is_none().then_some(destination)
}

/// Eight hexadecimal digits or an IPv6 address in brackets, a colon, and the port in hexadecimal.
fn parse_endpoint(text: &[u8]) -> Option<(IpAddr, u16)> {
    let (addr, port) = text.split_at(text.len().checked_sub(5)?);
    let port = u16::try_from(hexadecimal(port.strip_prefix(b":")?)?).ok()?;
    let addr = match addr.strip_prefix(b"[") {
        None if addr.len() == 8 => IpAddr::V4(Ipv4Addr::from_bits(hexadecimal(addr)?)),
        None => return None,
        Some(addr) => {
            let addr = std::str::from_utf8(addr.strip_suffix(b"]")?).ok()?;
            IpAddr::V6(addr.parse::<Ipv6Addr>().ok()?)
        }
    };
    Some((addr, port))
}

/// Up to eight digits.
fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| {
        let digit = char::from(*digit).to_digit(16)?;
        Some(number << 4 | digit)
    })
}

/// The kernel prints all of them as signed numbers.
fn number(text: &[u8]) -> Option<u32> {
    match text.strip_prefix(b"-") {
        Some(digits) => Some(decimal(digits)?.wrapping_neg()),
        None => decimal(text),
    }
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::model::key::Family;

    /// What Linux 6.1.176 printed for a TCP service with two kinds of tunnel and direct routing,
    /// one with masquerading, a UDP service with one-packet scheduling, an IPv6 service, an SCTP
    /// service and the firewall mark 7 of both families.
    const REAL: &str = include_str!("summary.txt");

    fn read(text: &str) -> Summaries {
        Summaries::read(text.as_bytes())
    }

    fn key(text: &str) -> ServiceKey {
        text.parse().unwrap()
    }

    fn shown(summaries: &Summaries, service: &str) -> Option<Vec<String>> {
        let show = |server: &DestinationSummary| {
            let DestinationSummary { forward, weight, .. } = server;
            let counts = [server.active_connections, server.inactive_connections];
            format!("{} {forward:?} {weight} {counts:?}", server.key())
        };
        summaries.get(&key(service)).map(|servers| servers.iter().map(show).collect())
    }

    #[test]
    fn a_kernels_file_is_read() {
        let table = read(REAL);
        assert_eq!(
            shown(&table, "tcp/192.0.2.1:80").unwrap(),
            [
                "[2001:db8::7]:80 Tunnel 1 [0, 0]",
                "10.0.0.3:80 Tunnel 1 [0, 0]",
                "10.0.0.1:80 DirectRoute 5 [0, 0]",
            ]
        );
        assert_eq!(shown(&table, "udp/192.0.2.1:53"), Some(Vec::new()));
        assert_eq!(shown(&table, "sctp/192.0.2.1:2905"), Some(Vec::new()));
        assert_eq!(
            shown(&table, "tcp/[2001:db8::1]:443").unwrap(),
            ["[2001:db8::8]:443 DirectRoute 0 [0, 0]"]
        );
        assert_eq!(shown(&table, "tcp/192.0.2.1:81"), None);
    }

    /// The kernel uses the same word for bypassing.
    #[test]
    fn masquerading_is_not_known() {
        let table = read(REAL);
        assert!(REAL.contains("TCP  C0000201:1F90") && REAL.contains("Masq"));
        assert_eq!(shown(&table, "tcp/192.0.2.1:8080"), None);
    }

    /// The file doesn't tell which of the two has the real servers.
    #[test]
    fn marks_are_not_known() {
        let table = read(REAL);
        for family in ["fwmark/7", "fwmark6/7"] {
            assert_eq!(shown(&table, family), None);
        }
        assert!(
            REAL.matches("FWM  00000007").count() == 2 && key("fwmark6/7").family() == Family::V6
        );
    }

    #[test]
    fn counts_and_limits_are_read() {
        let text = "TCP  C0000201:0050 wlc \n  -> 0A000001:FFFF      Tunnel  2147483647 12         \
                    4294967295         \n  -> 0A000001:0000      Local   -1     -2147483648 0 \n";
        assert_eq!(
            shown(&read(text), "tcp/192.0.2.1:80").unwrap(),
            [
                "10.0.0.1:65535 Tunnel 2147483647 [12, 4294967295]",
                "10.0.0.1:0 LocalNode 4294967295 [2147483648, 0]"
            ]
        );
    }

    #[test]
    fn a_list_that_breaks_off_or_is_not_understood_is_not_told() {
        let good = "TCP  C0000201:0050 wlc \n  -> 0A000001:0050      Route   1      0          0         \n";
        let torn = |end: &str| {
            read(&format!(
                "{good}UDP  C0000201:0035 rr \n{good_row}{end}",
                good_row = "  -> 0A000002:0035      Route   1      0          0         \n"
            ))
        };
        for end in [
            "  -> 0A0000",
            "  -> 0A000003:0035      Route   1      0          0         1\n",
            "  -> 0A000003:0035      Route   1      0\n",
            "  -> 0A000003:0035      Twisted 1      0          0         \n",
            "  -> 0A00003:0035      Route   1      0          0         \n",
            "  -> [::1:0035      Route   1      0          0         \n",
            "  -> 0A000003:0035      Route   4294967296      0          0         \n",
        ] {
            let table = torn(end);
            assert_eq!(shown(&table, "udp/192.0.2.1:53"), None, "{end}");
            assert_eq!(shown(&table, "tcp/192.0.2.1:80").unwrap().len(), 1, "{end}");
        }
        assert_eq!(shown(&torn(""), "udp/192.0.2.1:53").unwrap().len(), 1);
        // Of a protocol other than IPVS's, the file says nothing, and its real servers go to no
        // other service.
        let table =
            torn("IP_9  C0000201:0035 rr \n  -> 0A000009:0035      Route   1      0          0 \n");
        assert_eq!(shown(&table, "udp/192.0.2.1:53").unwrap().len(), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let row = "  -> 0A000001:0050      Route   1      0          0         \n";
        let text = format!(
            "TCP  C0000201:0050 wlc \n{row}UDP  C0000201:0050 wlc \n{}",
            row.repeat(MAX_PACKED / 10 + 2)
        );
        let table = read(&text);
        assert!((MAX_PACKED..MAX_PACKED + 16).contains(&table.packed.len()));
        assert_eq!(shown(&table, "tcp/192.0.2.1:80").unwrap().len(), 1);
        assert_eq!(shown(&table, "udp/192.0.2.1:80"), None);
        let many: String =
            (0..MAX_SERVICES + 1).map(|n| format!("TCP  {n:08X}:0050 wlc \n")).collect();
        assert_eq!(read(&many).services.len(), MAX_SERVICES);
        let endless = io::repeat(b'x').take(MAX_LINE * 2);
        assert_eq!(Summaries::read(BufReader::new(endless)), Summaries::default());
    }
}
