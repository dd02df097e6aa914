//! Connections, as listed in `/proc/net/ip_vs_conn`.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;
use crate::model::key::{Family, Protocol, ServiceKey};
use crate::model::name::PersistenceEngine;
use crate::procfs::fields::Fields;

/// Relative to `/proc`. `net` alone would be that of the process's first thread.
pub(crate) const PATH: &str = "thread-self/net/ip_vs_conn";

/// Bytes per read: the kernel itself returns no more than a page or two.
const BUFFER: usize = 64 * 1024;

/// Longer than any line that the kernel writes: the longest part, a persistence engine's data, has
/// at most 255 bytes (`IP_VS_PEDATA_MAXLEN`).
const MAX_LINE: u64 = 4096;

/// Numbers of seconds from here on stand for a time in the past: kernels that print
/// `(expires - jiffies) / HZ` as it is (before `jiffies_delta_to_msecs`) wrap it at 2^64, and with
/// any `HZ` up to 1024 the result is above this limit. It is also the largest integer range that
/// every JSON reader supports.
const PAST: u64 = 1 << 53;

/// A connection that IPVS tracks, or a persistence template.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The transport protocol; 0 (`IP`) for the template of a firewall mark.
    pub protocol: Protocol,
    /// The client's address and port. A template has the masked client address and port 0.
    pub client: SocketAddr,
    /// The address the client connected to: the virtual service's, or for a template of a firewall
    /// mark the mark in place of an address (see [`mark`](Self::mark)).
    pub virtual_addr: SocketAddr,
    /// The real server; through a tunnel it may be of the other address family.
    pub destination: SocketAddr,
    /// The state in the kernel's words, such as `ESTABLISHED`. They differ between protocols and
    /// kernels.
    pub state: Box<str>,
    /// The time until the connection expires if no more packets arrive; whole seconds. Zero if it
    /// has expired but is still listed.
    pub expires: Duration,
    /// The persistence engine that assigned it to a group of connections.
    pub persistence_engine: Option<PersistenceEngine>,
    /// The data that the persistence engine matches, such as the Call-ID for SIP. Not necessarily
    /// UTF-8.
    pub persistence_data: Option<Box<[u8]>>,
}

impl Connection {
    /// Whether this is a persistence template: not a connection, but a record of which real server
    /// a client's connections go to.
    ///
    /// Templates have client port 0. So does an expected FTP data connection, but its state is one
    /// of TCP's.
    pub fn is_template(&self) -> bool {
        self.client.port() == 0 && matches!(&*self.state, "NONE" | "ASSURED")
    }

    /// The firewall mark of the virtual service, if this is a template of one. The service's
    /// connections can't be recognised: they have the address that the client used.
    pub fn mark(&self) -> Option<NonZeroU32> {
        if self.protocol.number() != 0 {
            return None;
        }
        match self.virtual_addr.ip() {
            IpAddr::V4(mark) => NonZeroU32::new(mark.to_bits()),
            // The mark is where an IPv4 address would be, in the first 32 bits.
            IpAddr::V6(mark) => {
                let (mark, rest) = ((mark.to_bits() >> 96) as u32, mark.to_bits() << 32);
                NonZeroU32::new(mark).filter(|_| rest == 0)
            }
        }
    }

    /// Whether it belongs to the virtual service, as far as the list shows.
    ///
    /// A service for all ports (port 0) matches every connection to its address, even those to a
    /// port that has its own service. For the service of a firewall mark, only the
    /// [templates](Self::mark) match.
    ///
    /// ```no_run
    /// let mut client = ipvs::Client::connect()?;
    /// let web = "tcp/10.10.10.53:80".parse().unwrap();
    /// let mut established = 0;
    /// for connection in client.connections()? {
    ///     let connection = connection?;
    ///     established +=
    ///         u32::from(connection.belongs_to(&web) && &*connection.state == "ESTABLISHED");
    /// }
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn belongs_to(&self, service: &ServiceKey) -> bool {
        match *service {
            ServiceKey::Addr { protocol, addr, port } => {
                self.protocol == protocol
                    && self.virtual_addr.ip() == addr
                    && (port == 0 || self.virtual_addr.port() == port)
            }
            ServiceKey::Fwmark { family, mark } => {
                self.mark() == Some(mark) && Family::of(self.virtual_addr.ip()) == family
            }
        }
    }
}

