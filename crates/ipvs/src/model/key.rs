//! What identifies a virtual service and a real server.

use std::fmt;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
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
    /// Any other number of <https://www.iana.org/assignments/protocol-numbers>. Kernels up to Linux
    /// 7.2 balance none of them, but lists from a kernel that does can be read.
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

impl FromStr for Protocol {
    type Err = ParseKeyError;

    /// Reads what [`Display`](fmt::Display) writes, in upper case too.
    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        parse_protocol(&text.to_ascii_lowercase()).ok_or_else(|| ParseKeyError {
            text: text.to_owned(),
            expected: "a protocol such as tcp, udp, sctp or proto-47",
        })
    }
}

fn parse_protocol(text: &str) -> Option<Protocol> {
    Some(match text {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        other => Protocol::from_number(other.strip_prefix("proto-")?.parse().ok()?),
    })
}

/// What identifies a virtual service: an address that clients connect to, or a firewall mark that
/// the director's own rules set on packets.
///
/// As text it is `tcp/10.10.10.53:80`, `udp/[2001:db8::53]:53`, `fwmark/7` or, for a mark on
/// IPv6 packets, `fwmark6/7`; [`FromStr`] reads what [`Display`](fmt::Display) writes, in upper
/// case too.
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
        /// The port; 0 stands for all ports, which the kernel only supports for persistent
        /// services.
        port: u16,
    },
    /// Packets with a firewall mark. The same mark can have a service for each family.
    Fwmark {
        /// Which packets: IPv4 or IPv6.
        family: Family,
        /// The mark; 0 means "no mark" to the kernel and can't be a service.
        mark: NonZeroU32,
    },
}

impl ServiceKey {
    /// The service of `protocol` at an address and port.
    ///
    /// ```
    /// use ipvs::{Protocol, ServiceKey};
    ///
    /// let key = ServiceKey::new(Protocol::Udp, "10.10.10.53:53".parse()?);
    /// assert_eq!((key.protocol(), key.port()), (Some(Protocol::Udp), Some(53)));
    /// # Ok::<(), ipvs::ParseKeyError>(())
    /// ```
    pub fn new(protocol: Protocol, endpoint: Endpoint) -> Self {
        Self::Addr { protocol, addr: endpoint.addr, port: endpoint.port }
    }

    /// The TCP service at an address and port.
    pub fn tcp(endpoint: Endpoint) -> Self {
        Self::new(Protocol::Tcp, endpoint)
    }

    /// The UDP service at an address and port.
    pub fn udp(endpoint: Endpoint) -> Self {
        Self::new(Protocol::Udp, endpoint)
    }

    /// The SCTP service at an address and port.
    pub fn sctp(endpoint: Endpoint) -> Self {
        Self::new(Protocol::Sctp, endpoint)
    }

    /// The service for packets of one family with a firewall mark.
    pub fn fwmark(family: Family, mark: NonZeroU32) -> Self {
        Self::Fwmark { family, mark }
    }

    /// The family of its packets.
    pub fn family(&self) -> Family {
        match *self {
            Self::Addr { addr, .. } => Family::of(addr),
            Self::Fwmark { family, .. } => family,
        }
    }

    /// The transport protocol; `None` for a firewall mark, which packets of any protocol can have.
    pub fn protocol(&self) -> Option<Protocol> {
        match *self {
            Self::Addr { protocol, .. } => Some(protocol),
            Self::Fwmark { .. } => None,
        }
    }

    /// The virtual IP address; `None` for a firewall mark.
    pub fn addr(&self) -> Option<IpAddr> {
        self.endpoint().map(|endpoint| endpoint.addr)
    }

    /// The port, 0 for all ports; `None` for a firewall mark.
    pub fn port(&self) -> Option<u16> {
        self.endpoint().map(|endpoint| endpoint.port)
    }

    /// The virtual IP address and port; `None` for a firewall mark.
    pub fn endpoint(&self) -> Option<Endpoint> {
        match *self {
            Self::Addr { addr, port, .. } => Some(Endpoint { addr, port }),
            Self::Fwmark { .. } => None,
        }
    }

    /// The firewall mark; `None` for an address.
    pub fn mark(&self) -> Option<NonZeroU32> {
        match *self {
            Self::Addr { .. } => None,
            Self::Fwmark { mark, .. } => Some(mark),
        }
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Addr { protocol, addr, port } => {
                write!(f, "{protocol}/{}", Endpoint { addr, port })
            }
            Self::Fwmark { family: Family::V4, mark } => write!(f, "fwmark/{mark}"),
            Self::Fwmark { family: Family::V6, mark } => write!(f, "fwmark6/{mark}"),
        }
    }
}

/// A text that is no [`ServiceKey`], [`Endpoint`] or [`Protocol`].
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
    match kind.to_ascii_lowercase().as_str() {
        "fwmark" => mark(Family::V4),
        "fwmark6" => mark(Family::V6),
        protocol => Some(ServiceKey::new(parse_protocol(protocol)?, rest.parse().ok()?)),
    }
}

