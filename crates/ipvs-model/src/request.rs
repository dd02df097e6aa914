//! The contents of a request: attributes checked in the kernel's order, with the kernel's errors
//! (`ip_vs_genl_parse_service` and `ip_vs_genl_parse_dest` in `ip_vs_ctl.c`).

use ipvs::{DestinationKey, Family, ServiceKey};
use ipvs_sys as sys;
use rustix::io::Errno;

/// The key of a service; a firewall mark other than 0 has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ServiceId {
    pub(crate) family: u16,
    pub(crate) fwmark: u32,
    pub(crate) protocol: u16,
    pub(crate) addr: [u8; 16],
    pub(crate) port: u16,
}

impl ServiceId {
    pub(crate) fn parse(service: Option<&sys::Service>) -> Result<Self, Errno> {
        let service = service.ok_or(Errno::INVAL)?;
        let too_long = |name: sys::Name| name.len() > sys::Name::SCHEDULER_MAX_LEN;
        if service.scheduler.is_some_and(too_long) {
            return Err(Errno::INVAL);
        }
        let family = service.family.ok_or(Errno::INVAL)?;
        let id = match (service.fwmark, service.protocol, service.addr, service.port) {
            (Some(mark), ..) => Self::fwmark(family, mark),
            (None, Some(protocol), Some(addr), Some(port)) => {
                Self { family, fwmark: 0, protocol, addr: address(family, addr), port }
            }
            _ => return Err(Errno::INVAL),
        };
        check_family(family)?;
        Ok(id)
    }

    fn fwmark(family: u16, fwmark: u32) -> Self {
        Self { family, fwmark, protocol: sys::IPPROTO_TCP, addr: [0; 16], port: 0 }
    }

    pub(crate) fn of_key(key: &ServiceKey) -> Self {
        let family = family(key.family());
        match *key {
            ServiceKey::Addr { protocol, addr, port } => Self {
                family,
                fwmark: 0,
                protocol: protocol.number(),
                addr: sys::addr_bytes(addr),
                port,
            },
            ServiceKey::Fwmark { mark, .. } => Self::fwmark(family, mark.get()),
        }
    }

    /// The key's attributes as in a reply.
    pub(crate) fn report(&self) -> sys::Service {
        let family = Some(self.family);
        match self.fwmark {
            0 => sys::Service {
                family,
                protocol: Some(self.protocol),
                addr: Some(self.addr),
                port: Some(self.port),
                ..Default::default()
            },
            mark => sys::Service { family, fwmark: Some(mark), ..Default::default() },
        }
    }
}

/// The key of a destination within its service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DestId {
    pub(crate) family: u16,
    pub(crate) addr: [u8; 16],
    pub(crate) port: u16,
}

impl DestId {
    pub(crate) fn of_key(key: &DestinationKey) -> Self {
        let family = family(Family::of(key.addr));
        Self { family, addr: sys::addr_bytes(key.addr), port: key.port }
    }
}

/// A destination as in a request. Everything except the key is 0 if it isn't needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DestRequest {
    pub(crate) id: DestId,
    pub(crate) config: DestConfig,
}

/// The part of a destination that an edit replaces.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DestConfig {
    pub(crate) method: u32,
    pub(crate) weight: u32,
    pub(crate) upper: u32,
    pub(crate) lower: u32,
    pub(crate) tun_type: sys::TunnelType,
    pub(crate) tun_port: u16,
    pub(crate) tun_flags: sys::TunnelFlags,
}

impl DestRequest {
    /// `full` reads the attributes that adding and editing need, in addition to the key.
    pub(crate) fn parse(
        dest: Option<&sys::Dest>,
        service_family: u16,
        full: bool,
    ) -> Result<Self, Errno> {
        let dest = dest.ok_or(Errno::INVAL)?;
        let (Some(addr), Some(port)) = (dest.addr, dest.port) else { return Err(Errno::INVAL) };
        let wanted = (dest.fwd_method, dest.weight, dest.u_thresh, dest.l_thresh);
        let (method, weight, upper, lower) = match wanted {
            (Some(method), Some(weight), Some(upper), Some(lower)) => {
                (method.0, weight, upper, lower)
            }
            _ if full => return Err(Errno::INVAL),
            _ => (0, 0, 0, 0),
        };
        let family = match dest.addr_family {
            None | Some(0) => service_family,
            Some(family) => family,
        };
        check_family(family)?;
        Ok(Self {
            id: DestId { family, addr: address(family, addr), port },
            config: DestConfig {
                method: method & sys::ForwardMethod::MASK,
                weight,
                upper,
                lower,
                tun_type: dest.tun_type.unwrap_or(sys::TunnelType::IPIP),
                tun_port: dest.tun_port.unwrap_or(0),
                tun_flags: dest.tun_flags.unwrap_or_default(),
            },
        })
    }
}

fn family(family: Family) -> u16 {
    match family {
        Family::V4 => sys::AF_INET,
        Family::V6 => sys::AF_INET6,
    }
}

fn check_family(family: u16) -> Result<(), Errno> {
    match family {
        sys::AF_INET | sys::AF_INET6 => Ok(()),
        _ => Err(Errno::AFNOSUPPORT),
    }
}

/// The bytes, out of 16, that are significant in the family.
fn address(family: u16, bytes: [u8; 16]) -> [u8; 16] {
    match sys::ip_addr(family, &bytes) {
        Some(addr) => sys::addr_bytes(addr),
        None => bytes,
    }
}