/// An iterator over the connections of a network namespace. Its memory use doesn't grow with their
/// number.
///
/// A malformed line or an empty file ends the list with an error ([`ErrorKind::Protocol`]), as does
/// a failure to read ([`ErrorKind::Io`]).
///
/// The file isn't read in one instant, and the kernel follows its hash table: connections that
/// appear or disappear in the meantime may be missed, but none is made up. Up to Linux 6.13 the
/// time to read the file grows with the square of their number.
///
/// ```no_run
/// let mut client = ipvs::Client::connect()?;
/// for connection in client.connections()? {
///     let connection = connection?;
///     println!("{} -> {}", connection.client, connection.destination);
/// }
/// # Ok::<(), ipvs::Error>(())
/// ```
pub struct Connections<R = BufReader<Box<dyn Read + Send>>> {
    lines: R,
    line: Vec<u8>,
    number: u64,
    ended: bool,
}

impl Connections {
    pub(crate) fn of_file(file: Box<dyn Read + Send>) -> Self {
        Self::new(BufReader::with_capacity(BUFFER, file))
    }
}

impl<R: BufRead> Connections<R> {
    /// Reads lines in the form of `/proc/net/ip_vs_conn`, including its title line.
    pub fn new(lines: R) -> Self {
        Self { lines, line: Vec::new(), number: 0, ended: false }
    }

    /// Reads a line into `self.line`; false at the end.
    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.number += 1;
        let n = self.lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if n as u64 == MAX_LINE {
            return Err(self.malformed());
        }
        Ok(n > 0)
    }

    fn malformed(&self) -> io::Error {
        let line = String::from_utf8_lossy(&self.line).chars().take(100).collect::<String>();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("line {} is no connection: `{line}`", self.number),
        )
    }

    fn read_next(&mut self) -> io::Result<Option<Connection>> {
        if self.number == 0 && !self.read_line()? {
            // The kernel always writes the title.
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "not even a title line"));
        }
        if !self.read_line()? {
            return Ok(None);
        }
        parse(&self.line).map(Some).ok_or_else(|| self.malformed())
    }
}

impl<R> fmt::Debug for Connections<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("line", &self.number).finish_non_exhaustive()
    }
}

impl<R: BufRead> Iterator for Connections<R> {
    type Item = Result<Connection, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read_next();
        self.ended = !matches!(next, Ok(Some(_)));
        next.map_err(|cause| match cause.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                Error::new(Operation::Connections, None, ErrorKind::Protocol).with_source(cause)
            }
            _ => Error::from_io(Operation::Connections, None, cause),
        })
        .transpose()
    }
}

/// `Pro FromIP FPrt ToIP TPrt DestIP DPrt State Expires [PEName PEData]`, separated by blanks,
/// addresses as 8 hex digits or IPv6 text, ports as hex (`ip_vs_conn_seq_show`,
/// `net/netfilter/ipvs/ip_vs_conn.c`).
fn parse(line: &[u8]) -> Option<Connection> {
    let mut fields = Fields(line);
    let protocol = parse_protocol(fields.text()?)?;
    let client = parse_addr(fields.text()?, fields.text()?)?;
    let virtual_addr = parse_addr(fields.text()?, fields.text()?)?;
    let destination = parse_addr(fields.text()?, fields.text()?)?;
    let state = fields.text()?.into();
    let expires = fields.text()?.parse().ok()?;
    let expires = Duration::from_secs(if expires < PAST { expires } else { 0 });
    let (persistence_engine, persistence_data) = match fields.next() {
        Some(name) => (PersistenceEngine::new(name).ok(), Some(fields.rest().into())),
        None => (None, None),
    };
    Some(Connection {
        protocol,
        client,
        virtual_addr,
        destination,
        state,
        expires,
        persistence_engine,
        persistence_data,
    })
}

/// The names that `ip_vs_proto_name` writes.
fn parse_protocol(name: &str) -> Option<Protocol> {
    Some(match name {
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        "IP" => Protocol::Other(0),
        "ICMP" => Protocol::Other(1),
        "ICMPv6" => Protocol::Other(58),
        other => Protocol::from_number(other.strip_prefix("IP_")?.parse().ok()?),
    })
}

