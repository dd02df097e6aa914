//! The translation between the model and its form on the wire.

use std::fmt::Display;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipvs_sys as sys;
use thiserror::Error;

use crate::error::invalid_input::InvalidInput;
use crate::model::config::{Info, Timeouts, TimeoutsChange, Version};
use crate::model::destination::{Destination, DestinationEntry};
use crate::model::forward::{Forward, GueChecksum, Tunnel};
use crate::model::key::{DestinationKey, Family, Protocol, ServiceKey};
use crate::model::name::{InterfaceName, PersistenceEngine, Scheduler};
use crate::model::scheduler_flags::SchedulerFlags;
use crate::model::service::{Persistence, PersistenceMask, Service, ServiceEntry};
use crate::model::stats::{Rates, Stats, StatsWidth};
use crate::model::sync_daemon::{SyncDaemon, SyncRole};

/// A reply that lacks what every kernel sends, or has what none sends.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum MalformedReply {
    #[error("a reply has no {0}")]
    Missing(&'static str),
    #[error("a reply has the address family {0}, neither IPv4 nor IPv6")]
    Family(u16),
    #[error("a reply has the sync daemon state {0}, neither master nor backup")]
    DaemonState(u32),
}

/// The kernel's scheduler name of a service without a scheduler.
const NO_SCHEDULER: &[u8] = b"none";

/// The bits of a service's flags that [`Service`] has fields for, and the kernel's own HASHED.
const FIELD_FLAGS: sys::ServiceFlags = sys::ServiceFlags::PERSISTENT
    .union(sys::ServiceFlags::HASHED)
    .union(sys::ServiceFlags::ONE_PACKET);

fn family_to_wire(family: Family) -> u16 {
    match family {
        Family::V4 => sys::AF_INET,
        Family::V6 => sys::AF_INET6,
    }
}

fn addr_from_wire(family: Family, bytes: &[u8; 16]) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([bytes[0], bytes[1], bytes[2], bytes[3]]),
        Family::V6 => IpAddr::from(*bytes),
    }
}

fn family_from_wire(family: u16) -> Result<Family, MalformedReply> {
    match family {
        sys::AF_INET => Ok(Family::V4),
        sys::AF_INET6 => Ok(Family::V6),
        other => Err(MalformedReply::Family(other)),
    }
}

fn seconds(what: &'static str, time: Duration) -> Result<u32, InvalidInput> {
    if time.subsec_nanos() != 0 {
        return Err(InvalidInput::FractionOfSecond { what });
    }
    u32::try_from(time.as_secs()).map_err(|_| InvalidInput::TooLong { what })
}

/// Seconds that the kernel stores and reports unchanged, whatever its tick rate.
fn persistence_seconds(time: Duration) -> Result<u32, InvalidInput> {
    if time.is_zero() || time > Persistence::MAX_TIMEOUT {
        return Err(InvalidInput::PersistenceTimeout(time));
    }
    seconds("persistence timeout", time)
}

/// Refuses values that the kernel would report as something else.
fn reported_as_is<T: PartialEq + Display>(given: &T, reported: &T) -> Result<(), InvalidInput> {
    if given == reported {
        return Ok(());
    }
    Err(InvalidInput::Alias { given: given.to_string(), reported: reported.to_string() })
}

pub(crate) fn key_to_wire(key: &ServiceKey) -> sys::Service {
    let family = Some(family_to_wire(key.family()));
    match *key {
        ServiceKey::Addr { protocol, addr, port } => sys::Service {
            family,
            protocol: Some(protocol.number()),
            addr: Some(sys::addr_bytes(addr)),
            port: Some(port),
            ..Default::default()
        },
        ServiceKey::Fwmark { mark, .. } => {
            sys::Service { family, fwmark: Some(mark.get()), ..Default::default() }
        }
    }
}

fn key_from_wire(wire: &sys::Service) -> Result<ServiceKey, MalformedReply> {
    let family = family_from_wire(wire.family.ok_or(MalformedReply::Missing("address family"))?)?;
    if let Some(mark) = wire.fwmark.and_then(NonZeroU32::new) {
        return Ok(ServiceKey::Fwmark { family, mark });
    }
    let addr = wire.addr.as_ref().ok_or(MalformedReply::Missing("service address"))?;
    Ok(ServiceKey::Addr {
        protocol: wire
            .protocol
            .map(Protocol::from_number)
            .ok_or(MalformedReply::Missing("service protocol"))?,
        addr: addr_from_wire(family, addr),
        port: wire.port.ok_or(MalformedReply::Missing("service port"))?,
    })
}

