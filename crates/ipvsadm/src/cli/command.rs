//! The command to execute: a command line whose options go together.

use std::net::IpAddr;
use std::time::Duration;

use ipvs::{
    Change, Connection, Destination, DestinationKey, Family, Forward, GueChecksum, InterfaceName,
    Persistence, Protocol, SchedulerFlags, Service, ServiceKey, SyncDaemon, TimeoutsChange, Tunnel,
};

use crate::cli::args::{self, Args};
use crate::cli::keep::{ServerUpdate, ServiceUpdate, Update};
use crate::cli::kinds::{CommandKind, Forwarding, OptionKind, TunnelType};
use crate::cli::matrix;
use crate::text::list::Format;
use crate::text::messages::UsageError;
use crate::text::numbers::Scale;

/// A command, with everything needed to execute it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Change(Change),
    /// An edit that keeps options that aren't given.
    Update(Update),
    List(List),
    Save {
        numeric: bool,
        /// Including what the C program leaves out.
        all: bool,
    },
    Restore,
    /// A restore that changes nothing if a line is wrong.
    RestoreStrictly,
}

/// What to list, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) what: Listed,
    pub(crate) format: Format,
    pub(crate) numeric: bool,
    pub(crate) scale: Scale,
    pub(crate) sorted: bool,
    /// As JSON, for which `format`, `numeric` and `scale` make no difference.
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Table,
    Service(ServiceKey),
    Connections {
        /// Whether to show the persistence engine's data.
        engine: bool,
        only: ConnectionFilter,
    },
    Timeouts,
    Daemons,
}

/// Which connections to list; by default, all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConnectionFilter {
    pub(crate) service: Option<ServiceKey>,
    /// The real server, on one port or on all of them.
    pub(crate) server: Option<(IpAddr, Option<u16>)>,
}

impl ConnectionFilter {
    pub(crate) fn admits(&self, connection: &Connection) -> bool {
        let destination = connection.destination;
        self.service.is_none_or(|service| connection.belongs_to(&service))
            && self.server.is_none_or(|(addr, port)| {
                destination.ip() == addr && port.is_none_or(|port| destination.port() == port)
            })
    }
}

impl List {
    /// The list that the program shows without arguments.
    pub(crate) fn everything() -> Self {
        Self {
            what: Listed::Table,
            format: Format::default(),
            numeric: false,
            scale: Scale::Short,
            sorted: true,
            json: false,
        }
    }
}

impl Command {
    /// Checks in the order of the C program. The order decides which message users see if they make
    /// several mistakes.
    pub(crate) fn new(args: &Args) -> Result<Self, UsageError> {
        let keeps = args.has(OptionKind::Keep);
        // A scheduler that is kept isn't known yet.
        let scheduler = if keeps {
            args.scheduler.as_deref()
        } else {
            Some(args.scheduler.as_deref().unwrap_or_default())
        };
        let words = args.scheduler_flags.as_deref().unwrap_or_default();
        let scheduler_flags = args::scheduler_flags(words, scheduler)?;
        matrix::check_command(args.command, args.given)?;
        let change = match args.command {
            CommandKind::EditService if keeps => {
                return Ok(Self::Update(Update::Service(ServiceUpdate::new(args)?)));
            }
            CommandKind::EditServer if keeps => {
                return Ok(Self::Update(Update::Server(ServerUpdate::new(args)?)));
            }
            CommandKind::AddService => Change::AddService(service(args, scheduler_flags)?),
            CommandKind::EditService => Change::SetService(service(args, scheduler_flags)?),
            CommandKind::DeleteService => Change::DeleteService(args.service_key()?),
            CommandKind::Flush => Change::Flush,
            CommandKind::AddServer => Change::AddDestination {
                service: args.service_key()?,
                destination: destination(args)?,
            },
            CommandKind::EditServer => Change::SetDestination {
                service: args.service_key()?,
                destination: destination(args)?,
            },
            CommandKind::DeleteServer => {
                let (addr, port) = args.server_address()?;
                Change::DeleteDestination {
                    service: args.service_key()?,
                    destination: DestinationKey::new(addr, port),
                }
            }
            CommandKind::Zero => Change::Zero(args.service.filter(|key| !is_all_zero(key))),
            CommandKind::SetTimeouts => Change::SetTimeouts(timeouts(args.timeouts)),
            CommandKind::StartDaemon => Change::StartSyncDaemon(daemon(args)?),
            CommandKind::StopDaemon => Change::StopSyncDaemon(args.role),
            CommandKind::List => return list(args).map(Self::List),
            CommandKind::Save => {
                let all = args.has(OptionKind::All);
                return Ok(Self::Save { numeric: all || args.has(OptionKind::Numeric), all });
            }
            CommandKind::Restore if args.has(OptionKind::Strict) => {
                return Ok(Self::RestoreStrictly);
            }
            CommandKind::Restore => return Ok(Self::Restore),
        };
        Ok(Self::Change(change))
    }
}

