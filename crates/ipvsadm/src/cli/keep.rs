//! `-E --keep` and `-e --keep`: the given options are merged into the kernel's object.

use std::time::Duration;

use ipvs::{
    Destination, DestinationKey, Family, Forward, GueChecksum, Persistence, PersistenceEngine,
    PersistenceMask, Protocol, Scheduler, SchedulerFlags, Service, ServiceKey, Tunnel,
};

use crate::cli::args::{self, Args};
use crate::cli::kinds::{Forwarding, OptionKind, OptionSet, TunnelType};
use crate::cli::matrix;
use crate::text::messages::UsageError;

/// A change that keeps options that aren't given. Only reading the object shows whether it fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Update {
    Service(ServiceUpdate),
    Server(ServerUpdate),
}

/// The changes to a virtual service; `None` keeps a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServiceUpdate {
    pub(crate) key: ServiceKey,
    scheduler: Option<Option<Scheduler>>,
    /// The value of `-b`, not parsed yet: its words may belong to a scheduler that is kept.
    scheduler_flags: Option<Vec<u8>>,
    /// Seconds.
    timeout: Option<u32>,
    mask: Option<PersistenceMask>,
    engine: Option<Option<PersistenceEngine>>,
    /// One-packet scheduling can only be switched on.
    one_packet: bool,
}

impl ServiceUpdate {
    pub(super) fn new(args: &Args) -> Result<Self, UsageError> {
        let key = args.service_key()?;
        let one_packet = args.has(OptionKind::Ops);
        if one_packet
            && matches!(key, ServiceKey::Addr { protocol, .. } if protocol != Protocol::Udp)
        {
            return Err(UsageError::OpsWithoutUdp);
        }
        let update = Self {
            key,
            scheduler: args.has(OptionKind::Scheduler).then(|| args.scheduler()).transpose()?,
            scheduler_flags: args.scheduler_flags.clone(),
            timeout: args.persistent,
            mask: args.has(OptionKind::Netmask).then_some(args.mask),
            engine: args.has(OptionKind::PersistenceEngine).then(|| args.engine()).transpose()?,
            one_packet,
        };
        Ok(update)
    }

    /// Changes a service as the kernel has it. Flags are kept only together with their scheduler.
    pub(crate) fn apply(&self, service: &mut Service) -> Result<(), UsageError> {
        if let Some(scheduler) = self.scheduler.filter(|new| *new != service.scheduler) {
            service.scheduler = scheduler;
            service.scheduler_flags = SchedulerFlags::empty();
        }
        if let Some(words) = &self.scheduler_flags {
            let scheduler = service.scheduler.as_ref().map_or(&b"none"[..], Scheduler::as_bytes);
            service.scheduler_flags = args::scheduler_flags(words, Some(scheduler))?;
        }
        if let Some(seconds) = self.timeout {
            let timeout = Duration::from_secs(seconds.into());
            match &mut service.persistence {
                Some(persistence) => persistence.timeout = timeout,
                None => service.persistence = Some(Persistence::new(timeout)),
            }
        }
        if let Some(mask) = self.mask {
            service.persistence.as_mut().ok_or(UsageError::MaskWithoutPersistence)?.mask = mask;
        }
        if let Some(engine) = self.engine {
            service.persistence_engine = engine;
        }
        service.one_packet |= self.one_packet;
        Ok(())
    }
}

/// The changes to a real server; `None` keeps a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUpdate {
    pub(crate) service: ServiceKey,
    pub(crate) server: DestinationKey,
    forwarding: Option<Forwarding>,
    weight: Option<u32>,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
    tunnel_type: Option<TunnelType>,
    tunnel_port: Option<u16>,
    /// The tunnel options that were given.
    tunnel_options: OptionSet,
}

impl ServerUpdate {
    pub(super) fn new(args: &Args) -> Result<Self, UsageError> {
        let service = args.service_key()?;
        let (addr, mut port) = args.server_address()?;
        let forwarding = args.forwarding;
        let tunnel_options = matrix::tunnel_options(args.given);
        if forwarding.is_some_and(|method| method != Forwarding::Ipip) {
            if Family::of(addr) != service.family() {
                return Err(UsageError::MixedFamilies);
            }
            if !tunnel_options.is_empty() {
                return Err(UsageError::TunnelOptions);
            }
        }
        if let Some(kind) = args.tunnel_type {
            // The port may be kept.
            matrix::check_tunnel(kind, with_kept_port(args.given, kind))?;
        }
        if let ServiceKey::Addr { port: service_port, .. } = service {
            // A given method decides, as without --keep. If the kernel's method is kept, the typed
            // port may be that of a masqueraded real server.
            let is_services = forwarding.is_some_and(|method| method != Forwarding::Masquerading);
            if is_services || !args.server_has_port {
                port = service_port;
            }
        }
        Ok(Self {
            service,
            server: DestinationKey::new(addr, port),
            forwarding,
            weight: args.weight,
            upper_threshold: args.upper_threshold,
            lower_threshold: args.lower_threshold,
            tunnel_type: args.tunnel_type,
            tunnel_port: args.tunnel_port,
            tunnel_options,
        })
    }

