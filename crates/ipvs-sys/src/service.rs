//! Virtual services.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::attr::service;
use crate::consts::{AF_INET, AF_INET6, ServiceFlags};
use crate::framing::{AttrSet, Attrs, DecodeError, Name, put, put_name};
use crate::stats::{Stats, Stats64};

/// A virtual service as a message has it: attributes that are there or not.
///
/// A request names a service by `family` and either `fwmark` or `protocol`, `addr` and `port`. To
/// add one the kernel also demands `scheduler`, `flags`, `timeout` and `netmask`; it ignores
/// `stats`.
///
/// ```
/// use ipvs_sys::{AF_INET, Flags, IPPROTO_TCP, Name, Service, addr_bytes, netmask_v4};
///
/// let service = Service {
///     family: Some(AF_INET),
///     protocol: Some(IPPROTO_TCP),
///     addr: Some(addr_bytes([192, 0, 2, 1].into())),
///     port: Some(80),
///     scheduler: Some(Name::new("wlc")?),
///     flags: Some(Flags { mask: !0, ..Flags::default() }),
///     timeout: Some(0),
///     netmask: Some(netmask_v4([255, 255, 255, 255].into())),
///     ..Service::default()
/// };
/// # let _ = service;
/// # Ok::<(), ipvs_sys::NameError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Address family: [`AF_INET`] or [`AF_INET6`].
    #[doc(alias = "IPVS_SVC_ATTR_AF")]
    pub family: Option<u16>,
    /// Transport protocol, such as [`IPPROTO_TCP`](crate::IPPROTO_TCP).
    #[doc(alias = "IPVS_SVC_ATTR_PROTOCOL")]
    pub protocol: Option<u16>,
    /// Virtual address; IPv4 uses the first 4 bytes ([`addr_bytes`], [`ip_addr`]).
    #[doc(alias = "IPVS_SVC_ATTR_ADDR")]
    pub addr: Option<[u8; 16]>,
    /// Virtual port, in host byte order (unlike on the wire). 0 means all ports (persistent
    /// services).
    #[doc(alias = "IPVS_SVC_ATTR_PORT")]
    pub port: Option<u16>,
    /// Firewall mark, not 0. The kernel reports either this, or protocol, address and port.
    #[doc(alias = "IPVS_SVC_ATTR_FWMARK")]
    pub fwmark: Option<u32>,
    /// Scheduler, at most [`Name::SCHEDULER_MAX_LEN`] bytes. The kernel reports `none` for a
    /// service without one.
    #[doc(alias = "IPVS_SVC_ATTR_SCHED_NAME")]
    pub scheduler: Option<Name>,
    /// Persistence engine, at most [`Name::PE_MAX_LEN`] bytes.
    #[doc(alias = "IPVS_SVC_ATTR_PE_NAME")]
    pub pe_name: Option<Name>,
    /// Flags, and the mask of the flags to set.
    #[doc(alias = "IPVS_SVC_ATTR_FLAGS")]
    pub flags: Option<Flags>,
    /// Persistence timeout in seconds.
    #[doc(alias = "IPVS_SVC_ATTR_TIMEOUT")]
    pub timeout: Option<u32>,
    /// Persistence granularity as on the wire: for IPv4 a mask ([`netmask_v4`]), for IPv6 a prefix
    /// length from 1 to 128. A firewall mark of either family has one too.
    #[doc(alias = "IPVS_SVC_ATTR_NETMASK")]
    pub netmask: Option<u32>,
    /// Statistics, cut to 32 bits.
    #[doc(alias = "IPVS_SVC_ATTR_STATS")]
    pub stats: Option<Stats>,
    /// Statistics. Linux before 4.1 doesn't send them.
    #[doc(alias = "IPVS_SVC_ATTR_STATS64")]
    pub stats64: Option<Stats64>,
}

impl Service {
    /// Reads the attributes of a service: the payload of an `IPVS_CMD_ATTR_SERVICE`.
    ///
    /// # Errors
    ///
    /// The attributes are malformed. Unknown ones are skipped, and the last of several equal ones
    /// counts, as in the kernel.
    pub fn decode(attrs: &[u8]) -> Result<Self, DecodeError> {
        Self::from_attrs(Attrs::new(AttrSet::SERVICE, attrs))
    }