fn service(args: &Args, flags: SchedulerFlags) -> Result<Service, UsageError> {
    let key = args.service_key()?;
    let one_packet = args.has(OptionKind::Ops);
    if let ServiceKey::Addr { protocol, port, .. } = key {
        if port == 0 && args.persistent.is_none() {
            return Err(UsageError::ZeroPort);
        }
        if one_packet && protocol != Protocol::Udp {
            return Err(UsageError::OpsWithoutUdp);
        }
    }
    let persistence = args
        .persistent
        .map(|seconds| Persistence::new(Duration::from_secs(seconds.into())).mask(args.mask));
    Ok(Service::new(key)
        .scheduler(args.scheduler()?)
        .scheduler_flags(flags)
        .one_packet(one_packet)
        .persistent(persistence)
        .persistence_engine(args.engine()?))
}

fn destination(args: &Args) -> Result<Destination, UsageError> {
    let key = args.service_key()?;
    let (addr, mut port) = args.server_address()?;
    let forwarding = args.forwarding.unwrap_or(Forwarding::Gatewaying);
    if Family::of(addr) != key.family() && forwarding != Forwarding::Ipip {
        return Err(UsageError::MixedFamilies);
    }
    if !matrix::tunnel_options(args.given).is_empty() && forwarding != Forwarding::Ipip {
        return Err(UsageError::TunnelOptions);
    }
    let tunnel_type = args.tunnel_type.unwrap_or(TunnelType::Ipip);
    matrix::check_tunnel(tunnel_type, args.given)?;

    // Direct routing and tunnels don't translate ports, so the real server's port is the service's.
    if let ServiceKey::Addr { port: service_port, .. } = key {
        if forwarding != Forwarding::Masquerading {
            port = service_port;
        }
    }
    let forward = match forwarding {
        Forwarding::Gatewaying => Forward::DirectRoute,
        Forwarding::Masquerading => Forward::Masquerade,
        Forwarding::Ipip => Forward::Tunnel(tunnel(args, tunnel_type)),
    };
    Ok(Destination::new(DestinationKey::new(addr, port))
        .forward(forward)
        .weight(args.weight.unwrap_or(1))
        .thresholds(
            args.upper_threshold.unwrap_or_default(),
            args.lower_threshold.unwrap_or_default(),
        ))
}

fn tunnel(args: &Args, tunnel_type: TunnelType) -> Tunnel {
    match tunnel_type {
        TunnelType::Ipip => Tunnel::Ipip,
        TunnelType::Gue => Tunnel::Gue {
            port: args.tunnel_port.unwrap_or_default(),
            checksum: args::gue_checksum(args.given).unwrap_or(GueChecksum::None),
        },
        TunnelType::Gre => {
            Tunnel::Gre { checksum: args::gre_checksum(args.given).unwrap_or(false) }
        }
    }
}

/// Like the C program, treats a service whose address and port are all zero as missing.
fn is_all_zero(key: &ServiceKey) -> bool {
    matches!(key, ServiceKey::Addr { addr, port: 0, .. } if addr.is_unspecified())
}