    /// Changes a real server as the kernel has it.
    pub(crate) fn apply(&self, server: &mut Destination) -> Result<(), UsageError> {
        server.forward = self.forward(server.forward)?;
        server.weight = self.weight.unwrap_or(server.weight);
        server.upper_threshold = self.upper_threshold.unwrap_or(server.upper_threshold);
        server.lower_threshold = self.lower_threshold.unwrap_or(server.lower_threshold);
        Ok(())
    }

    fn forward(&self, kept: Forward) -> Result<Forward, UsageError> {
        let forward = match (self.forwarding, kept) {
            (None, _) | (Some(Forwarding::Ipip), Forward::Tunnel(_)) => kept,
            (Some(Forwarding::Gatewaying), _) => Forward::DirectRoute,
            (Some(Forwarding::Masquerading), _) => Forward::Masquerade,
            (Some(Forwarding::Ipip), _) => Forward::Tunnel(Tunnel::Ipip),
        };
        if self.tunnel_options.is_empty() {
            return Ok(forward);
        }
        match forward {
            Forward::Tunnel(kept) => Ok(Forward::Tunnel(self.tunnel(kept)?)),
            _ => Err(UsageError::TunnelOptions),
        }
    }

    /// A tunnel's port and checksums are kept only together with its type.
    fn tunnel(&self, kept: Tunnel) -> Result<Tunnel, UsageError> {
        let kept_type = match kept {
            Tunnel::Ipip => Some(TunnelType::Ipip),
            Tunnel::Gue { .. } => Some(TunnelType::Gue),
            Tunnel::Gre { .. } => Some(TunnelType::Gre),
            // A type for which this version has no options.
            _ => None,
        };
        let kind = self.tunnel_type.or(kept_type).ok_or(UsageError::TunnelOptions)?;
        let kept = Some(kept).filter(|_| kept_type == Some(kind));
        let given = match kept {
            Some(Tunnel::Gue { .. }) => with_kept_port(self.tunnel_options, kind),
            _ => self.tunnel_options,
        };
        matrix::check_tunnel(kind, given)?;
        let options = self.tunnel_options;
        Ok(match (kind, kept) {
            (TunnelType::Ipip, _) => Tunnel::Ipip,
            (TunnelType::Gue, Some(Tunnel::Gue { port, checksum })) => Tunnel::Gue {
                port: self.tunnel_port.unwrap_or(port),
                checksum: args::gue_checksum(options).unwrap_or(checksum),
            },
            (TunnelType::Gue, _) => Tunnel::Gue {
                port: self.tunnel_port.unwrap_or_default(),
                checksum: args::gue_checksum(options).unwrap_or(GueChecksum::None),
            },
            (TunnelType::Gre, Some(Tunnel::Gre { checksum })) => {
                Tunnel::Gre { checksum: args::gre_checksum(options).unwrap_or(checksum) }
            }
            (TunnelType::Gre, _) => {
                Tunnel::Gre { checksum: args::gre_checksum(options).unwrap_or(false) }
            }
        })
    }
}