pub(crate) fn service_to_wire(service: &Service) -> Result<sys::Service, InvalidInput> {
    if let ServiceKey::Addr { protocol, .. } = service.key {
        reported_as_is(&protocol, &Protocol::from_number(protocol.number()))?;
    }
    let mut flags = sys::ServiceFlags::from_bits_retain(service.scheduler_flags.bits());
    if flags.intersects(FIELD_FLAGS) {
        return Err(InvalidInput::ReservedFlags(flags.bits()));
    }
    flags.set(sys::ServiceFlags::ONE_PACKET, service.one_packet);
    flags.set(sys::ServiceFlags::PERSISTENT, service.persistence.is_some());
    let (timeout, mask) = match &service.persistence {
        Some(p) => (persistence_seconds(p.timeout)?, p.mask),
        None => (0, PersistenceMask::HOST),
    };
    let netmask = match service.key.family() {
        Family::V4 => mask.as_v4().map(sys::netmask_v4),
        Family::V6 => mask.as_v6().map(u32::from),
    };
    Ok(sys::Service {
        scheduler: Some(match service.scheduler {
            Some(scheduler) => scheduler.to_wire(),
            None => sys::Name::from_static("none"),
        }),
        pe_name: service.persistence_engine.map(PersistenceEngine::to_wire),
        // A mask of all ones doesn't affect the kernel's own HASHED bit.
        flags: Some(sys::Flags { flags, mask: !0 }),
        timeout: Some(timeout),
        // The kernel requires it even without persistence.
        netmask: Some(netmask.ok_or(InvalidInput::MaskFamily)?),
        ..key_to_wire(&service.key)
    })
}

pub(crate) fn service_from_wire(wire: &sys::Service) -> Result<ServiceEntry, MalformedReply> {
    let key = key_from_wire(wire)?;
    let scheduler = wire.scheduler.filter(|name| name.as_bytes() != NO_SCHEDULER);
    let flags = wire.flags.map_or(sys::ServiceFlags::empty(), |f| f.flags);
    let persistence = flags.contains(sys::ServiceFlags::PERSISTENT).then(|| Persistence {
        timeout: Duration::from_secs(wire.timeout.unwrap_or_default().into()),
        mask: wire.netmask.map_or(PersistenceMask::HOST, |mask| match key.family() {
            Family::V4 => PersistenceMask::v4(sys::v4_netmask(mask)),
            // A length that no kernel accepts is no mask.
            Family::V6 => PersistenceMask::v6(mask).unwrap_or_default(),
        }),
    });
    Ok(ServiceEntry {
        service: Service {
            key,
            scheduler: scheduler.and_then(Scheduler::from_wire),
            scheduler_flags: SchedulerFlags::from_bits_retain((flags - FIELD_FLAGS).bits()),
            one_packet: flags.contains(sys::ServiceFlags::ONE_PACKET),
            persistence,
            persistence_engine: wire.pe_name.and_then(PersistenceEngine::from_wire),
        },
        stats: stats_from_wire(wire.stats.as_ref(), wire.stats64.as_ref()),
    })
}

pub(crate) fn destination_key_to_wire(key: &DestinationKey) -> sys::Dest {
    sys::Dest {
        addr: Some(sys::addr_bytes(key.addr)),
        port: Some(key.port),
        // Without it the first four bytes of an IPv6 address become an IPv4 destination.
        addr_family: Some(family_to_wire(Family::of(key.addr))),
        ..Default::default()
    }
}

pub(crate) fn destination_to_wire(destination: &Destination) -> Result<sys::Dest, InvalidInput> {
    let forward = destination.forward;
    reported_as_is(&forward, &reported_forward(forward))?;
    Ok(sys::Dest {
        weight: Some(destination.weight),
        u_thresh: Some(destination.upper_threshold),
        l_thresh: Some(destination.lower_threshold),
        ..forward_to_wire(forward, &destination.key())
    })
}