fn timeouts([tcp, tcp_fin, udp]: [u32; 3]) -> TimeoutsChange {
    let change = |seconds: u32| (seconds != 0).then(|| Duration::from_secs(seconds.into()));
    TimeoutsChange { tcp: change(tcp), tcp_fin: change(tcp_fin), udp: change(udp) }
}

fn daemon(args: &Args) -> Result<SyncDaemon, UsageError> {
    let interface = match args.mcast_interface.as_deref() {
        None | Some(b"") => b"eth0",
        Some(name) => name,
    };
    Ok(SyncDaemon::new(args.role, InterfaceName::new(interface)?)
        .sync_id(args.sync_id.unwrap_or_default())
        .max_length(args.sync_max_length)
        .group(args.mcast_group)
        .port(args.mcast_port)
        .ttl(args.mcast_ttl))
}

fn list(args: &Args) -> Result<List, UsageError> {
    let given = |kind| args.has(kind);
    let (connections, timeouts, daemons) =
        (given(OptionKind::Connection), given(OptionKind::Timeout), given(OptionKind::Daemon));
    let statistics =
        given(OptionKind::Stats) || given(OptionKind::Rate) || given(OptionKind::Thresholds);
    let persistent = given(OptionKind::PersistentConn);
    if (connections || timeouts || daemons) && statistics || (timeouts || daemons) && persistent {
        return Err(UsageError::ListConflict);
    }
    let what = if connections {
        Listed::Connections { engine: persistent, only: connection_filter(args)? }
    } else if timeouts {
        Listed::Timeouts
    } else if daemons {
        Listed::Daemons
    } else {
        args.service.map_or(Listed::Table, Listed::Service)
    };
    // If several are given, the first of these wins.
    let format = [
        (OptionKind::Stats, Format::Stats),
        (OptionKind::Rate, Format::Rate),
        (OptionKind::Thresholds, Format::Thresholds),
        (OptionKind::PersistentConn, Format::PersistentConn),
        (OptionKind::TunInfo, Format::TunInfo),
    ]
    .into_iter()
    .find_map(|(kind, format)| given(kind).then_some(format))
    .unwrap_or_default();
    Ok(List {
        what,
        format,
        numeric: given(OptionKind::Numeric),
        scale: if given(OptionKind::Exact) { Scale::Exact } else { Scale::Short },
        sorted: !given(OptionKind::NoSort),
        json: given(OptionKind::Json),
    })
}

fn connection_filter(args: &Args) -> Result<ConnectionFilter, UsageError> {
    let server = args.server.map(|(addr, port)| (addr, args.server_has_port.then_some(port)));
    let filter = ConnectionFilter { service: args.service, server };
    if args.has(OptionKind::Only) && filter == ConnectionFilter::default() {
        return Err(UsageError::OnlyWhat);
    }
    Ok(filter)
}

#[cfg(test)]
pub(super) mod tests {
    use std::ffi::OsStr;

    use ipvs::{PersistenceEngine, Scheduler, SyncRole};

    use super::*;
    use crate::cli::parse::tests::given;

    pub(in crate::cli) fn accepted(line: &str) -> Command {
        Command::new(&given(line)).unwrap_or_else(|error| panic!("{line}: {error:?}"))
    }

    pub(in crate::cli) fn refused(line: &str) -> String {
        let error = Command::new(&given(line)).unwrap_err();
        assert!(!matches!(error, UsageError::NoCommand | UsageError::Syntax { .. }), "{error:?}");
        String::from_utf8(error.message(OsStr::new("ipvsadm"))).unwrap()
    }

    fn added(line: &str) -> Service {
        match accepted(line) {
            Command::Change(Change::AddService(service)) => service,
            other => panic!("{other:?}"),
        }
    }

