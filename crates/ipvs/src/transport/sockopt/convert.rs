//! Conversions between generic netlink's messages and the structs of socket options, and what the
//! latter can't express.

use ipvs_sys as sys;
use rustix::io::Errno;

use crate::proto::responder::Refusal;
use crate::transport::sockopt::layout::{
    DaemonUser, DestEntry, DestUser, GetInfo, ServiceEntry, ServiceUser, StatsUser, TimeoutUser,
};

/// The kernel's defaults for what the structs have no field for, so these values are accepted.
const DEFAULT_GROUP: [u8; 4] = [224, 0, 0, 81];
const DEFAULT_PORT: u16 = 8848;
const DEFAULT_TTL: u8 = 1;

fn unsupported(what: &str) -> Refusal {
    Refusal::from(Errno::OPNOTSUPP)
        .message(format!("over IPVS's socket options there are no {what}"))
}

/// How a request names a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) protocol: u16,
    pub(super) addr: u32,
    pub(super) port: u16,
    pub(super) fwmark: u32,
}

impl Key {
    /// The key in a request; EINVAL if it is incomplete, as in the kernel.
    pub(super) fn of(service: Option<&sys::Service>) -> Result<Self, Refusal> {
        let service = service.ok_or(Errno::INVAL)?;
        match service.family.ok_or(Errno::INVAL)? {
            sys::AF_INET => {}
            sys::AF_INET6 => return Err(unsupported("IPv6 services")),
            _ => return Err(Errno::AFNOSUPPORT.into()),
        }
        if let Some(fwmark) = service.fwmark {
            // The kernel requires a protocol here, too, and keeps every mark under TCP.
            return Ok(Self { protocol: sys::IPPROTO_TCP, addr: 0, port: 0, fwmark });
        }
        let addr = service.addr.ok_or(Errno::INVAL)?;
        Ok(Self {
            protocol: service.protocol.ok_or(Errno::INVAL)?,
            addr: ipv4(&addr),
            port: service.port.ok_or(Errno::INVAL)?.to_be(),
            fwmark: 0,
        })
    }

    /// A change of this service that says no more about it. The kernel lists services of any
    /// protocol, but changes only those of three (EFAULT).
    pub(super) fn user(self) -> Result<ServiceUser, Refusal> {
        let Self { protocol, addr, port, fwmark } = self;
        if ![sys::IPPROTO_TCP, sys::IPPROTO_UDP, sys::IPPROTO_SCTP].contains(&protocol) {
            return Err(unsupported("protocols but TCP, UDP and SCTP"));
        }
        Ok(ServiceUser { protocol, addr, port, fwmark, ..ServiceUser::default() })
    }
}

/// An IPv4 address in network byte order.
fn ipv4(addr: &[u8; 16]) -> u32 {
    let [a, b, c, d, ..] = *addr;
    u32::from_ne_bytes([a, b, c, d])
}

/// A service to add or to set. `current` reads the flags that it has, in case the request leaves
/// some as they are.
pub(super) fn service_user(
    service: Option<&sys::Service>,
    current: impl FnOnce(Key) -> Result<u32, Refusal>,
) -> Result<ServiceUser, Refusal> {
    let key = Key::of(service)?;
    let service = service.ok_or(Errno::INVAL)?;
    if service.pe_name.is_some_and(|engine| !engine.is_empty()) {
        return Err(unsupported("persistence engines"));
    }
    let sys::Flags { flags, mask } = service.flags.ok_or(Errno::INVAL)?;
    let kept = if mask == u32::MAX { 0 } else { current(key)? & !mask };
    Ok(ServiceUser {
        sched_name: padded(&service.scheduler.ok_or(Errno::INVAL)?),
        flags: kept | flags.bits() & mask,
        timeout: service.timeout.ok_or(Errno::INVAL)?,
        netmask: service.netmask.ok_or(Errno::INVAL)?,
        ..key.user()?
    })
}

/// How a request names a destination.
pub(super) fn dest_key(dest: Option<&sys::Dest>) -> Result<DestUser, Refusal> {
    let dest = dest.ok_or(Errno::INVAL)?;
    match dest.addr_family {
        // Absent or 0 means the service's.
        None | Some(0 | sys::AF_INET) => {}
        Some(sys::AF_INET6) => return Err(unsupported("IPv6 servers")),
        Some(_) => return Err(Errno::AFNOSUPPORT.into()),
    }
    Ok(DestUser {
        addr: ipv4(&dest.addr.ok_or(Errno::INVAL)?),
        port: dest.port.ok_or(Errno::INVAL)?.to_be(),
        ..DestUser::default()
    })
}

