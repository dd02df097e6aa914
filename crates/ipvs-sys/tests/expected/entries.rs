//! Services and destinations as ipvsadm writes them into requests.

use std::net::{IpAddr, SocketAddr};

use ipvs_sys::{
    AF_INET, AF_INET6, Dest, Flags, ForwardMethod, IPPROTO_TCP, Name, Service, ServiceFlags,
    TunnelFlags, TunnelType,
};

/// A mask of all ones, the default for IPv4.
pub(super) const HOST: u32 = !0;
/// The same for IPv6, a prefix length.
const HOST6: u32 = 128;

pub(super) fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

/// The family, bytes and port of `ADDRESS:PORT`.
pub(super) fn address(text: &str) -> (u16, [u8; 16], u16) {
    let address: SocketAddr = text.parse().unwrap();
    let mut bytes = [0; 16];
    match address.ip() {
        IpAddr::V4(v4) => {
            bytes[..4].copy_from_slice(&v4.octets());
            (AF_INET, bytes, address.port())
        }
        IpAddr::V6(v6) => (AF_INET6, v6.octets(), address.port()),
    }
}

/// The key of a service.
pub(super) fn service(text: &str, protocol: u16) -> Service {
    let (family, addr, port) = address(text);
    Service {
        family: Some(family),
        protocol: Some(protocol),
        addr: Some(addr),
        port: Some(port),
        ..Service::default()
    }
}

/// The key of a service for a firewall mark.
pub(super) fn fwmark(family: u16, mark: u32) -> Service {
    Service { family: Some(family), fwmark: Some(mark), ..Service::default() }
}

pub(super) fn web() -> Service {
    service("10.0.0.1:80", IPPROTO_TCP)
}

#[allow(clippy::unnecessary_wraps, reason = "every caller wants the Option")]
pub(super) fn flags(flags: ServiceFlags) -> Option<Flags> {
    Some(Flags { flags, mask: !0 })
}

/// A service with a scheduler, as ipvsadm adds it.
pub(super) fn made(key: Service, scheduler: &str) -> Service {
    Service {
        scheduler: Some(name(scheduler)),
        flags: flags(ServiceFlags::empty()),
        timeout: Some(0),
        netmask: Some(if key.family == Some(AF_INET6) { HOST6 } else { HOST }),
        ..key
    }
}

/// A service as ipvsadm identifies it in all commands except adding and editing.
pub(super) fn named(key: Service) -> Service {
    made(key, "")
}

/// A service as ipvsadm requests it.
pub(super) fn asked(key: Service) -> Service {
    Service { netmask: Some(0), ..named(key) }
}

pub(super) fn persistent(service: Service, timeout: u32, netmask: u32) -> Service {
    let mut all = service.flags.unwrap();
    all.flags |= ServiceFlags::PERSISTENT;
    Service { flags: Some(all), timeout: Some(timeout), netmask: Some(netmask), ..service }
}

/// A destination as ipvsadm adds it by default.
pub(super) fn dest(text: &str, method: ForwardMethod) -> Dest {
    let (family, addr, port) = address(text);
    Dest {
        addr: Some(addr),
        port: Some(port),
        addr_family: Some(family),
        fwd_method: Some(method),
        weight: Some(1),
        tun_type: Some(TunnelType::IPIP),
        tun_port: Some(0),
        tun_flags: Some(TunnelFlags::NOCSUM),
        u_thresh: Some(0),
        l_thresh: Some(0),
        ..Dest::default()
    }
}

pub(super) fn tunnel(text: &str, tun_type: TunnelType, port: u16, flags: TunnelFlags) -> Dest {
    Dest {
        tun_type: Some(tun_type),
        tun_port: Some(port),
        tun_flags: Some(flags),
        ..dest(text, ForwardMethod::TUNNEL)
    }
}
