//! What identifies a virtual service and a real server.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::str::FromStr;

use ipvs_os::InetNtop;
use thiserror::Error;

/// The family of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4 (`AF_INET`).
    V4,
    /// IPv6 (`AF_INET6`).
    V6,
}

impl Family {
    /// The family of `addr`.
    pub fn of(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }
}

/// A transport protocol that IPVS can balance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// TCP, number 6.
    Tcp,
    /// UDP, number 17.
    Udp,
    /// SCTP, number 132.
    Sctp,
    /// Any other number of <https://www.iana.org/assignments/protocol-numbers>. Kernels up to
    /// Linux 7.2 balance none, but a listing from one that does still reads.
    Other(u16),
}

impl Protocol {
    /// The protocol's IANA number.
    pub fn number(self) -> u16 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }

    /// The protocol of an IANA number.
    pub fn from_number(number: u16) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.pad("tcp"),
            Self::Udp => f.pad("udp"),
            Self::Sctp => f.pad("sctp"),
            Self::Other(number) => write!(f, "proto-{number}"),
        }
    }
}

/// What identifies a virtual service: an address that clients connect to, or a firewall mark
/// that the director's own rules put on packets.
///
/// As text it is `tcp/10.10.10.53:80`, `udp/[2001:db8::53]:53`, `fwmark/7` or, for a mark on
/// IPv6 packets, `fwmark6/7`; [`FromStr`] reads what [`Display`](fmt::Display) writes.
///
/// ```
/// use ipvs::{Protocol, ServiceKey};
///
/// let key = ServiceKey::tcp("10.10.10.53:80".parse()?);
/// assert_eq!(key.to_string(), "tcp/10.10.10.53:80");
/// assert_eq!("tcp/10.10.10.53:80".parse::<ServiceKey>()?, key);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceKey {
    /// A virtual IP address and port.
    Addr {
        /// The transport protocol.
        protocol: Protocol,
        /// The virtual IP address (VIP).
        addr: IpAddr,
        /// The port; 0 stands for all ports, which the kernel only honours for persistent
        /// services.
        port: u16,
    },
    /// Packets that carry a firewall mark. The same mark can have a service for each family.
    Fwmark {
        /// Which packets: IPv4 or IPv6.
        family: Family,
        /// The mark; 0 means "no mark" to the kernel and can't be a service.
        mark: NonZeroU32,
    },
}

impl ServiceKey {
    /// The TCP service at `addr`.
    pub fn tcp(addr: SocketAddr) -> Self {
        Self::at(Protocol::Tcp, addr)
    }

    /// The UDP service at `addr`.
    pub fn udp(addr: SocketAddr) -> Self {
        Self::at(Protocol::Udp, addr)
    }

    /// The SCTP service at `addr`.
    pub fn sctp(addr: SocketAddr) -> Self {
        Self::at(Protocol::Sctp, addr)
    }

    fn at(protocol: Protocol, addr: SocketAddr) -> Self {
        Self::Addr { protocol, addr: addr.ip(), port: addr.port() }
    }

    /// The service of packets of one family that carry a firewall mark.
    pub fn fwmark(family: Family, mark: NonZeroU32) -> Self {
        Self::Fwmark { family, mark }
    }

    /// The family of the packets it takes.
    pub fn family(&self) -> Family {
        match *self {
            Self::Addr { addr, .. } => Family::of(addr),
            Self::Fwmark { family, .. } => family,
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Addr { protocol, addr, port } => {
                write!(f, "{protocol}/{}", DestinationKey { addr, port })
            }
            Self::Fwmark { family: Family::V4, mark } => write!(f, "fwmark/{mark}"),
            Self::Fwmark { family: Family::V6, mark } => write!(f, "fwmark6/{mark}"),
        }
    }
}

/// A text that is no [`ServiceKey`] or [`DestinationKey`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not {expected}")]
pub struct ParseKeyError {
    text: String,
    expected: &'static str,
}

impl FromStr for ServiceKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        parse_service_key(text).ok_or_else(|| ParseKeyError {
            text: text.to_owned(),
            expected: "a virtual service such as tcp/10.0.0.1:80, udp/[2001:db8::1]:53, fwmark/7 \
                       or fwmark6/7",
        })
    }
}

fn parse_service_key(text: &str) -> Option<ServiceKey> {
    let (kind, rest) = text.split_once('/')?;
    let mark = |family| Some(ServiceKey::Fwmark { family, mark: rest.parse().ok()? });
    let protocol = match kind {
        "fwmark" => return mark(Family::V4),
        "fwmark6" => return mark(Family::V6),
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => Protocol::from_number(other.strip_prefix("proto-")?.parse().ok()?),
    };
    Some(ServiceKey::at(protocol, parse_addr(rest)?))
}

/// An address and port without an IPv6 zone, which IPVS has no place for.
fn parse_addr(text: &str) -> Option<SocketAddr> {
    text.parse().ok().filter(|_| !text.contains('%'))
}

/// What identifies a real server (destination) within its virtual service.
///
/// As text it is `10.10.10.102:80` or `[2001:db8::102]:80`, and addresses are written as
/// `ipvsadm` lists them: `[::10.0.0.2]:80` for an IPv4-compatible one, as `inet_ntop(3)` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    /// The real server's address.
    pub addr: IpAddr,
    /// The real server's port.
    pub port: u16,
}

impl DestinationKey {
    /// The real server at `addr` and `port`.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr, port }
    }
}

impl From<SocketAddr> for DestinationKey {
    fn from(addr: SocketAddr) -> Self {
        Self { addr: addr.ip(), port: addr.port() }
    }
}

impl fmt::Display for DestinationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(addr) => SocketAddr::from((addr, self.port)).fmt(f),
            IpAddr::V6(_) => f.pad(&format!("[{}]:{}", InetNtop(self.addr), self.port)),
        }
    }
}

impl FromStr for DestinationKey {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        parse_addr(text).map(Self::from).ok_or_else(|| ParseKeyError {
            text: text.to_owned(),
            expected: "an address and port such as 10.0.0.1:80 or [2001:db8::1]:80",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_what_they_write() {
        for text in [
            "tcp/10.10.10.53:80",
            "udp/[2001:db8::53]:53",
            "tcp/[::10.0.0.2]:80",
            "tcp/[::ffff:10.0.0.2]:80",
            "sctp/192.0.2.1:0",
            "proto-47/192.0.2.1:9",
            "fwmark/4294967295",
            "fwmark6/7",
        ] {
            assert_eq!(text.parse::<ServiceKey>().map(|k| k.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for text in [
            "",
            "tcp",
            "tcp/",
            "tcp/10.0.0.1",
            "tcp/10.0.0.1:65536",
            "tcp/2001:db8::1:80",
            "tcp/[fe80::1%2]:80",
            "icmp/10.0.0.1:1",
            "fwmark/0",
            "fwmark/4294967296",
            "proto-70000/10.0.0.1:1",
        ] {
            assert!(text.parse::<ServiceKey>().is_err(), "{text}");
        }
    }
}