/// A destination to add or to set.
pub(super) fn dest_user(dest: Option<&sys::Dest>) -> Result<DestUser, Refusal> {
    let key = dest_key(dest)?;
    let dest = dest.ok_or(Errno::INVAL)?;
    let method = dest.fwd_method.ok_or(Errno::INVAL)?.0 & sys::ForwardMethod::MASK;
    let is_tunnel = method == sys::ForwardMethod::TUNNEL.0;
    if is_tunnel && dest.tun_type.is_some_and(|kind| kind != sys::TunnelType::IPIP) {
        return Err(unsupported("tunnels but ipip"));
    }
    Ok(DestUser {
        conn_flags: method,
        weight: dest.weight.ok_or(Errno::INVAL)?,
        u_threshold: dest.u_thresh.ok_or(Errno::INVAL)?,
        l_threshold: dest.l_thresh.ok_or(Errno::INVAL)?,
        ..key
    })
}

/// A sync daemon to start.
pub(super) fn daemon_user(daemon: Option<&sys::Daemon>) -> Result<DaemonUser, Refusal> {
    let daemon = daemon.ok_or(Errno::INVAL)?;
    let sets_group = daemon.mcast_group.is_some_and(|group| group.octets() != DEFAULT_GROUP);
    for (is_set, what) in [
        (daemon.sync_maxlen.is_some_and(|length| length != 0), "lengths of sync messages"),
        (sets_group || daemon.mcast_group6.is_some(), "multicast groups of sync daemons"),
        (daemon.mcast_port.is_some_and(|port| ![0, DEFAULT_PORT].contains(&port)), "sync ports"),
        (daemon.mcast_ttl.is_some_and(|ttl| ![0, DEFAULT_TTL].contains(&ttl)), "sync TTLs"),
    ] {
        if is_set {
            return Err(unsupported(what));
        }
    }
    let sync_id = daemon.sync_id.ok_or(Errno::INVAL)?;
    Ok(DaemonUser {
        state: daemon.state.ok_or(Errno::INVAL)?.0,
        mcast_ifn: padded(&daemon.mcast_ifn.ok_or(Errno::INVAL)?),
        syncid: i32::try_from(sync_id).map_err(|_| Errno::INVAL)?,
    })
}

/// The timeouts to set; 0 keeps one as it is, in both interfaces.
pub(super) fn timeout_user(timeouts: &sys::Timeouts) -> TimeoutUser {
    TimeoutUser {
        tcp_timeout: timeouts.tcp.unwrap_or_default(),
        tcp_fin_timeout: timeouts.tcp_fin.unwrap_or_default(),
        udp_timeout: timeouts.udp.unwrap_or_default(),
    }
}

/// The service in an entry, as `GET_SERVICE` reports it.
pub(super) fn service(entry: &ServiceEntry) -> sys::Service {
    let by_address = entry.fwmark == 0;
    sys::Service {
        family: Some(sys::AF_INET),
        protocol: by_address.then_some(entry.protocol),
        addr: by_address.then(|| address(entry.addr)),
        port: by_address.then(|| u16::from_be(entry.port)),
        fwmark: (!by_address).then_some(entry.fwmark),
        scheduler: Some(name(&entry.sched_name)),
        pe_name: None,
        flags: Some(sys::Flags {
            flags: sys::ServiceFlags::from_bits_retain(entry.flags),
            mask: u32::MAX,
        }),
        timeout: Some(entry.timeout),
        netmask: Some(entry.netmask),
        stats: Some(stats(&entry.stats)),
        stats64: None,
    }
}

/// The destination in an entry, as `GET_DEST` reports it. Its kind of tunnel isn't known.
pub(super) fn dest(entry: &DestEntry) -> sys::Dest {
    sys::Dest {
        addr: Some(address(entry.addr)),
        port: Some(u16::from_be(entry.port)),
        fwd_method: Some(sys::ForwardMethod(entry.conn_flags & sys::ForwardMethod::MASK)),
        weight: Some(entry.weight),
        u_thresh: Some(entry.u_threshold),
        l_thresh: Some(entry.l_threshold),
        active_conns: Some(entry.activeconns),
        inact_conns: Some(entry.inactconns),
        persist_conns: Some(entry.persistconns),
        addr_family: Some(sys::AF_INET),
        stats: Some(stats(&entry.stats)),
        ..sys::Dest::default()
    }
}