    fn server(options: &str) -> Destination {
        match accepted(&format!("-a -t 10.0.0.1:80 -r 10.1.0.1:8080 {options}")) {
            Command::Change(Change::AddDestination { destination, .. }) => destination,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn services_default_to_wlc_without_persistence() {
        let service = added("-A -t 10.0.0.1:80");
        assert_eq!(service, Service::new(ServiceKey::tcp("10.0.0.1:80".parse().unwrap())));
        assert_eq!(service.scheduler, Some(Scheduler::WLC));
        assert_eq!(added("-A -t 10.0.0.1:80 -s=").scheduler, Some(Scheduler::WLC));
        assert_eq!(added("-A -t 10.0.0.1:80 -s none").scheduler, None);
    }

    #[test]
    fn a_service_in_full() {
        let service = added("-A -u 10.0.0.1:53 -b sh-port -o -p -M 255.255.0.0 --pe sip -s sh");
        assert_eq!(service.scheduler, Some(Scheduler::SH));
        assert_eq!(service.scheduler_flags, SchedulerFlags::SH_PORT);
        assert!(service.one_packet);
        assert_eq!(service.persistence_engine, Some(PersistenceEngine::SIP));
        assert_eq!(service.persistence_engine, Some(PersistenceEngine::SIP));
        let persistence = service.persistence.unwrap();
        assert_eq!(persistence.timeout, Duration::from_secs(360));
        assert_eq!(persistence.mask.as_v4(), Some([255, 255, 0, 0].into()));
    }

    #[test]
    fn scheduler_flags_are_split_at_commas() {
        let flags = |options: &str| added(&format!("-A -t 10.0.0.1:80 {options}")).scheduler_flags;
        assert_eq!(flags("-b flag-1,,flag-3"), SchedulerFlags::FLAG_1 | SchedulerFlags::FLAG_3);
        assert_eq!(flags("-b="), SchedulerFlags::empty());
        assert_eq!(flags("-b ,"), SchedulerFlags::empty());
        assert_eq!(flags("-b mh-fallback -s mh"), SchedulerFlags::MH_FALLBACK);

        for (line, message) in [
            ("-A -b bogus", "invalid scheduler flag `bogus'\n"),
            ("-A -b Flag-1", "invalid scheduler flag `Flag-1'\n"),
            ("-A -b sh-port", "incompatible scheduler flag `sh-port'\n"),
            ("-A -s mh -b flag-1,sh-port", "incompatible scheduler flag `sh-port'\n"),
            // Checked before the combination of options.
            ("-a -b sh-port", "incompatible scheduler flag `sh-port'\n"),
            ("-L -b flag-1", "Illegal 'sched-flags' option with the 'list' command\n"),
        ] {
            assert_eq!(refused(line), message, "{line}");
        }
    }

    #[test]
    fn port_zero_needs_persistence() {
        let message = "Zero port specified for non-persistent service\n";
        assert_eq!(refused("-A -t 10.0.0.1:0"), message);
        assert_eq!(refused("-E -t 10.0.0.1"), message);
        assert_eq!(refused("-A -t 2001:db8::1"), message);
        accepted("-A -t 10.0.0.1 -p");
        accepted("-A -f 1");
        accepted("-D -t 10.0.0.1");
    }

    #[test]
    fn one_packet_scheduling_needs_udp() {
        let message = "One-Packet Scheduling is only for UDP virtual services\n";
        assert_eq!(refused("-A -t 10.0.0.1:80 -o"), message);
        assert_eq!(refused("-A --sctp-service 10.0.0.1:80 -o"), message);
        assert!(added("-A -u 10.0.0.1:80 -o").one_packet);
        assert!(added("-A -f 1 -o").one_packet);
    }

    #[test]
    fn servers_default_to_direct_routing_and_weight_1() {
        let destination = server("");
        assert_eq!(destination.forward, Forward::DirectRoute);
        assert_eq!(destination.weight, 1);
        assert_eq!((destination.upper_threshold, destination.lower_threshold), (0, 0));
        let destination = server("-w 0 -x 500 -y 300");
        assert_eq!(destination.weight, 0);
        assert_eq!((destination.upper_threshold, destination.lower_threshold), (500, 300));
    }

    #[test]
    fn only_masquerading_changes_ports() {
        assert_eq!(server("").port, 80);
        assert_eq!(server("-i").port, 80);
        assert_eq!(server("-m").port, 8080);
        let marked = accepted("-a -f 1 -r 10.1.0.1:8080");
        assert!(
            matches!(marked, Command::Change(Change::AddDestination { destination: d, .. }) if d.port == 8080)
        );
        let deleted = accepted("-d -t 10.0.0.1:80 -r 10.1.0.1:8080");
        assert!(
            matches!(deleted, Command::Change(Change::DeleteDestination { destination: d, .. }) if d.port == 8080)
        );
    }

    #[test]
    fn tunnels_of_all_types() {
        use GueChecksum::{Full, None, Remote};
        for (options, tunnel) in [
            ("", Tunnel::Ipip),
            ("--tun-type gue --tun-port 9", Tunnel::Gue { port: 9, checksum: None }),
            ("--tun-type gue --tun-port 9 --tun-nocsum", Tunnel::Gue { port: 9, checksum: None }),
            ("--tun-type gue --tun-port 9 --tun-csum", Tunnel::Gue { port: 9, checksum: Full }),
            (
                "--tun-type gue --tun-port 9 --tun-remcsum",
                Tunnel::Gue { port: 9, checksum: Remote },
            ),
            ("--tun-type gre", Tunnel::Gre { checksum: false }),
            ("--tun-type gre --tun-csum", Tunnel::Gre { checksum: true }),
        ] {
            assert_eq!(server(&format!("-i {options}")).forward, Forward::Tunnel(tunnel));
        }
    }

    #[test]
    fn only_tunnels_mix_families() {
        let message = "Different address family is allowed only for tunneling servers\n";
        assert_eq!(refused("-a -t [2001:db8::1]:80 -r 10.1.0.1 --tun-type gre"), message);
        assert_eq!(refused("-e -f 1 -r [2001:db8::1]:80 -m"), message);
        accepted("-a -t [2001:db8::1]:80 -r 10.1.0.1 -i");
        accepted("-d -t [2001:db8::1]:80 -r 10.1.0.1");
    }

    #[test]
    fn tunnel_options_need_tunnels() {
        let message = "Tunnel options conflict with forward method\n";
        assert_eq!(refused("-a -t 10.0.0.1:80 -r 10.1.0.1 --tun-type gre"), message);
        assert_eq!(refused("-a -t 10.0.0.1:80 -r 10.1.0.1 -m --tun-port 5"), message);
    }

    #[test]
    fn connections_are_filtered_by_service_and_server() {
        // The kernel's lines are in the form of Linux 6.1; the last is the template of mark 7.
        let list = "title\n\
            TCP 0A090003 B666 0A000001 0050 0A010001 1F90 ESTABLISHED 899\n\
            TCP 0A090003 B667 0A000001 0050 0A010002 1F90 ESTABLISHED 899\n\
            TCP 0A090003 B668 0A000001 01BB 0A010001 01BB ESTABLISHED 899\n\
            UDP 0A090003 B669 0A000001 0050 0A010001 0050 UDP 299\n\
            IP  0A090003 0000 00000007 0000 0A010001 0000 NONE 49\n";
        let all: Vec<_> = ipvs::Connections::new(list.as_bytes()).map(Result::unwrap).collect();
        for (options, admitted) in [
            ("-t 10.0.0.1:80", &[0, 1][..]),
            ("-t 10.0.0.1", &[0, 1, 2]),
            ("-u 10.0.0.1:80", &[3]),
            ("-u 10.0.0.1:81", &[]),
            ("-f 7", &[4]),
            ("-f 7 -6", &[]),
            ("-r 10.1.0.1", &[0, 2, 3, 4]),
            ("-r 10.1.0.1:8080", &[0]),
            ("-r 10.1.0.1 -t 10.0.0.1:80", &[0]),
            // Elsewhere the service lends its port, but here that would exclude the real server's
            // own.
            ("-t 10.0.0.1:80 -r 10.1.0.1", &[0]),
            ("-t 10.0.0.1:80 -r 10.1.0.1:80", &[]),
            ("-t [2001:db8::1]:80", &[]),
        ] {
            let Command::List(list) = accepted(&format!("-L -c --only {options}")) else {
                panic!()
            };
            let Listed::Connections { only, .. } = list.what else { panic!("{list:?}") };
            let which: Vec<_> = (0..all.len()).filter(|i| only.admits(&all[*i])).collect();
            assert_eq!(which, admitted, "{options}");
        }
    }

    #[test]
    fn a_save_of_everything_has_numbers() {
        assert_eq!(accepted("-S"), Command::Save { numeric: false, all: false });
        assert_eq!(accepted("-S -n"), Command::Save { numeric: true, all: false });
        for line in ["-S --all", "-S --all -n"] {
            assert_eq!(accepted(line), Command::Save { numeric: true, all: true });
        }
    }

    #[test]
    fn zeroing_no_address_zeroes_everything() {
        let zeroed = |line| match accepted(line) {
            Command::Change(Change::Zero(key)) => key.map(|key| key.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(zeroed("-Z"), None);
        assert_eq!(zeroed("-Z -t 0.0.0.0:0"), None);
        assert_eq!(zeroed("-Z -t [::]:0"), None);
        assert_eq!(zeroed("-Z -t 0.0.0.0:1").as_deref(), Some("tcp/0.0.0.0:1"));
        assert_eq!(zeroed("-Z -f 1").as_deref(), Some("fwmark/1"));
    }

    #[test]
    fn a_timeout_of_zero_stays_as_it_is() {
        let Command::Change(Change::SetTimeouts(change)) = accepted("--set 0 120 0") else {
            panic!()
        };
        let expected =
            TimeoutsChange { tcp_fin: Some(Duration::from_secs(120)), ..Default::default() };
        assert_eq!(change, expected);
    }

    #[test]
    fn daemons_default_to_eth0() {
        let daemon = |options: &str| match accepted(&format!("--start-daemon backup {options}")) {
            Command::Change(Change::StartSyncDaemon(daemon)) => daemon,
            other => panic!("{other:?}"),
        };
        let eth0 = InterfaceName::new("eth0").unwrap();
        assert_eq!(daemon(""), SyncDaemon::new(SyncRole::Backup, eth0));
        assert_eq!(daemon("--mcast-interface="), SyncDaemon::new(SyncRole::Backup, eth0));
        let full = daemon(
            "--syncid 7 --mcast-group ff02::1 --mcast-port 9 --mcast-ttl 2 --sync-maxlen 1000",
        );
        assert_eq!(full.sync_id, 7);
        assert_eq!(full.group, Some("ff02::1".parse().unwrap()));
        assert_eq!((full.port, full.ttl, full.max_length), (Some(9), Some(2), Some(1000)));
    }

    #[test]
    fn lists() {
        let listed = |line: &str| match accepted(line) {
            Command::List(list) => list,
            other => panic!("{other:?}"),
        };
        assert_eq!(listed("-L"), List::everything());
        assert_eq!(listed("-L --rate --stats").format, Format::Stats);
        assert_eq!(listed("-L --tun-info --persistent-conn").format, Format::PersistentConn);
        assert_eq!(
            listed("-Lc --persistent-conn").what,
            Listed::Connections { engine: true, only: ConnectionFilter::default() }
        );
        assert_eq!(listed("-L --timeout -n -X --nosort --tun-info").what, Listed::Timeouts);
        for line in [
            "-L -c --stats",
            "-L --timeout --rate",
            "-L --daemon --thresholds",
            "-L --timeout --persistent-conn",
            "-L --daemon --persistent-conn",
        ] {
            assert_eq!(refused(line), "options conflicts in the list command\n", "{line}");
        }
    }
}