    pub(crate) fn from_attrs(attrs: Attrs<'_>) -> Result<Self, DecodeError> {
        let mut values = Self::default();
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                service::AF => values.family = Some(attr.u16()?),
                service::PROTOCOL => values.protocol = Some(attr.u16()?),
                service::ADDR => values.addr = Some(attr.array()?),
                service::PORT => values.port = Some(attr.be16()?),
                service::FWMARK => values.fwmark = Some(attr.u32()?),
                service::SCHED_NAME => values.scheduler = Some(attr.name()?),
                service::PE_NAME => values.pe_name = Some(attr.name()?),
                service::FLAGS => values.flags = Some(Flags::from_bytes(attr.array()?)),
                service::TIMEOUT => values.timeout = Some(attr.u32()?),
                service::NETMASK => values.netmask = Some(attr.u32()?),
                service::STATS => {
                    values.stats = Some(Stats::from_attrs(attr.nested(AttrSet::STATS))?);
                }
                service::STATS64 => {
                    values.stats64 = Some(Stats64::from_attrs(attr.nested(AttrSet::STATS))?);
                }
                _ => {}
            }
        }
        Ok(values)
    }

    /// Appends the attributes in the kernel's order.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(family) = self.family {
            put(buffer, service::AF, family.to_ne_bytes());
        }
        if let Some(fwmark) = self.fwmark {
            put(buffer, service::FWMARK, fwmark.to_ne_bytes());
        }
        if let Some(protocol) = self.protocol {
            put(buffer, service::PROTOCOL, protocol.to_ne_bytes());
        }
        if let Some(addr) = self.addr {
            put(buffer, service::ADDR, addr);
        }
        if let Some(port) = self.port {
            put(buffer, service::PORT, port.to_be_bytes());
        }
        if let Some(scheduler) = &self.scheduler {
            put_name(buffer, service::SCHED_NAME, scheduler);
        }
        if let Some(pe_name) = &self.pe_name {
            put_name(buffer, service::PE_NAME, pe_name);
        }
        if let Some(flags) = self.flags {
            put(buffer, service::FLAGS, flags.to_bytes());
        }
        if let Some(timeout) = self.timeout {
            put(buffer, service::TIMEOUT, timeout.to_ne_bytes());
        }
        if let Some(netmask) = self.netmask {
            put(buffer, service::NETMASK, netmask.to_ne_bytes());
        }
        if let Some(stats) = &self.stats {
            stats.write(buffer, service::STATS);
        }
        if let Some(stats64) = &self.stats64 {
            stats64.write(buffer, service::STATS64);
        }
    }
}

/// Flags of a service, and the mask of those that a request sets.
#[doc(alias = "ip_vs_flags")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags {
    /// The flags.
    pub flags: ServiceFlags,
    /// In a request: flags outside the mask stay as they are. In a reply: all bits.
    pub mask: u32,
}

impl Flags {
    fn from_bytes([f0, f1, f2, f3, m0, m1, m2, m3]: [u8; 8]) -> Self {
        Self {
            flags: ServiceFlags::from_bits_retain(u32::from_ne_bytes([f0, f1, f2, f3])),
            mask: u32::from_ne_bytes([m0, m1, m2, m3]),
        }
    }

    fn to_bytes(self) -> [u8; 8] {
        let [f0, f1, f2, f3] = self.flags.bits().to_ne_bytes();
        let [m0, m1, m2, m3] = self.mask.to_ne_bytes();
        [f0, f1, f2, f3, m0, m1, m2, m3]
    }
}

/// An address in wire form: IPv4 in the first 4 of 16 bytes, the rest zero.
#[must_use]
pub fn addr_bytes(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// Reads an address of a family from the wire's 16 bytes; `None` if the family is neither
/// [`AF_INET`] nor [`AF_INET6`].
#[must_use]
pub fn ip_addr(family: u16, bytes: &[u8; 16]) -> Option<IpAddr> {
    match family {
        AF_INET => {
            let [a, b, c, d, ..] = *bytes;
            Some(Ipv4Addr::new(a, b, c, d).into())
        }
        AF_INET6 => Some(Ipv6Addr::from(*bytes).into()),
        _ => None,
    }
}

/// The address family of an address, as used in `family` and `addr_family`.
#[must_use]
pub fn addr_family(addr: IpAddr) -> u16 {
    match addr {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// An IPv4 mask as used in `netmask`: in network byte order on every machine.
#[must_use]
pub fn netmask_v4(mask: Ipv4Addr) -> u32 {
    u32::from_ne_bytes(mask.octets())
}

/// Reads the IPv4 mask from a `netmask`.
#[must_use]
pub fn v4_netmask(netmask: u32) -> Ipv4Addr {
    netmask.to_ne_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_both_ways() {
        for (family, text) in [
            (AF_INET, "192.0.2.1"),
            (AF_INET, "0.0.0.0"),
            (AF_INET6, "2001:db8::1"),
            (AF_INET6, "::ffff:192.0.2.1"),
        ] {
            let addr: IpAddr = text.parse().unwrap();
            assert_eq!(ip_addr(family, &addr_bytes(addr)), Some(addr));
            assert_eq!(addr_family(addr), family);
        }
        assert_eq!(ip_addr(1, &[0; 16]), None);
    }

    #[test]
    fn netmasks_are_in_network_order_in_memory() {
        let mask = Ipv4Addr::new(255, 255, 254, 0);
        assert_eq!(netmask_v4(mask).to_ne_bytes(), [255, 255, 254, 0]);
        assert_eq!(v4_netmask(netmask_v4(mask)), mask);
    }
}