fn parse_addr(addr: &str, port: &str) -> Option<SocketAddr> {
    let addr = match addr.len() {
        8 if !addr.contains([':', '.']) => {
            IpAddr::from(Ipv4Addr::from_bits(u32::from_str_radix(addr, 16).ok()?))
        }
        _ => addr
            .parse::<Ipv6Addr>()
            .map(IpAddr::from)
            .or_else(|_| addr.parse::<Ipv4Addr>().map(IpAddr::from))
            .ok()?,
    };
    Some(SocketAddr::new(addr, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux 6.1.176 and 7.2.7 printed for a TCP service with persistence, a UDP service
    /// with an IPv6 server through a tunnel, a SIP service, a firewall mark and an IPv6 service.
    const REAL: &str = "\
Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData
UDP C0000201 BFB0 C0000201 0063 2001:0db8:ffff:0000:0000:0000:0000:0077 0063 UDP             299
TCP C0000201 B666 C0000201 0050 C000020A 0050 SYN_RECV         59
UDP C0000201 0000 C0000201 13C4 C000020C 13C4 NONE             59 sip abc-123@host
TCP C0000201 0000 C0000201 0050 C000020A 0050 NONE             59
IP  C0000201 0000 00000007 0000 C000020D 0000 NONE             49
TCP 2001:0db8:ffff:0000:0000:0000:0000:0001 E340 2001:0db8:ffff:0000:0000:0000:0000:0001 0050 2001:0db8:ffff:0000:0000:0000:0000:0010 1F90 SYN_RECV         59
";

    fn read(text: impl AsRef<[u8]>) -> Result<Vec<Connection>, Error> {
        Connections::new(text.as_ref()).collect()
    }

    #[test]
    fn what_kernels_print_is_read() {
        let all = read(REAL).unwrap();
        let seen: Vec<_> = all
            .iter()
            .map(|c| {
                format!(
                    "{} {} {} {} {} {}",
                    c.protocol,
                    c.client,
                    c.virtual_addr,
                    c.destination,
                    c.state,
                    c.expires.as_secs()
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                "udp 192.0.2.1:49072 192.0.2.1:99 [2001:db8:ffff::77]:99 UDP 299",
                "tcp 192.0.2.1:46694 192.0.2.1:80 192.0.2.10:80 SYN_RECV 59",
                "udp 192.0.2.1:0 192.0.2.1:5060 192.0.2.12:5060 NONE 59",
                "tcp 192.0.2.1:0 192.0.2.1:80 192.0.2.10:80 NONE 59",
                "proto-0 192.0.2.1:0 0.0.0.7:0 192.0.2.13:0 NONE 49",
                "tcp [2001:db8:ffff::1]:58176 [2001:db8:ffff::1]:80 [2001:db8:ffff::10]:8080 \
                 SYN_RECV 59",
            ]
        );
        assert_eq!(all[2].persistence_engine, Some(PersistenceEngine::SIP));
        assert_eq!(all[2].persistence_data.as_deref(), Some(&b"abc-123@host"[..]));
        assert_eq!(all[1].persistence_engine, None);
    }

    #[test]
    fn a_title_alone_holds_no_connection_and_an_empty_file_is_none() {
        assert_eq!(read("Pro FromIP ...\n").unwrap(), []);
        assert_eq!(read("").unwrap_err().kind(), ErrorKind::Protocol);
    }

    /// The first is 2^64 / 250, as a kernel with HZ 250 wrote it for an expired connection.
    #[test]
    fn times_in_the_past_are_zero() {
        for (expires, seconds) in [
            ("73786976294838206", 0),
            ("18014398509481983", 0),
            ("18446744073709551615", 0),
            ("9007199254740992", 0),
            ("9007199254740991", 9_007_199_254_740_991),
        ] {
            let line = "TCP 0A090003 0000 0A090001 0050 0A090002 2580 NONE";
            let all = read(format!("title\n{line} {expires:>23}\n")).unwrap();
            assert_eq!(all[0].expires, Duration::from_secs(seconds), "{expires}");
        }
    }

    #[test]
    fn long_persistence_data_is_read_whole() {
        let data = "x".repeat(255);
        let line = format!(
            "title\nUDP C0000201 0000 C0000201 13C4 C000020C 13C4 NONE {:>12} sip {data}\n",
            59
        );
        assert_eq!(read(line).unwrap()[0].persistence_data.as_deref(), Some(data.as_bytes()));
    }

    #[test]
    fn a_bad_line_is_an_error_that_shows_it_and_ends_the_list() {
        let mut connections = Connections::new(&b"title\nTCP rubbish\nTCP more\n"[..]);
        let error = connections.next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(
            error.to_string(),
            "cannot read the connections: the kernel's reply is malformed: line 2 is no \
             connection: `TCP rubbish`"
        );
        assert!(connections.next().is_none());
    }

    #[test]
    fn a_line_without_end_does_not_fill_memory() {
        let endless = BufReader::new(io::repeat(b'x'));
        let mut connections = Connections::new(endless);
        assert!(connections.next().unwrap().is_err());
        assert!(connections.line.capacity() < 3 * MAX_LINE as usize);
    }

    #[test]
    fn templates_and_marks_are_told_apart_from_connections() {
        let all = read(REAL).unwrap();
        let templates: Vec<_> = all.iter().map(Connection::is_template).collect();
        assert_eq!(templates, [false, false, true, true, true, false]);
        let marks: Vec<_> = all.iter().map(Connection::mark).collect();
        assert_eq!(marks, [None, None, None, None, NonZeroU32::new(7), None]);
        // The form that the integration tests read.
        let v6 = "title\nIP  2001:0db8:0000:0000:0000:0000:0000:0001 0000 \
                  0000:0007:0000:0000:0000:0000:0000:0000 0000 \
                  2001:0db8:0000:0000:0000:0000:0000:0010 0000 ASSURED 49\n";
        let v6 = &read(v6).unwrap()[0];
        assert_eq!((v6.mark(), v6.is_template()), (NonZeroU32::new(7), true));
        // An FTP data connection before its first packet.
        let listening = "title\nTCP C0000201 0000 C0000201 0014 C000020A 0014 LISTEN 49\n";
        assert!(!read(listening).unwrap()[0].is_template());
    }

    #[test]
    fn connections_belong_to_services() {
        let all = read(REAL).unwrap();
        let which = |service: &str| -> Vec<usize> {
            let key = service.parse().unwrap();
            (0..all.len()).filter(|i| all[*i].belongs_to(&key)).collect()
        };
        assert_eq!(which("tcp/192.0.2.1:80"), [1, 3]);
        assert_eq!(which("tcp/192.0.2.1:0"), [1, 3]);
        assert_eq!(which("udp/192.0.2.1:80"), []);
        assert_eq!(which("udp/192.0.2.1:99"), [0]);
        assert_eq!(which("tcp/[2001:db8:ffff::1]:80"), [5]);
        assert_eq!(which("fwmark/7"), [4]);
        assert_eq!(which("fwmark6/7"), []);
        assert_eq!(which("fwmark/8"), []);
    }

    #[test]
    fn fields_and_states_that_are_not_known_do_not_end_the_list() {
        let text = "title\n\
                    TCP C0000201 B666 C0000201 0050 C000020A 0050 BRAND_NEW 59 - - more of it\n\
                    TCP C0000201 B667 C0000201 0050 C000020A 0050 SYN_RECV 59\n";
        let all = read(text).unwrap();
        assert_eq!((all.len(), &*all[0].state), (2, "BRAND_NEW"));
    }

    #[test]
    fn memory_does_not_grow_with_their_number() {
        const COUNT: usize = 1_000_000;
        let line = b"TCP C0000201 B666 C0000201 0050 C000020A 0050 SYN_RECV         59\n";
        let lines = BufReader::new(Cycle { line, at: 0, left: line.len() * (COUNT + 1) });
        let mut connections = Connections::new(lines);
        assert_eq!(connections.by_ref().map(Result::unwrap).count(), COUNT);
        assert!(connections.line.capacity() <= MAX_LINE as usize);
    }

    /// Repeats one line.
    struct Cycle<'a> {
        line: &'a [u8],
        at: usize,
        left: usize,
    }

    impl Read for Cycle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let rest = &self.line[self.at..];
            let count = rest.len().min(buffer.len()).min(self.left);
            buffer[..count].copy_from_slice(&rest[..count]);
            self.at = (self.at + count) % self.line.len();
            self.left -= count;
            Ok(count)
        }
    }
}