/// The sync daemon, if it runs, as `GET_DAEMON` reports it.
pub(super) fn daemon(user: &DaemonUser) -> Option<sys::Daemon> {
    (user.state != sys::DaemonState::NONE.0).then(|| sys::Daemon {
        state: Some(sys::DaemonState(user.state)),
        mcast_ifn: Some(name(&user.mcast_ifn)),
        sync_id: u32::try_from(user.syncid).ok(),
        ..sys::Daemon::default()
    })
}

pub(super) fn timeouts(user: &TimeoutUser) -> sys::Timeouts {
    sys::Timeouts {
        tcp: Some(user.tcp_timeout),
        tcp_fin: Some(user.tcp_fin_timeout),
        udp: Some(user.udp_timeout),
    }
}

pub(super) fn info(info: &GetInfo) -> sys::Info {
    sys::Info { version: Some(info.version), conn_tab_size: Some(info.size) }
}

fn stats(user: &StatsUser) -> sys::Stats {
    sys::Stats {
        conns: user.conns,
        inpkts: user.inpkts,
        outpkts: user.outpkts,
        inbytes: user.inbytes,
        outbytes: user.outbytes,
        cps: user.cps,
        inpps: user.inpps,
        outpps: user.outpps,
        inbps: user.inbps,
        outbps: user.outbps,
    }
}

fn address(addr: u32) -> [u8; 16] {
    sys::addr_bytes(std::net::IpAddr::from(addr.to_ne_bytes()))
}

/// A name in a field of its maximum length, padded with NULs.
fn padded(name: &sys::Name) -> [u8; sys::Name::MAX_LEN] {
    let mut field = [0; sys::Name::MAX_LEN];
    for (place, byte) in field.iter_mut().zip(name.as_bytes()) {
        *place = *byte;
    }
    field
}

