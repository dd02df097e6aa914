//! Destinations (real servers).

use crate::attr::{cmd, dest};
use crate::consts::{Command, ForwardMethod, TunnelFlags, TunnelType};
use crate::framing::{AttrSet, Attrs, DecodeError, Genl, put};
use crate::stats::{Stats, Stats64};

/// A destination as it appears in a message: every attribute is optional.
///
/// A request identifies a destination by `addr`, `port` and `addr_family`. To add one, the kernel
/// also requires `fwd_method`, `weight`, `u_thresh` and `l_thresh`; it ignores connections and
/// `stats`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dest {
    /// Address; IPv4 uses the first 4 bytes ([`addr_bytes`](crate::addr_bytes),
    /// [`ip_addr`](crate::ip_addr)).
    #[doc(alias = "IPVS_DEST_ATTR_ADDR")]
    pub addr: Option<[u8; 16]>,
    /// Port, in host byte order (unlike on the wire).
    #[doc(alias = "IPVS_DEST_ATTR_PORT")]
    pub port: Option<u16>,
    /// Forwarding method.
    #[doc(alias = "IPVS_DEST_ATTR_FWD_METHOD")]
    pub fwd_method: Option<ForwardMethod>,
    /// Weight, less than 2³¹; with 0 it gets no new connections.
    #[doc(alias = "IPVS_DEST_ATTR_WEIGHT")]
    pub weight: Option<u32>,
    /// Kind of tunnel, if the method is [`ForwardMethod::TUNNEL`]. Linux before 5.3 ignores it.
    #[doc(alias = "IPVS_DEST_ATTR_TUN_TYPE")]
    pub tun_type: Option<TunnelType>,
    /// UDP port of a GUE tunnel, in host byte order (unlike on the wire).
    #[doc(alias = "IPVS_DEST_ATTR_TUN_PORT")]
    pub tun_port: Option<u16>,
    /// Checksum flags of a GUE or GRE tunnel.
    #[doc(alias = "IPVS_DEST_ATTR_TUN_FLAGS")]
    pub tun_flags: Option<TunnelFlags>,
    /// Number of connections above which it gets no new ones; 0 means no limit.
    #[doc(alias = "IPVS_DEST_ATTR_U_THRESH")]
    pub u_thresh: Option<u32>,
    /// Number of connections below which it gets new ones again; 0 means three quarters of
    /// `u_thresh`.
    #[doc(alias = "IPVS_DEST_ATTR_L_THRESH")]
    pub l_thresh: Option<u32>,
    /// Active connections.
    #[doc(alias = "IPVS_DEST_ATTR_ACTIVE_CONNS")]
    pub active_conns: Option<u32>,
    /// Inactive connections.
    #[doc(alias = "IPVS_DEST_ATTR_INACT_CONNS")]
    pub inact_conns: Option<u32>,
    /// Persistence templates.
    #[doc(alias = "IPVS_DEST_ATTR_PERSIST_CONNS")]
    pub persist_conns: Option<u32>,
    /// Address family of `addr`, which may differ from the service's for tunnels. Linux before 3.18
    /// neither sends nor reads it, and uses the service's.
    #[doc(alias = "IPVS_DEST_ATTR_ADDR_FAMILY")]
    pub addr_family: Option<u16>,
    /// Statistics, cut to 32 bits.
    #[doc(alias = "IPVS_DEST_ATTR_STATS")]
    pub stats: Option<Stats>,
    /// Statistics. Linux before 4.1 doesn't send them.
    #[doc(alias = "IPVS_DEST_ATTR_STATS64")]
    pub stats64: Option<Stats64>,
}

impl Dest {
    /// Reads the attributes of a destination: the payload of an `IPVS_CMD_ATTR_DEST`.
    ///
    /// # Errors
    ///
    /// The attributes are malformed. Unknown ones are skipped, and the last of several equal ones
    /// counts, as in the kernel.
    pub fn decode(attrs: &[u8]) -> Result<Self, DecodeError> {
        Self::from_attrs(Attrs::new(AttrSet::DEST, attrs), true)
    }