/// An address and a port. IPVS can't represent the scope of an IPv6 address, as in
/// `[fe80::1%eth0]:80`, so a [`SocketAddr`] with one is refused.
///
/// As text it is `10.10.10.102:80` or `[2001:db8::102]:80`, and addresses are written as
/// `ipvsadm` lists them: `[::10.0.0.2]:80` for an IPv4-compatible one, as `inet_ntop(3)` does.
///
/// ```
/// use std::net::{IpAddr, SocketAddr};
/// use ipvs::Endpoint;
///
/// let endpoint: Endpoint = "10.10.10.102:80".parse()?;
/// let (addr, port): (IpAddr, u16) = ("10.10.10.102".parse()?, 80);
/// assert_eq!(Endpoint::from((addr, port)), endpoint);
/// assert_eq!(SocketAddr::from(endpoint).port(), 80);
///
/// let scoped: SocketAddr = "[fe80::1%2]:80".parse()?;
/// assert!(Endpoint::try_from(scoped).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub addr: IpAddr,
    /// The port.
    pub port: u16,
}

/// The key of a real server (destination) within its virtual service: its address and port.
pub type DestinationKey = Endpoint;

/// A [`SocketAddr`] whose IPv6 address has a scope, which IPVS can't represent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{0}: IPVS can't represent the scope of an IPv6 address")]
pub struct ScopeError(SocketAddr);

impl Endpoint {
    /// That address and port.
    pub fn new(addr: IpAddr, port: u16) -> Self {
        Self { addr, port }
    }
}

impl TryFrom<SocketAddr> for Endpoint {
    type Error = ScopeError;

    fn try_from(addr: SocketAddr) -> Result<Self, ScopeError> {
        match addr {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => Err(ScopeError(addr)),
            _ => Ok(Self { addr: addr.ip(), port: addr.port() }),
        }
    }
}

impl From<SocketAddrV4> for Endpoint {
    fn from(addr: SocketAddrV4) -> Self {
        Self { addr: (*addr.ip()).into(), port: addr.port() }
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for Endpoint {
    fn from((addr, port): (I, u16)) -> Self {
        Self { addr: addr.into(), port }
    }
}

/// So that functions that take a key also take a reference to one.
impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        *endpoint
    }
}

impl From<Endpoint> for SocketAddr {
    fn from(endpoint: Endpoint) -> Self {
        Self::new(endpoint.addr, endpoint.port)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.addr {
            IpAddr::V4(addr) => SocketAddr::from((addr, self.port)).fmt(f),
            IpAddr::V6(_) => f.pad(&format!("[{}]:{}", InetNtop(self.addr), self.port)),
        }
    }
}

impl FromStr for Endpoint {
    type Err = ParseKeyError;

    fn from_str(text: &str) -> Result<Self, ParseKeyError> {
        // `%0` parses as no scope at all.
        let addr = text.parse::<SocketAddr>().ok().filter(|_| !text.contains('%'));
        addr.and_then(|addr| addr.try_into().ok()).ok_or_else(|| ParseKeyError {
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
    fn upper_case_is_read() {
        for (text, key) in [("TCP/10.0.0.1:80", "tcp/10.0.0.1:80"), ("FWMARK6/7", "fwmark6/7")] {
            assert_eq!(text.parse::<ServiceKey>(), key.parse());
        }
        assert_eq!("Sctp".parse(), Ok(Protocol::Sctp));
        assert_eq!("PROTO-47".parse(), Ok(Protocol::Other(47)));
        assert!("icmp".parse::<Protocol>().is_err());
    }

    #[test]
    fn a_scope_is_refused_and_not_lost() {
        let scoped: SocketAddr = "[fe80::1%2]:80".parse().unwrap();
        let error = Endpoint::try_from(scoped).unwrap_err();
        assert_eq!(
            error.to_string(),
            "[fe80::1%2]:80: IPVS can't represent the scope of an IPv6 address"
        );
        for text in ["[fe80::1%2]:80", "[fe80::1%0]:80"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
        let plain: SocketAddr = "[fe80::1]:80".parse().unwrap();
        assert_eq!(Endpoint::try_from(plain).map(SocketAddr::from), Ok(plain));
    }

    #[test]
    fn a_mark_has_no_address() {
        let key: ServiceKey = "fwmark6/7".parse().unwrap();
        assert_eq!((key.protocol(), key.addr(), key.port()), (None, None, None));
        assert_eq!((key.mark().map(NonZeroU32::get), key.family()), (Some(7), Family::V6));
        let key: ServiceKey = "udp/[2001:db8::1]:53".parse().unwrap();
        assert_eq!(key.endpoint(), Some("[2001:db8::1]:53".parse().unwrap()));
        assert_eq!((key.protocol(), key.port(), key.mark()), (Some(Protocol::Udp), Some(53), None));
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