/// The name in a field, up to the first NUL.
fn name(field: &[u8; sys::Name::MAX_LEN]) -> sys::Name {
    let bytes = field.split(|&byte| byte == 0).next().unwrap_or_default();
    // It is no longer than the field and has no NUL, so it is a name.
    sys::Name::new(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    fn http() -> sys::Service {
        sys::Service {
            family: Some(sys::AF_INET),
            protocol: Some(sys::IPPROTO_TCP),
            addr: Some(sys::addr_bytes([192, 0, 2, 53].into())),
            port: Some(80),
            scheduler: Some(sys::Name::from_static("wlc")),
            flags: Some(sys::Flags { flags: sys::ServiceFlags::PERSISTENT, mask: u32::MAX }),
            timeout: Some(300),
            netmask: Some(sys::netmask_v4([255, 255, 255, 0].into())),
            ..Default::default()
        }
    }

    fn server() -> sys::Dest {
        sys::Dest {
            addr: Some(sys::addr_bytes([192, 0, 2, 102].into())),
            port: Some(8080),
            addr_family: Some(sys::AF_INET),
            fwd_method: Some(sys::ForwardMethod::TUNNEL),
            weight: Some(7),
            u_thresh: Some(20),
            l_thresh: Some(10),
            tun_type: Some(sys::TunnelType::IPIP),
            ..Default::default()
        }
    }

    fn master() -> sys::Daemon {
        sys::Daemon {
            state: Some(sys::DaemonState::MASTER),
            mcast_ifn: Some(sys::Name::from_static("eth0")),
            sync_id: Some(5),
            ..Default::default()
        }
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (i32, String) {
        let refusal = result.unwrap_err();
        (refusal.errno, refusal.message.unwrap_or_default().into_owned())
    }

    #[test]
    fn addresses_and_ports_are_in_network_order() {
        let service = service_user(Some(&http()), |_| panic!("the mask leaves nothing")).unwrap();
        assert_eq!(service.addr.to_ne_bytes(), [192, 0, 2, 53]);
        assert_eq!(service.port.to_ne_bytes(), [0, 80]);
        assert_eq!(service.netmask.to_ne_bytes(), [255, 255, 255, 0]);
        assert_eq!(service.sched_name, *b"wlc\0\0\0\0\0\0\0\0\0\0\0\0\0");
        assert_eq!((service.protocol, service.fwmark), (6, 0));
        assert_eq!((service.flags, service.timeout), (1, 300));

        let dest = dest_user(Some(&server())).unwrap();
        assert_eq!(dest.addr.to_ne_bytes(), [192, 0, 2, 102]);
        assert_eq!(dest.port.to_ne_bytes(), [0x1f, 0x90]);
        assert_eq!((dest.conn_flags, dest.weight), (2, 7));
        assert_eq!((dest.u_threshold, dest.l_threshold), (20, 10));
    }

    #[test]
    fn a_mark_is_filed_under_tcp() {
        let mark = sys::Service { fwmark: Some(9), addr: None, port: None, ..http() };
        let user = service_user(Some(&mark), |_| Ok(0)).unwrap();
        assert_eq!((user.protocol, user.addr, user.port, user.fwmark), (6, 0, 0, 9));
    }

    #[test]
    fn flags_outside_the_mask_stay() {
        let flags = sys::Flags { flags: sys::ServiceFlags::ONE_PACKET, mask: 0x5 };
        let service = sys::Service { flags: Some(flags), ..http() };
        let user = service_user(Some(&service), |_| Ok(0x19)).unwrap();
        assert_eq!(user.flags, 0x1c);
    }

    #[test]
    fn what_has_no_place_is_refused_by_name() {
        let not_supported = Errno::OPNOTSUPP.raw_os_error();
        let service = |change: fn(&mut sys::Service)| {
            let mut service = http();
            change(&mut service);
            refused(service_user(Some(&service), |_| Ok(0)))
        };
        let dest = |change: fn(&mut sys::Dest)| {
            let mut dest = server();
            change(&mut dest);
            refused(dest_user(Some(&dest)))
        };
        let daemon = |change: fn(&mut sys::Daemon)| {
            let mut daemon = master();
            change(&mut daemon);
            refused(daemon_user(Some(&daemon)))
        };
        for ((errno, message), what) in [
            (service(|it| it.family = Some(sys::AF_INET6)), "IPv6 services"),
            (service(|it| it.protocol = Some(1)), "protocols but"),
            (service(|it| it.pe_name = Some(sys::Name::from_static("sip"))), "engines"),
            (dest(|it| it.addr_family = Some(sys::AF_INET6)), "IPv6 servers"),
            (dest(|it| it.tun_type = Some(sys::TunnelType::GUE)), "tunnels but ipip"),
            (daemon(|it| it.sync_maxlen = Some(1400)), "lengths"),
            (daemon(|it| it.mcast_group = Some(Ipv4Addr::new(224, 0, 0, 82))), "groups"),
            (daemon(|it| it.mcast_group6 = Some(Ipv6Addr::LOCALHOST)), "groups"),
            (daemon(|it| it.mcast_port = Some(8849)), "ports"),
            (daemon(|it| it.mcast_ttl = Some(2)), "TTLs"),
        ] {
            assert_eq!(errno, not_supported);
            assert!(message.starts_with("over IPVS's socket options"), "{message}");
            assert!(message.contains(what), "{message}");
        }
    }

    #[test]
    fn what_the_kernel_does_anyway_may_be_asked_for() {
        let daemon = sys::Daemon {
            sync_maxlen: Some(0),
            mcast_group: Some(Ipv4Addr::new(224, 0, 0, 81)),
            mcast_port: Some(8848),
            mcast_ttl: Some(1),
            ..master()
        };
        assert_eq!(daemon_user(Some(&daemon)).unwrap(), daemon_user(Some(&master())).unwrap());
        // Without a tunnel, a real server's tunnel attributes mean nothing.
        let masqueraded = sys::Dest {
            fwd_method: Some(sys::ForwardMethod::MASQUERADE),
            tun_type: Some(sys::TunnelType::GRE),
            ..server()
        };
        assert_eq!(dest_user(Some(&masqueraded)).unwrap().conn_flags, 0);
    }

    #[test]
    fn a_request_that_lacks_something_is_invalid() {
        let invalid = (Errno::INVAL.raw_os_error(), String::new());
        for change in [
            (|it| it.family = None) as fn(&mut sys::Service),
            |it| it.protocol = None,
            |it| it.addr = None,
            |it| it.port = None,
            |it| it.scheduler = None,
            |it| it.flags = None,
            |it| it.timeout = None,
            |it| it.netmask = None,
        ] {
            let mut service = http();
            change(&mut service);
            assert_eq!(refused(service_user(Some(&service), |_| Ok(0))), invalid);
        }
        for change in [
            (|it| it.addr = None) as fn(&mut sys::Dest),
            |it| it.port = None,
            |it| it.fwd_method = None,
            |it| it.weight = None,
            |it| it.u_thresh = None,
            |it| it.l_thresh = None,
        ] {
            let mut dest = server();
            change(&mut dest);
            assert_eq!(refused(dest_user(Some(&dest))), invalid);
        }
    }
}