/// The options given, and the port of a gue tunnel, which needs one but may already have it.
fn with_kept_port(mut given: OptionSet, kind: TunnelType) -> OptionSet {
    if kind == TunnelType::Gue {
        given.insert(OptionKind::TunPort);
    }
    given
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;
    use crate::cli::command::Command;
    use crate::cli::command::tests::{accepted, refused};

    fn update(line: &str) -> Update {
        match accepted(line) {
            Command::Update(update) => update,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn message(error: &UsageError) -> String {
        String::from_utf8(error.message(OsStr::new("ipvsadm"))).unwrap()
    }

    /// The result of `-E --keep` on a service.
    fn service(before: &Service, options: &str) -> Result<Service, String> {
        let Update::Service(update) = update(&format!("-E -u 10.0.0.1:53 --keep {options}")) else {
            panic!("{options}")
        };
        assert_eq!(update.key, before.key);
        let mut after = before.clone();
        update.apply(&mut after).map(|()| after).map_err(|error| message(&error))
    }

    fn full_service() -> Service {
        let mask = PersistenceMask::v4([255, 255, 0, 0].into());
        Service::new(ServiceKey::udp("10.0.0.1:53".parse().unwrap()))
            .scheduler(Scheduler::SH)
            .scheduler_flags(SchedulerFlags::SH_PORT)
            .persistent(Persistence::new(Duration::from_secs(60)).mask(mask))
            .persistence_engine(PersistenceEngine::SIP)
            .one_packet(true)
    }

    #[test]
    fn a_service_keeps_what_is_not_given() {
        let full = full_service();
        assert_eq!(service(&full, ""), Ok(full.clone()));
        let with = |change: &dyn Fn(&mut Service)| {
            let mut service = full.clone();
            change(&mut service);
            Ok(service)
        };
        assert_eq!(
            service(&full, "-p 90"),
            with(&|s| s.persistence.as_mut().unwrap().timeout = Duration::from_secs(90))
        );
        assert_eq!(
            service(&full, "-M 255.0.0.0"),
            with(&|s| s.persistence.as_mut().unwrap().mask =
                PersistenceMask::v4([255, 0, 0, 0].into()))
        );
        assert_eq!(service(&full, "--pe="), with(&|s| s.persistence_engine = None));
        assert_eq!(service(&full, "-b="), with(&|s| s.scheduler_flags = SchedulerFlags::empty()));
        assert_eq!(
            service(&full, "-b sh-fallback"),
            with(&|s| s.scheduler_flags = SchedulerFlags::SH_FALLBACK)
        );
        let plain = Service::new(full.key);
        assert_eq!(
            service(&plain, "-p -o"),
            Ok(plain
                .clone()
                .persistent(Persistence::new(Duration::from_secs(360)))
                .one_packet(true))
        );
    }

    #[test]
    fn flags_stay_with_their_scheduler() {
        let full = full_service();
        let sh = service(&full, "-s sh").unwrap();
        assert_eq!(sh.scheduler_flags, SchedulerFlags::SH_PORT);
        let mh = service(&full, "-s mh").unwrap();
        assert_eq!(
            (mh.scheduler, mh.scheduler_flags),
            (Some(Scheduler::MH), SchedulerFlags::empty())
        );
        let mh = service(&full, "-s mh -b mh-port").unwrap();
        assert_eq!(mh.scheduler_flags, SchedulerFlags::MH_PORT);
        // Only reading the service shows which scheduler is kept.
        assert_eq!(
            service(&full, "-b mh-port"),
            Err("incompatible scheduler flag `mh-port'\n".into())
        );
        let message = "incompatible scheduler flag `sh-port'\n";
        assert_eq!(refused("-E -t 10.0.0.1:80 --keep -s rr -b sh-port"), message);
        let message = "invalid scheduler flag `bogus'\n";
        assert_eq!(refused("-E -t 10.0.0.1:80 --keep -b bogus"), message);
    }

    #[test]
    fn a_mask_needs_persistence() {
        let plain = Service::new(full_service().key);
        let error = service(&plain, "-M 255.0.0.0").unwrap_err();
        assert!(error.contains("add -p"), "{error}");
        let masked = service(&plain, "-M 255.0.0.0 -p 60").unwrap();
        assert_eq!(masked.persistence.unwrap().mask, PersistenceMask::v4([255, 0, 0, 0].into()));
    }

    #[test]
    fn one_packet_scheduling_needs_udp_here_too() {
        let message = "One-Packet Scheduling is only for UDP virtual services\n";
        assert_eq!(refused("-E -t 10.0.0.1:80 --keep -o"), message);
        // The service may already be persistent, so port 0 is no mistake.
        accepted("-E -t 10.0.0.1:0 --keep -s rr");
    }

    const GUE: Forward = Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: GueChecksum::Remote });

    /// The result of `-e --keep` on a real server of weight 7 and thresholds 500 and 300.
    fn server(forward: Forward, options: &str) -> Result<Destination, String> {
        let line = format!("-e -t 10.0.0.1:80 -r 10.1.0.1 --keep {options}");
        let Update::Server(update) = update(&line) else { panic!("{line}") };
        let mut server = before(forward);
        assert_eq!(update.server, server.key());
        update.apply(&mut server).map(|()| server).map_err(|error| message(&error))
    }

    fn before(forward: Forward) -> Destination {
        let addr = "10.1.0.1:80".parse().unwrap();
        Destination::new(addr).forward(forward).weight(7).thresholds(500, 300)
    }

    #[test]
    fn a_server_keeps_what_is_not_given() {
        for forward in
            [Forward::Masquerade, Forward::DirectRoute, Forward::LocalNode, Forward::Other(6), GUE]
        {
            let kept = || before(forward);
            assert_eq!(server(forward, ""), Ok(kept()));
            assert_eq!(server(forward, "-w 0"), Ok(kept().weight(0)));
            assert_eq!(server(forward, "-x 0"), Ok(kept().thresholds(0, 300)));
            assert_eq!(server(forward, "-y 1"), Ok(kept().thresholds(500, 1)));
            assert_eq!(server(forward, "-m"), Ok(kept().forward(Forward::Masquerade)));
            assert_eq!(server(forward, "-g"), Ok(kept().forward(Forward::DirectRoute)));
        }
    }

    #[test]
    fn tunnels_keep_what_goes_with_their_type() {
        let gue = |port, checksum| Ok(Tunnel::Gue { port, checksum });
        let gre = |checksum| Forward::Tunnel(Tunnel::Gre { checksum });
        let ipip = Forward::Tunnel(Tunnel::Ipip);
        let wants_port = "You need to supply the 'tun-port' option for the 'gue' tunnel type\n";
        let no_tunnel = "Tunnel options conflict with forward method\n";
        let illegal_port = "Illegal 'tun-port' option with the 'gre' tunnel type\n";
        let conflict = "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' \
                        tunnel type\n";
        for (forward, options, expected) in [
            (GUE, "-i", gue(6080, GueChecksum::Remote)),
            (GUE, "--tun-port 9", gue(9, GueChecksum::Remote)),
            (GUE, "--tun-csum", gue(6080, GueChecksum::Full)),
            (GUE, "-i --tun-type gue --tun-nocsum", gue(6080, GueChecksum::None)),
            (GUE, "--tun-type ipip", Ok(Tunnel::Ipip)),
            (GUE, "--tun-type gre", Ok(Tunnel::Gre { checksum: false })),
            (GUE, "--tun-type gre --tun-csum", Ok(Tunnel::Gre { checksum: true })),
            (gre(true), "-w 3", Ok(Tunnel::Gre { checksum: true })),
            (gre(true), "--tun-nocsum", Ok(Tunnel::Gre { checksum: false })),
            (gre(true), "--tun-port 9", Err(illegal_port)),
            (gre(true), "--tun-csum --tun-nocsum", Err(conflict)),
            (gre(true), "--tun-type gue", Err(wants_port)),
            (gre(true), "--tun-type gue --tun-port 9", gue(9, GueChecksum::None)),
            (Forward::Masquerade, "-i", Ok(Tunnel::Ipip)),
            (Forward::Masquerade, "-i --tun-type gre", Ok(Tunnel::Gre { checksum: false })),
            (Forward::Masquerade, "--tun-type gre", Err(no_tunnel)),
            (ipip, "--tun-csum", Err("Illegal 'tun-csum' option with the 'ipip' tunnel type\n")),
        ] {
            let forward = server(forward, options).map(|server| server.forward);
            let expected = expected.map(Forward::Tunnel).map_err(str::to_owned);
            assert_eq!(forward, expected, "{options}");
        }
        for method in ["-g", "-m"] {
            let line = format!("-e -t 10.0.0.1:80 -r 10.1.0.1 --keep {method} --tun-csum");
            assert_eq!(refused(&line), no_tunnel);
        }
    }

    #[test]
    fn the_server_is_the_one_that_was_typed() {
        let key = |line: &str| match update(line) {
            Update::Server(update) => update.server.to_string(),
            Update::Service(_) => panic!("{line}"),
        };
        for (line, expected) in [
            ("-e -t 10.0.0.1:80 -r 10.1.0.1 --keep", "10.1.0.1:80"),
            ("-e -r 10.1.0.1 -t 10.0.0.1:80 --keep", "10.1.0.1:80"),
            // The real server may be masqueraded, so its port may differ from the service's.
            ("-e -t 10.0.0.1:80 -r 10.1.0.1:8080 --keep -w 0", "10.1.0.1:8080"),
            ("-e -t 10.0.0.1:80 -r 10.1.0.1:8080 --keep -m", "10.1.0.1:8080"),
            // With another method given, it may not, as without --keep.
            ("-e -t 10.0.0.1:80 -r 10.1.0.1:8080 --keep -g", "10.1.0.1:80"),
            ("-e -f 1 -r 10.1.0.1:8080 --keep", "10.1.0.1:8080"),
            ("-e -f 1 -r 10.1.0.1 --keep", "10.1.0.1:0"),
            ("-e -t [2001:db8::1]:80 -r 10.1.0.1 --keep", "10.1.0.1:80"),
        ] {
            assert_eq!(key(line), expected, "{line}");
        }
        let message = "Different address family is allowed only for tunneling servers\n";
        assert_eq!(refused("-e -t [2001:db8::1]:80 -r 10.1.0.1 --keep -m"), message);
    }
}