    /// Reads the destination of a whole message (an entry of a list), without its statistics. They
    /// make up most of an entry, and most of the cost of
    /// [`Message::decode`](crate::Message::decode). `None` if the message has no destination.
    ///
    /// # Errors
    ///
    /// The attributes are malformed. Statistics and anything outside the destination aren't
    /// checked.
    pub fn without_stats(payload: &[u8]) -> Result<Option<Self>, DecodeError> {
        let mut found = None;
        let genl = Genl::new(payload)?;
        // Its attributes have the same numbers but another meaning.
        if Command::try_from(genl.command)? == Command::SetInfo {
            return Ok(found);
        }
        for attr in genl.attrs {
            let attr = attr?;
            if attr.kind == cmd::DEST {
                found = Some(Self::from_attrs(attr.nested(AttrSet::DEST), false)?);
            }
        }
        Ok(found)
    }

    /// Statistics are skipped unless requested.
    pub(crate) fn from_attrs(attrs: Attrs<'_>, stats: bool) -> Result<Self, DecodeError> {
        let mut values = Self::default();
        for attr in attrs {
            let attr = attr?;
            match attr.kind {
                dest::ADDR => values.addr = Some(attr.array()?),
                dest::PORT => values.port = Some(attr.be16()?),
                dest::FWD_METHOD => values.fwd_method = Some(ForwardMethod(attr.u32()?)),
                dest::WEIGHT => values.weight = Some(attr.u32()?),
                dest::TUN_TYPE => values.tun_type = Some(TunnelType(attr.u8()?)),
                dest::TUN_PORT => values.tun_port = Some(attr.be16()?),
                dest::TUN_FLAGS => {
                    values.tun_flags = Some(TunnelFlags::from_bits_retain(attr.u16()?));
                }
                dest::U_THRESH => values.u_thresh = Some(attr.u32()?),
                dest::L_THRESH => values.l_thresh = Some(attr.u32()?),
                dest::ACTIVE_CONNS => values.active_conns = Some(attr.u32()?),
                dest::INACT_CONNS => values.inact_conns = Some(attr.u32()?),
                dest::PERSIST_CONNS => values.persist_conns = Some(attr.u32()?),
                dest::ADDR_FAMILY => values.addr_family = Some(attr.u16()?),
                dest::STATS if stats => {
                    values.stats = Some(Stats::from_attrs(attr.nested(AttrSet::STATS))?);
                }
                dest::STATS64 if stats => {
                    values.stats64 = Some(Stats64::from_attrs(attr.nested(AttrSet::STATS))?);
                }
                _ => {}
            }
        }
        Ok(values)
    }

    /// Appends the attributes in the kernel's order.
    pub(crate) fn write(&self, buffer: &mut Vec<u8>) {
        if let Some(addr) = self.addr {
            put(buffer, dest::ADDR, addr);
        }
        if let Some(port) = self.port {
            put(buffer, dest::PORT, port.to_be_bytes());
        }
        if let Some(fwd_method) = self.fwd_method {
            put(buffer, dest::FWD_METHOD, fwd_method.0.to_ne_bytes());
        }
        if let Some(weight) = self.weight {
            put(buffer, dest::WEIGHT, weight.to_ne_bytes());
        }
        if let Some(tun_type) = self.tun_type {
            put(buffer, dest::TUN_TYPE, [tun_type.0]);
        }
        if let Some(tun_port) = self.tun_port {
            put(buffer, dest::TUN_PORT, tun_port.to_be_bytes());
        }
        if let Some(tun_flags) = self.tun_flags {
            put(buffer, dest::TUN_FLAGS, tun_flags.bits().to_ne_bytes());
        }
        if let Some(u_thresh) = self.u_thresh {
            put(buffer, dest::U_THRESH, u_thresh.to_ne_bytes());
        }
        if let Some(l_thresh) = self.l_thresh {
            put(buffer, dest::L_THRESH, l_thresh.to_ne_bytes());
        }
        if let Some(active_conns) = self.active_conns {
            put(buffer, dest::ACTIVE_CONNS, active_conns.to_ne_bytes());
        }
        if let Some(inact_conns) = self.inact_conns {
            put(buffer, dest::INACT_CONNS, inact_conns.to_ne_bytes());
        }
        if let Some(persist_conns) = self.persist_conns {
            put(buffer, dest::PERSIST_CONNS, persist_conns.to_ne_bytes());
        }
        if let Some(addr_family) = self.addr_family {
            put(buffer, dest::ADDR_FAMILY, addr_family.to_ne_bytes());
        }
        if let Some(stats) = &self.stats {
            stats.write(buffer, dest::STATS);
        }
        if let Some(stats64) = &self.stats64 {
            stats64.write(buffer, dest::STATS64);
        }
    }
}