fn forward_to_wire(forward: Forward, key: &DestinationKey) -> sys::Dest {
    let (method, tunnel) = match forward {
        Forward::Masquerade => (sys::ForwardMethod::MASQUERADE, None),
        Forward::DirectRoute => (sys::ForwardMethod::DIRECT_ROUTE, None),
        Forward::Tunnel(tunnel) => (sys::ForwardMethod::TUNNEL, Some(tunnel)),
        Forward::LocalNode => (sys::ForwardMethod::LOCAL_NODE, None),
        Forward::Bypass => (sys::ForwardMethod::BYPASS, None),
        Forward::Other(number) => (sys::ForwardMethod(number), None),
    };
    let (tun_type, tun_port, tun_flags) = match tunnel.unwrap_or(Tunnel::Ipip) {
        Tunnel::Ipip => (sys::TunnelType::IPIP, 0, sys::TunnelFlags::empty()),
        Tunnel::Gue { port, checksum } => (
            sys::TunnelType::GUE,
            port,
            match checksum {
                GueChecksum::None => sys::TunnelFlags::empty(),
                GueChecksum::Full => sys::TunnelFlags::CSUM,
                GueChecksum::Remote => sys::TunnelFlags::REMCSUM,
            },
        ),
        Tunnel::Gre { checksum: false } => (sys::TunnelType::GRE, 0, sys::TunnelFlags::empty()),
        Tunnel::Gre { checksum: true } => (sys::TunnelType::GRE, 0, sys::TunnelFlags::CSUM),
        Tunnel::Other { kind, port, flags } => {
            (sys::TunnelType(kind), port, sys::TunnelFlags::from_bits_retain(flags))
        }
    };
    sys::Dest {
        fwd_method: Some(method),
        tun_type: Some(tun_type),
        tun_port: Some(tun_port),
        tun_flags: Some(tun_flags),
        ..destination_key_to_wire(key)
    }
}

/// `service_family` is the family on kernels before 3.18, which don't report one for a destination.
pub(crate) fn destination_from_wire(
    wire: &sys::Dest,
    service_family: Family,
) -> Result<DestinationEntry, MalformedReply> {
    let family = match wire.addr_family {
        // The kernel itself reports 0 for some destinations that were added without a family.
        None | Some(0) => service_family,
        Some(family) => family_from_wire(family)?,
    };
    let addr = wire.addr.as_ref().ok_or(MalformedReply::Missing("server address"))?;
    let method = wire.fwd_method.ok_or(MalformedReply::Missing("forwarding method"))?;
    Ok(DestinationEntry {
        destination: Destination {
            addr: addr_from_wire(family, addr),
            port: wire.port.ok_or(MalformedReply::Missing("server port"))?,
            forward: forward_from_wire(method, wire),
            weight: wire.weight.unwrap_or_default(),
            upper_threshold: wire.u_thresh.unwrap_or_default(),
            lower_threshold: wire.l_thresh.unwrap_or_default(),
        },
        active_connections: wire.active_conns.unwrap_or_default(),
        inactive_connections: wire.inact_conns.unwrap_or_default(),
        persistent_connections: wire.persist_conns.unwrap_or_default(),
        stats: stats_from_wire(wire.stats.as_ref(), wire.stats64.as_ref()),
    })
}

fn forward_from_wire(method: sys::ForwardMethod, wire: &sys::Dest) -> Forward {
    match method {
        sys::ForwardMethod::MASQUERADE => Forward::Masquerade,
        sys::ForwardMethod::LOCAL_NODE => Forward::LocalNode,
        sys::ForwardMethod::TUNNEL => Forward::Tunnel(tunnel_from_wire(wire)),
        sys::ForwardMethod::DIRECT_ROUTE => Forward::DirectRoute,
        sys::ForwardMethod::BYPASS => Forward::Bypass,
        sys::ForwardMethod(other) => Forward::Other(other),
    }
}

/// How the kernel will report a forwarding method given as numbers: they may be those of a method
/// with a name, and the kernel keeps only some bits of the method.
pub(crate) fn reported_forward(forward: Forward) -> Forward {
    let wire = forward_to_wire(forward, &DestinationKey::new([0; 4].into(), 0));
    let method = wire.fwd_method.map_or(0, |method| method.0 & sys::ForwardMethod::MASK);
    forward_from_wire(sys::ForwardMethod(method), &wire)
}

