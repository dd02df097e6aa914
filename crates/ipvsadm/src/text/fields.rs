//! Fields of services and real servers as text, which lists and rules share.

use ipvs::{
    Family, Forward, ForwardMethod, GueChecksum, Protocol, Scheduler, Service, ServiceKey, Tunnel,
};

/// The protocol whose port names apply; firewall marks have none.
pub(crate) fn protocol_of(service: &ServiceKey) -> Option<Protocol> {
    match *service {
        ServiceKey::Addr { protocol, .. } => Some(protocol),
        ServiceKey::Fwmark { .. } => None,
    }
}

pub(crate) fn scheduler_text(service: &Service) -> &[u8] {
    service.scheduler.as_ref().map_or(b"none", Scheduler::as_bytes)
}

/// The mask of a persistent service; `None` if each address counts by itself.
pub(crate) fn mask_text(service: &Service) -> Option<String> {
    let mask = service.persistence.as_ref()?.mask;
    match service.key.family() {
        Family::V4 => mask.as_v4().filter(|mask| !mask.is_broadcast()).map(|mask| mask.to_string()),
        Family::V6 => mask.as_v6().filter(|bits| *bits != 128).map(|bits| bits.to_string()),
    }
}

pub(crate) fn forward_text(forward: ForwardMethod) -> &'static [u8] {
    match forward {
        ForwardMethod::Masquerade => b"Masq",
        ForwardMethod::LocalNode => b"Local",
        ForwardMethod::Tunnel => b"Tunnel",
        ForwardMethod::DirectRoute => b"Route",
        ForwardMethod::Bypass => b"Bypass",
        _ => b"Unknown",
    }
}

pub(crate) fn tunnel_text(forward: Forward) -> String {
    let Forward::Tunnel(tunnel) = forward else { return "n/a".to_owned() };
    match tunnel {
        Tunnel::Ipip => "ipip".to_owned(),
        Tunnel::Gue { port, checksum } => {
            let checksum = match checksum {
                GueChecksum::None => "-c",
                GueChecksum::Full => "+c",
                GueChecksum::Remote => "r+c",
            };
            format!("gue:{port}:{checksum}")
        }
        Tunnel::Gre { checksum: false } => "gre:-c".to_owned(),
        Tunnel::Gre { checksum: true } => "gre:+c".to_owned(),
        _ => "invalid".to_owned(),
    }
}
