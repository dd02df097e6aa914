//! The form of requests on their way from the director to a real server.

use std::net::IpAddr;

use ipvs::{GueChecksum, Tunnel};

/// Requests from one client to a virtual service, forwarded to one real server.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded {
    /// The client's address.
    pub client: IpAddr,
    /// The virtual service's address.
    pub vip: IpAddr,
    /// The virtual service's port.
    pub port: u16,
    /// The real server that the director forwards them to.
    pub server: IpAddr,
}

/// The IP protocol number of TCP.
const TCP: u32 = 6;

impl Forwarded {
    /// A filter (pcap-filter(7)) for the first packet of each connection as direct routing forwards
    /// it: to the real server's MAC address, otherwise unchanged.
    pub fn by_direct_routing(&self, mac: &str) -> String {
        let Self { client, vip, port, .. } = self;
        let addresses = format!("src host {client} and dst host {vip} and tcp dst port {port}");
        format!("ether dst {mac} and {addresses} and {}", Header::at(*vip, 0).syn())
    }

    /// The same for masquerading: only the destination changes, to port `port`.
    pub fn by_masquerading(&self, port: u16) -> String {
        let Self { client, server, .. } = self;
        let addresses = format!("src host {client} and dst host {server} and tcp dst port {port}");
        format!("{addresses} and {}", Header::at(*server, 0).syn())
    }

    /// The same for a tunnel: the whole packet follows the tunnel's headers (RFC 2003, 2473, 2784;
    /// `net/gue.h`), whose source address is the director's own, `director`.
    pub fn by_tunnel(&self, director: IpAddr, tunnel: Tunnel) -> String {
        let outer = Header::at(self.server, 0);
        let after = outer.size();
        let (carrier, wrapping) = match tunnel {
            Tunnel::Gue { port, checksum } => {
                let mut parts = vec![
                    format!("udp dst port {port}"),
                    outer.is(after + 9, 1, self.protocol_inside()),
                ];
                let sum = outer.is(after + 6, 2, 0);
                parts.push(if checksum == GueChecksum::None { sum } else { format!("not {sum}") });
                // Length in words, and flags, of the GUE header. Remote checksum takes one word of
                // private flags and one for itself.
                let words = if checksum == GueChecksum::Remote { 2 } else { 0 };
                parts.push(outer.is(after + 8, 1, words));
                parts.push(outer.is(after + 10, 2, u32::from(words > 0)));
                if words > 0 {
                    parts.push(outer.is(after + 12, 4, 0x8000_0000));
                }
                (8 + 4 + 4 * words, parts)
            }
            Tunnel::Gre { checksum } => {
                let kind = if self.vip.is_ipv6() { 0x86dd } else { 0x0800 };
                let parts = vec![
                    outer.protocol(47),
                    outer.is(after, 2, if checksum { 0x8000 } else { 0 }),
                    outer.is(after + 2, 2, kind),
                ];
                (if checksum { 8 } else { 4 }, parts)
            }
            _ => (0, vec![outer.protocol(self.protocol_inside())]),
        };
        let addresses = format!("src host {director} and dst host {}", self.server);
        let inside = self.request_at(Header { start: after + carrier, ..outer });
        [addresses, wrapping.join(" and "), inside].join(" and ")
    }

    /// The IP protocol number of the virtual service's IP version.
    fn protocol_inside(&self) -> u32 {
        if self.vip.is_ipv6() { 41 } else { 4 }
    }

    /// The unchanged first packet of a connection, at the position of this header.
    fn request_at(&self, place: Header) -> String {
        let inner = Header { inside: self.vip.is_ipv6(), ..place };
        let [client, vip] = [self.client, self.vip].map(|addr| match addr {
            IpAddr::V4(addr) => vec![addr.to_bits()],
            IpAddr::V6(addr) => {
                (0..4).rev().map(|word| (addr.to_bits() >> (32 * word)) as u32).collect()
            }
        });
        let mut parts = vec![inner.protocol(TCP)];
        let addresses = inner.start + inner.size() - 4 * (client.len() + vip.len()) as u32;
        for (at, word) in (addresses..).step_by(4).zip(client.into_iter().chain(vip)) {
            parts.push(inner.is(at, 4, word));
        }
        parts.push(inner.is(inner.end() + 2, 2, self.port.into()));
        parts.push(inner.syn());
        parts.join(" and ")
    }
}

/// An IP header, positioned relative to the packet's first.
#[derive(Clone, Copy)]
struct Header {
    /// Whether the packet's first IP header is IPv6.
    outside: bool,
    /// Whether this header is IPv6.
    inside: bool,
    start: u32,
}

impl Header {
    fn at(addr: IpAddr, start: u32) -> Self {
        Self { outside: addr.is_ipv6(), inside: addr.is_ipv6(), start }
    }

    fn size(self) -> u32 {
        if self.inside { 40 } else { 20 }
    }

    fn end(self) -> u32 {
        self.start + self.size()
    }

    /// Tests that `size` bytes at an offset have a value.
    fn is(self, at: u32, size: u32, value: u32) -> String {
        let packet = if self.outside { "ip6" } else { "ip" };
        format!("{packet}[{at}:{size}] = {value:#x}")
    }

    fn protocol(self, number: u32) -> String {
        let at = if self.inside { 6 } else { 9 };
        self.is(self.start + at, 1, number)
    }

    /// Tests that the TCP header after it has the flag SYN and not ACK.
    fn syn(self) -> String {
        let packet = if self.outside { "ip6" } else { "ip" };
        format!("{packet}[{}:1] & 0x12 = 2", self.end() + 13)
    }
}