fn tunnel_from_wire(wire: &sys::Dest) -> Tunnel {
    let kind = wire.tun_type.unwrap_or(sys::TunnelType::IPIP);
    let port = wire.tun_port.unwrap_or_default();
    let flags = wire.tun_flags.unwrap_or(sys::TunnelFlags::empty());
    let (none, csum, remcsum) =
        (sys::TunnelFlags::empty(), sys::TunnelFlags::CSUM, sys::TunnelFlags::REMCSUM);
    match kind {
        // Plain IPIP has neither port nor checksum, whatever values the kernel stores for them.
        sys::TunnelType::IPIP => Tunnel::Ipip,
        sys::TunnelType::GUE if flags == none => Tunnel::Gue { port, checksum: GueChecksum::None },
        sys::TunnelType::GUE if flags == csum => Tunnel::Gue { port, checksum: GueChecksum::Full },
        sys::TunnelType::GUE if flags == remcsum => {
            Tunnel::Gue { port, checksum: GueChecksum::Remote }
        }
        sys::TunnelType::GRE if flags == none => Tunnel::Gre { checksum: false },
        sys::TunnelType::GRE if flags == csum => Tunnel::Gre { checksum: true },
        sys::TunnelType(kind) => Tunnel::Other { kind, port, flags: flags.bits() },
    }
}

/// The wider statistics win. If the kernel sends none, nothing was counted.
fn stats_from_wire(narrow: Option<&sys::Stats>, wide: Option<&sys::Stats64>) -> Stats {
    match (wide, narrow) {
        (Some(wide), _) => Stats {
            connections: wide.conns,
            incoming_packets: wide.inpkts,
            outgoing_packets: wide.outpkts,
            incoming_bytes: wide.inbytes,
            outgoing_bytes: wide.outbytes,
            rates: Some(Rates {
                connections: wide.cps,
                incoming_packets: wide.inpps,
                outgoing_packets: wide.outpps,
                incoming_bytes: wide.inbps,
                outgoing_bytes: wide.outbps,
            }),
            width: StatsWidth::Bits64,
        },
        (None, Some(narrow)) => Stats {
            connections: narrow.conns.into(),
            incoming_packets: narrow.inpkts.into(),
            outgoing_packets: narrow.outpkts.into(),
            incoming_bytes: narrow.inbytes,
            outgoing_bytes: narrow.outbytes,
            rates: Some(Rates {
                connections: narrow.cps.into(),
                incoming_packets: narrow.inpps.into(),
                outgoing_packets: narrow.outpps.into(),
                incoming_bytes: narrow.inbps.into(),
                outgoing_bytes: narrow.outbps.into(),
            }),
            width: StatsWidth::Bits32,
        },
        (None, None) => Stats { width: StatsWidth::Bits32, ..Default::default() },
    }
}

pub(crate) fn role_to_wire(role: SyncRole) -> sys::DaemonState {
    match role {
        SyncRole::Master => sys::DaemonState::MASTER,
        SyncRole::Backup => sys::DaemonState::BACKUP,
    }
}

pub(crate) fn daemon_to_wire(daemon: &SyncDaemon) -> sys::Daemon {
    let (group, group6) = match daemon.group {
        Some(IpAddr::V4(group)) => (Some(group), None),
        Some(IpAddr::V6(group)) => (None, Some(group)),
        None => (None, None),
    };
    sys::Daemon {
        state: Some(role_to_wire(daemon.role)),
        mcast_ifn: Some(daemon.interface.to_wire()),
        sync_id: Some(daemon.sync_id.into()),
        sync_maxlen: daemon.max_length,
        mcast_group: group,
        mcast_group6: group6,
        mcast_port: daemon.port,
        mcast_ttl: daemon.ttl,
    }
}

pub(crate) fn daemon_from_wire(wire: &sys::Daemon) -> Result<SyncDaemon, MalformedReply> {
    Ok(SyncDaemon {
        role: match wire.state.ok_or(MalformedReply::Missing("sync daemon state"))? {
            sys::DaemonState::MASTER => SyncRole::Master,
            sys::DaemonState::BACKUP => SyncRole::Backup,
            sys::DaemonState(other) => return Err(MalformedReply::DaemonState(other)),
        },
        interface: wire
            .mcast_ifn
            .and_then(InterfaceName::from_wire)
            .ok_or(MalformedReply::Missing("sync daemon interface"))?,
        // Sync messages carry only the lowest byte, whatever number a daemon was started with.
        sync_id: wire.sync_id.unwrap_or_default().to_le_bytes()[0],
        max_length: wire.sync_maxlen.filter(|&n| n != 0),
        group: match (wire.mcast_group, wire.mcast_group6) {
            (Some(group), _) => Some(group.into()),
            (None, group6) => group6.map(Into::into),
        },
        port: wire.mcast_port.filter(|&n| n != 0),
        ttl: wire.mcast_ttl.filter(|&n| n != 0),
    })
}

