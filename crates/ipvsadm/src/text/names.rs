//! Addresses and ports as text: parsing them from the command line, and formatting them for lists.

use std::collections::HashMap;
use std::ffi::CStr;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs::Protocol;
use ipvs_os::InetNtop;

use crate::text::line_buffer::LineBuffer as _;
use crate::text::numbers;

/// Where names are looked up: the system, or a table in tests.
pub trait Resolver {
    /// The first IPv4 address of a host.
    fn host_by_name(&self, name: &[u8]) -> Option<Ipv4Addr>;
    /// The canonical name of a host.
    fn host_by_addr(&self, addr: IpAddr) -> Option<Vec<u8>>;
    /// The port of a service.
    fn service_by_name(&self, name: &[u8], protocol: &CStr) -> Option<u16>;
    /// The name of a service.
    fn service_by_port(&self, port: u16, protocol: &CStr) -> Option<Vec<u8>>;
}

/// The names that the system knows (`nsswitch.conf`).
#[derive(Debug)]
pub(crate) struct SystemNames;

impl Resolver for SystemNames {
    fn host_by_name(&self, name: &[u8]) -> Option<Ipv4Addr> {
        ipvs_os::host_by_name(name)
    }

    fn host_by_addr(&self, addr: IpAddr) -> Option<Vec<u8>> {
        ipvs_os::host_by_addr(addr)
    }

    fn service_by_name(&self, name: &[u8], protocol: &CStr) -> Option<u16> {
        ipvs_os::service_by_name(name, protocol)
    }

    fn service_by_port(&self, port: u16, protocol: &CStr) -> Option<Vec<u8>> {
        ipvs_os::service_by_port(port, protocol)
    }
}

/// The name of a protocol in `/etc/services`.
fn protocol_name(protocol: Protocol) -> Option<&'static CStr> {
    match protocol {
        Protocol::Tcp => Some(c"tcp"),
        Protocol::Udp => Some(c"udp"),
        Protocol::Sctp => Some(c"sctp"),
        _ => None,
    }
}

/// An address, and the port if one was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) addr: IpAddr,
    pub(crate) port: Option<u16>,
}

/// Reads `HOST[:PORT]`. Port names are those of `protocol`; without one, no names are known.
///
/// The steps are the C program's. Some are surprising: an IPv6 address in brackets needs a port, one
/// without brackets can't have any, and an IPv4 address in brackets loses its port.
pub(crate) fn parse_endpoint(
    text: &[u8],
    protocol: Option<Protocol>,
    names: &dyn Resolver,
) -> Option<Endpoint> {
    if text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let (host, port_after_bracket) = match text.strip_prefix(b"[") {
        Some(text) => {
            let end = text.iter().position(|b| *b == b']')?;
            (&text[..end], Some(text[end + 1..].strip_prefix(b":")?))
        }
        None => (text, None),
    };
    let (addr, port) = match parse_ipv6(host) {
        Some(addr) => (IpAddr::V6(addr), port_after_bracket),
        None => {
            let (host, port) = split_at_last_colon(host);
            (IpAddr::V4(parse_ipv4_or_host(host, names)?), port)
        }
    };
    let port = match port {
        Some(port) => Some(parse_port(port, protocol, names)?),
        None => None,
    };
    Some(Endpoint { addr, port })
}