pub(crate) fn timeouts_to_wire(change: &TimeoutsChange) -> Result<sys::Timeouts, InvalidInput> {
    let timeout = |what, time: Option<Duration>| match time.map(|t| seconds(what, t)).transpose()? {
        Some(0) => Err(InvalidInput::ZeroTimeout { what }),
        other => Ok(other),
    };
    Ok(sys::Timeouts {
        tcp: timeout("TCP timeout", change.tcp)?,
        tcp_fin: timeout("TCP FIN timeout", change.tcp_fin)?,
        udp: timeout("UDP timeout", change.udp)?,
    })
}

pub(crate) fn timeouts_from_wire(wire: &sys::Timeouts) -> Result<Timeouts, MalformedReply> {
    let timeout = |what, seconds: Option<u32>| {
        Ok(Duration::from_secs(seconds.ok_or(MalformedReply::Missing(what))?.into()))
    };
    Ok(Timeouts {
        tcp: timeout("TCP timeout", wire.tcp)?,
        tcp_fin: timeout("TCP FIN timeout", wire.tcp_fin)?,
        udp: timeout("UDP timeout", wire.udp)?,
    })
}

pub(crate) fn info_from_wire(wire: &sys::Info) -> Result<Info, MalformedReply> {
    Ok(Info {
        version: Version::from_code(wire.version.ok_or(MalformedReply::Missing("version"))?),
        connection_table_size: wire.conn_tab_size.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vip() -> ServiceKey {
        ServiceKey::tcp("10.10.10.53:80".parse().unwrap())
    }

    /// Numbers of `linux/ip_vs.h`: forwarding method, tunnel type, port and flags.
    const FORWARDS: [(Forward, (u32, u8, u16, u16)); 11] = [
        (Forward::Masquerade, (0, 0, 0, 0)),
        (Forward::LocalNode, (1, 0, 0, 0)),
        (Forward::Tunnel(Tunnel::Ipip), (2, 0, 0, 0)),
        (Forward::DirectRoute, (3, 0, 0, 0)),
        (Forward::Bypass, (4, 0, 0, 0)),
        (Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: GueChecksum::None }), (2, 1, 6080, 0)),
        (Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: GueChecksum::Full }), (2, 1, 6080, 1)),
        (
            Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: GueChecksum::Remote }),
            (2, 1, 6080, 2),
        ),
        (Forward::Tunnel(Tunnel::Gre { checksum: false }), (2, 2, 0, 0)),
        (Forward::Tunnel(Tunnel::Gre { checksum: true }), (2, 2, 0, 1)),
        (Forward::Tunnel(Tunnel::Other { kind: 9, port: 1, flags: 4 }), (2, 9, 1, 4)),
    ];

    #[test]
    fn forwarding_methods_have_the_numbers_of_the_header() {
        for (forward, numbers) in FORWARDS {
            let wire = destination_to_wire(
                &Destination::new(DestinationKey::new([10, 10, 10, 102].into(), 80))
                    .forward(forward),
            )
            .unwrap();
            let seen = (
                wire.fwd_method.unwrap().0,
                wire.tun_type.unwrap().0,
                wire.tun_port.unwrap(),
                wire.tun_flags.unwrap().bits(),
            );
            assert_eq!(seen, numbers, "{forward:?}");
            let back = destination_from_wire(&wire, Family::V4).unwrap();
            assert_eq!(back.destination.forward, forward);
        }
    }

    #[test]
    fn a_destination_without_a_family_has_its_services() {
        let mut wire = destination_to_wire(&Destination::new(DestinationKey::new(
            "2001:db8::1".parse().unwrap(),
            80,
        )))
        .unwrap();
        assert_eq!(wire.addr_family, Some(10), "AF_INET6 is always sent");
        wire.addr_family = None;
        let seen = |family| destination_from_wire(&wire, family).unwrap().destination.addr;
        assert_eq!(seen(Family::V6).to_string(), "2001:db8::1");
        assert_eq!(seen(Family::V4).to_string(), "32.1.13.184");
    }

    #[test]
    fn what_only_the_kernel_sets_is_not_the_users() {
        let plain = Service::new(vip());
        let mut wire = service_to_wire(&plain).unwrap();
        let flags = &mut wire.flags.as_mut().unwrap().flags;
        *flags |= sys::ServiceFlags::HASHED;
        assert_eq!(service_from_wire(&wire).unwrap().service, plain);
    }

    #[test]
    fn services_come_back_as_they_went() {
        let sip = Persistence::new(Duration::from_secs(60))
            .mask(PersistenceMask::v4([255, 255, 0, 0].into()));
        let v6 = "tcp/[2001:db8::53]:443".parse().unwrap();
        let prefix =
            Persistence::new(Duration::from_secs(1)).mask(PersistenceMask::v6(64).unwrap());
        for service in [
            Service::new(vip()).scheduler(None),
            Service::new(vip()).scheduler(Scheduler::SH).scheduler_flags(SchedulerFlags::SH_PORT),
            Service::new("udp/10.10.10.53:5060".parse().unwrap()).persistent(sip).one_packet(true),
            Service::new("udp/10.10.10.53:5061".parse().unwrap())
                .persistence_engine(PersistenceEngine::SIP),
            Service::new(v6).persistent(prefix),
            Service::new("fwmark6/7".parse().unwrap()),
        ] {
            let wire = service_to_wire(&service).unwrap();
            assert_eq!(service_from_wire(&wire).unwrap().service, service);
            assert!(wire.netmask.is_some(), "the kernel demands it of every service");
        }
    }

    #[test]
    fn what_the_kernel_has_no_place_for_is_refused() {
        let persistent = |timeout| Service::new(vip()).persistent(Persistence::new(timeout));
        assert_eq!(
            service_to_wire(&persistent(Duration::from_millis(1500))),
            Err(InvalidInput::FractionOfSecond { what: "persistence timeout" })
        );
        // What 1,000 ticks a second leave of 32 bits; the kernel would take 0, and report it.
        for seconds in [0, 4_294_968, 42_949_673, u64::from(u32::MAX), 1 << 32, u64::MAX] {
            let timeout = Duration::from_secs(seconds);
            let expected = Err(InvalidInput::PersistenceTimeout(timeout));
            assert_eq!(service_to_wire(&persistent(timeout)), expected);
        }
        let longest = service_to_wire(&persistent(Duration::from_secs(4_294_967))).unwrap();
        assert_eq!(longest.timeout, Some(4_294_967));
        assert!(service_to_wire(&persistent(Duration::from_nanos(4_294_967_000_000_001))).is_err());
        let v6_mask =
            Persistence::new(Duration::from_secs(1)).mask(PersistenceMask::v6(64).unwrap());
        assert_eq!(
            service_to_wire(&Service::new(vip()).persistent(v6_mask)),
            Err(InvalidInput::MaskFamily)
        );
        let flags = SchedulerFlags::from_bits_retain(0x4);
        assert_eq!(
            service_to_wire(&Service::new(vip()).scheduler_flags(flags)),
            Err(InvalidInput::ReservedFlags(0x4))
        );
        let alias = |given: &str, reported: &str| InvalidInput::Alias {
            given: given.to_owned(),
            reported: reported.to_owned(),
        };
        let tcp = ServiceKey::Addr {
            protocol: Protocol::Other(6),
            addr: [10, 10, 10, 53].into(),
            port: 80,
        };
        assert_eq!(service_to_wire(&Service::new(tcp)), Err(alias("proto-6", "tcp")));
        // IP_VS_CONN_F_FWD_MASK is 7.
        for (number, reported) in
            [(3, "direct route"), (8, "masquerade"), (13, "forwarding method 5")]
        {
            let server = Destination::new(DestinationKey::new([10, 10, 10, 102].into(), 80));
            let refused = destination_to_wire(&server.forward(Forward::Other(number)));
            assert_eq!(refused, Err(alias(&format!("forwarding method {number}"), reported)));
        }
        let zero = TimeoutsChange { udp: Some(Duration::ZERO), ..Default::default() };
        assert_eq!(timeouts_to_wire(&zero), Err(InvalidInput::ZeroTimeout { what: "UDP timeout" }));
    }
}