pub(crate) fn parse_ipv6(text: &[u8]) -> Option<Ipv6Addr> {
    // A fast path for other texts: an IPv6 address has at least two colons.
    text.iter().filter(|byte| **byte == b':').nth(1)?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Reads an IPv4 address as `inet_aton` does, or a host name.
pub(crate) fn parse_ipv4_or_host(text: &[u8], names: &dyn Resolver) -> Option<Ipv4Addr> {
    ipvs_os::parse_ipv4_lenient(text).or_else(|| names.host_by_name(text))
}

fn split_at_last_colon(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().rposition(|b| *b == b':') {
        Some(colon) => (&text[..colon], Some(&text[colon + 1..])),
        None => (text, None),
    }
}

fn parse_port(text: &[u8], protocol: Option<Protocol>, names: &dyn Resolver) -> Option<u16> {
    numbers::parse(text, 0..=65535)
        .or_else(|| names.service_by_name(text, protocol.and_then(protocol_name)?))
}

/// The longest text of an address with its port, in bytes, as in the C program: the rest is cut off.
const ENDPOINT_MAX: usize = 59;

/// Writes addresses with their ports, as names or numbers. Each name is looked up once.
pub(crate) struct EndpointText<'a> {
    /// `None` for numbers.
    names: Option<&'a dyn Resolver>,
    hosts: HashMap<IpAddr, Option<Vec<u8>>>,
    services: HashMap<(&'static CStr, u16), Option<Vec<u8>>>,
}

impl<'a> EndpointText<'a> {
    pub(crate) fn new(numeric: bool, names: &'a dyn Resolver) -> Self {
        let names = (!numeric).then_some(names);
        Self { names, hosts: HashMap::new(), services: HashMap::new() }
    }

    /// Numbers only, without a resolver.
    pub(crate) fn of_numbers() -> EndpointText<'static> {
        EndpointText { names: None, hosts: HashMap::new(), services: HashMap::new() }
    }

    /// Appends `HOST:PORT`, with brackets around an IPv6 address or its name. Ports have names only
    /// within a protocol, so those of firewall-mark services are always numbers.
    pub(crate) fn endpoint(
        &mut self,
        line: &mut Vec<u8>,
        addr: IpAddr,
        port: u16,
        protocol: Option<Protocol>,
    ) {
        let start = line.len();
        if addr.is_ipv6() {
            line.push(b'[');
        }
        self.host(line, addr);
        if addr.is_ipv6() {
            line.push(b']');
        }
        line.push(b':');
        self.port(line, port, protocol);
        line.truncate(start + ENDPOINT_MAX);
    }

    fn host(&mut self, line: &mut Vec<u8>, addr: IpAddr) {
        let name = self.names.and_then(|names| {
            self.hosts.entry(addr).or_insert_with(|| names.host_by_addr(addr)).as_deref()
        });
        match (name, addr) {
            (Some(name), _) => line.extend_from_slice(name),
            (None, IpAddr::V4(addr)) => {
                for (place, octet) in addr.octets().into_iter().enumerate() {
                    if place > 0 {
                        line.push(b'.');
                    }
                    line.number(octet.into());
                }
            }
            // Writing to a vector doesn't fail.
            (None, IpAddr::V6(_)) => drop(write!(line, "{}", InetNtop(addr))),
        }
    }

    fn port(&mut self, line: &mut Vec<u8>, port: u16, protocol: Option<Protocol>) {
        let name =
            self.names.zip(protocol.and_then(protocol_name)).and_then(|(names, protocol)| {
                self.services
                    .entry((protocol, port))
                    .or_insert_with(|| names.service_by_port(port, protocol))
                    .as_deref()
            });
        match name {
            Some(name) => line.extend_from_slice(name),
            None => line.number(port.into()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Some of the hosts and services with which the C program showed the behaviour below.
    pub(crate) struct TestNames;

    impl Resolver for TestNames {
        fn host_by_name(&self, name: &[u8]) -> Option<Ipv4Addr> {
            match name {
                b"vip1" | b"vip1.example.test" => Some(Ipv4Addr::new(10, 0, 0, 1)),
                b"localhost" => Some(Ipv4Addr::LOCALHOST),
                b"mask24" => Some(Ipv4Addr::new(255, 255, 255, 0)),
                _ => None,
            }
        }

        fn host_by_addr(&self, addr: IpAddr) -> Option<Vec<u8>> {
            let name: &[u8] = match addr.to_string().as_str() {
                "10.0.0.1" => b"vip1.example.test",
                "192.168.10.3" => b"real-server-with-a-very-long-name.subdomain.example.test",
                "2001:db8::10" => b"v6rs1",
                _ => return None,
            };
            Some(name.to_vec())
        }

        fn service_by_name(&self, name: &[u8], protocol: &CStr) -> Option<u16> {
            match (name, protocol.to_bytes()) {
                (b"http", b"tcp") => Some(80),
                (b"domain", b"tcp" | b"udp") => Some(53),
                (b"syslog", b"udp") => Some(514),
                (b"m3ua", b"sctp") => Some(2905),
                _ => None,
            }
        }

        fn service_by_port(&self, port: u16, protocol: &CStr) -> Option<Vec<u8>> {
            match (port, protocol.to_bytes()) {
                (80, b"tcp") => Some(b"http".to_vec()),
                (53, b"udp") => Some(b"domain".to_vec()),
                _ => None,
            }
        }
    }

    fn endpoint(text: &str) -> Option<(String, Option<u16>)> {
        parse_endpoint(text.as_bytes(), Some(Protocol::Tcp), &TestNames)
            .map(|e| (e.addr.to_string(), e.port))
    }

    #[test]
    fn endpoints_are_read_step_by_step() {
        for (text, addr, port) in [
            ("10.0.0.1:80", "10.0.0.1", Some(80)),
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:http", "10.0.0.1", Some(80)),
            ("10.0.0.1:+80", "10.0.0.1", Some(80)),
            ("10.0.0.1: 80", "10.0.0.1", Some(80)),
            ("10.0.0.1:-0", "10.0.0.1", Some(0)),
            ("vip1:http", "10.0.0.1", Some(80)),
            ("vip1", "10.0.0.1", None),
            ("10.1", "10.0.0.1", None),
            ("167772161:80", "10.0.0.1", Some(80)),
            ("10.0.0.1 junk:81", "10.0.0.1", Some(81)),
            ("[2001:db8::1]:80", "2001:db8::1", Some(80)),
            ("2001:db8::1:80", "2001:db8::1:80", None),
            ("2001:db8::1", "2001:db8::1", None),
            ("[10.0.0.1]:80", "10.0.0.1", None),
            ("[10.0.0.1]:junk", "10.0.0.1", None),
            ("[10.0.0.5:80]:81", "10.0.0.5", Some(80)),
        ] {
            assert_eq!(endpoint(text), Some((addr.to_owned(), port)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_endpoints() {
        for text in [
            "",
            "80",
            "10.0.0.1:",
            "10.0.0.1:65536",
            "10.0.0.1:HTTP",
            "10.0.0.1:syslog",
            "10.0.0.1:99999999999999999999",
            " 10.0.0.1:80",
            "nosuchhost:80",
            "v6rs1:80",
            "[::1]",
            "[::1",
            "[::1]80",
            "[fe80::1%eth0]:80",
            "[2001:db8::1]:",
        ] {
            assert_eq!(endpoint(text), None, "{text}");
        }
    }

    #[test]
    fn port_names_belong_to_a_protocol() {
        let port = |name: &str, protocol| parse_port(name.as_bytes(), protocol, &TestNames);
        assert_eq!(port("syslog", Some(Protocol::Udp)), Some(514));
        assert_eq!(port("m3ua", Some(Protocol::Sctp)), Some(2905));
        assert_eq!(port("http", None), None);
        assert_eq!(port("80", None), Some(80));
    }

    fn text(numeric: bool, addr: &str, port: u16, protocol: Option<Protocol>) -> String {
        let mut text = Vec::new();
        let addr = addr.parse().unwrap();
        EndpointText::new(numeric, &TestNames).endpoint(&mut text, addr, port, protocol);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn endpoints_are_shown_by_name_or_number() {
        let tcp = Some(Protocol::Tcp);
        assert_eq!(text(true, "10.0.0.1", 80, tcp), "10.0.0.1:80");
        assert_eq!(text(false, "10.0.0.1", 80, tcp), "vip1.example.test:http");
        assert_eq!(text(false, "10.0.0.1", 80, None), "vip1.example.test:80");
        assert_eq!(text(false, "10.0.0.1", 53, tcp), "vip1.example.test:53");
        assert_eq!(text(false, "10.9.9.9", 53, Some(Protocol::Udp)), "10.9.9.9:domain");
        assert_eq!(text(true, "2001:db8::10", 80, tcp), "[2001:db8::10]:80");
        assert_eq!(text(false, "2001:db8::10", 80, tcp), "[v6rs1]:http");
        // As glibc's inet_ntop(3) writes it, unlike Rust.
        assert_eq!(text(true, "::a00:2", 80, tcp), "[::10.0.0.2]:80");
    }

    #[test]
    fn long_texts_are_cut() {
        assert_eq!(
            text(false, "192.168.10.3", 8080, Some(Protocol::Tcp)),
            "real-server-with-a-very-long-name.subdomain.example.test:80",
        );
    }
}
