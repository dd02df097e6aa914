//! Generates requests: mostly sensible ones about a few objects, so that they interact, and often
//! enough one with each flaw that the kernel has an error for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipvs_sys as sys;
use ipvs_sys::{Command, DaemonState, ForwardMethod, Name, TunnelFlags, TunnelType};
use splitmix::Random;

/// What is wrong with a request in itself, regardless of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flaw {
    /// Nothing.
    None,
    /// More than one thing.
    Several,
    /// An attribute that the command requires is missing.
    MissingAttribute,
    /// An address family other than IPv4 or IPv6.
    Family,
    /// A scheduler without a module.
    Scheduler,
    /// A persistence engine without a module.
    Engine,
    /// An IPv6 prefix length outside 1 to 128.
    Prefix,
    /// An address that no real server can have.
    Address,
    /// A weight above `INT_MAX`.
    Weight,
    /// A lower threshold above the upper one.
    LowerThreshold,
    /// An upper threshold above `INT_MAX`.
    UpperThreshold,
    /// A GUE tunnel to port 0.
    GuePort,
    /// A real server of the other family without a tunnel.
    Mixed,
    /// A real server of the other family through a tunnel, which is refused only while a sync
    /// daemon runs.
    MixedTunnel,
    /// A multicast group that isn't a multicast address.
    Group,
    /// A network interface that doesn't exist.
    Interface,
    /// A sync daemon that is neither master nor backup.
    Role,
    /// A timeout longer than `INT_MAX` ticks.
    Timeout,
    /// A family ID that isn't that of IPVS.
    Stale,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The command and its attributes.
    pub message: sys::Message,
    /// Whether it asks for a list.
    pub dump: bool,
    /// Whether it goes to a family other than IPVS.
    pub stale: bool,
    /// What is wrong with it.
    pub flaw: Flaw,
}

impl Operation {
    /// A request without attributes.
    pub fn new(command: Command, dump: bool) -> Self {
        Self { message: sys::Message::new(command), dump, stale: false, flaw: Flaw::None }
    }
}

const SCHEDULERS: [&str; 8] = ["rr", "wrr", "wlc", "lc", "sh", "mh", "fo", "none"];

/// How often each command is generated; the remaining requests are lists.
const COMMANDS: &[(usize, Command)] = &[
    (8, Command::NewService),
    (7, Command::SetService),
    (3, Command::DelService),
    (4, Command::GetService),
    (24, Command::NewDest),
    (14, Command::SetDest),
    (10, Command::DelDest),
    (6, Command::NewDaemon),
    (5, Command::DelDaemon),
    (3, Command::SetConfig),
    (1, Command::GetConfig),
    (1, Command::GetInfo),
    (4, Command::Zero),
];

/// Generates requests.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    flaw: Flaw,
}

impl Generator {
    /// Creates a generator; the same seed gives the same requests.
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), flaw: Flaw::None }
    }

    /// The next request.
    pub fn operation(&mut self) -> Operation {
        self.flaw = Flaw::None;
        if self.random.one_in(300) {
            return Operation::new(Command::Flush, false);
        }
        let total: usize = COMMANDS.iter().map(|(weight, _)| weight).sum();
        let mut left = self.random.below(total + 6);
        let command = COMMANDS.iter().find(|(weight, _)| {
            let found = left < *weight;
            left = left.saturating_sub(*weight);
            found
        });
        let mut operation = match command {
            Some((_, command)) => Operation::new(*command, false),
            None => {
                let lists = [Command::GetService, Command::GetDest, Command::GetDaemon];
                Operation::new(self.random.pick(&lists), true)
            }
        };
        self.fill(&mut operation);
        if self.flawed(Flaw::Stale, 300) {
            operation.stale = true;
        }
        operation.flaw = self.flaw;
        operation
    }

    fn fill(&mut self, operation: &mut Operation) {
        let (message, dump) = (&mut operation.message, operation.dump);
        match message.command {
            Command::GetConfig | Command::GetInfo | Command::GetDaemon => {}
            Command::GetService if dump => {}
            Command::SetConfig => message.timeouts = self.timeouts(),
            Command::NewDaemon | Command::DelDaemon => {
                message.daemon = self.maybe_missing(40).then(|| self.daemon(message.command));
            }
            Command::Zero if self.random.one_in(3) => {}
            command => {
                let (index, mut service) = self.service_key();
                let family = service.family;
                if matches!(command, Command::NewService | Command::SetService) {
                    self.configure(&mut service, index);
                }
                // Listing without a key and zeroing everything are valid.
                let optional = dump || command == Command::Zero;
                self.damage_key(&mut service, optional);
                message.service = (optional || self.maybe_missing(60)).then_some(service);
                if matches!(command, Command::NewDest | Command::SetDest | Command::DelDest) {
                    let dest = self.dest(command, family == Some(sys::AF_INET6));
                    message.dest = self.maybe_missing(60).then_some(dest);
                }
            }
        }
    }

    /// Returns true once in `n` times, and records the flaw.
    fn flawed(&mut self, flaw: Flaw, n: usize) -> bool {
        // A second flaw is rarer, but shows in which order the kernel checks.
        let n = if self.flaw == Flaw::None { n } else { n * 4 };
        let chosen = self.random.one_in(n);
        if chosen {
            self.flaw = if self.flaw == Flaw::None { flaw } else { Flaw::Several };
        }
        chosen
    }

    /// Whether to include a required attribute, which is left out once in `n` times.
    fn maybe_missing(&mut self, n: usize) -> bool {
        !self.flawed(Flaw::MissingAttribute, n)
    }

    /// The attributes that identify a service, and the index of that service.
    fn service_key(&mut self) -> (usize, sys::Service) {
        let index = self.random.below(10);
        let at = |addr: IpAddr, protocol, port| sys::Service {
            family: Some(sys::addr_family(addr)),
            protocol: Some(protocol),
            addr: Some(sys::addr_bytes(addr)),
            port: Some(port),
            ..Default::default()
        };
        let v4 = Ipv4Addr::new(192, 0, 2, 53).into();
        let v6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).into();
        let mark = |family, mark| sys::Service {
            family: Some(family),
            fwmark: Some(mark),
            ..Default::default()
        };
        let service = match index {
            0 => at(v4, sys::IPPROTO_TCP, 80),
            1 => at(v4, sys::IPPROTO_UDP, 80),
            2 => at(v4, sys::IPPROTO_TCP, 0),
            3 => at(v4, sys::IPPROTO_SCTP, 80),
            4 => at(v6, sys::IPPROTO_TCP, 80),
            5 => at(v6, sys::IPPROTO_UDP, 0),
            6 => mark(sys::AF_INET, 7),
            7 => mark(sys::AF_INET6, 7),
            // The kernel doesn't take this for a mark, but for the TCP service 0.0.0.0:0.
            8 => mark(sys::AF_INET, 0),
            _ => at(v4, 47, 80),
        };
        (index, service)
    }

    fn damage_key(&mut self, service: &mut sys::Service, optional: bool) {
        if optional {
            return;
        }
        if self.flawed(Flaw::Family, 30) {
            service.family = Some(self.random.pick(&[0, 1, 28]));
        }
        if !self.maybe_missing(20) {
            match (self.random.below(4), service.fwmark) {
                (0, _) => service.family = None,
                (_, Some(_)) => service.fwmark = None,
                (1, _) => service.protocol = None,
                (2, _) => service.addr = None,
                _ => service.port = None,
            }
        }
    }

    /// Adds the attributes for adding and setting a service.
    fn configure(&mut self, service: &mut sys::Service, index: usize) {
        // Changing the scheduler costs milliseconds.
        let usual = SCHEDULERS[index % SCHEDULERS.len()];
        let mut scheduler = usual;
        if self.random.one_in(40) {
            scheduler = self.random.pick(&SCHEDULERS);
        }
        if self.flawed(Flaw::Scheduler, 15) {
            scheduler = self.random.pick(&["lbrc", "x"]);
        }
        let mut engine = self.random.one_in(4).then_some("sip");
        if self.flawed(Flaw::Engine, 15) {
            engine = Some("pis");
        }
        let is_v6 = service.family == Some(sys::AF_INET6);
        let mut netmask = match is_v6 {
            true => 1 + self.random.below(128) as u32,
            false => self.random.next_u32(),
        };
        if is_v6 && self.flawed(Flaw::Prefix, 3) {
            netmask = self.random.pick(&[0, 129, u32::MAX]);
        }
        let mask = if self.random.one_in(3) { self.random.next_u32() & 0xff } else { !0 };
        let flags = sys::ServiceFlags::from_bits_retain(self.random.next_u32() & 0x3f);
        let timeouts = [0, 1, 360, 42_949_673, 100_000_000, u32::MAX];
        service.scheduler = Name::new(scheduler).ok();
        service.pe_name = engine.and_then(|name| Name::new(name).ok());
        service.flags = Some(sys::Flags { flags, mask });
        service.timeout = Some(self.random.pick(&timeouts));
        service.netmask = Some(netmask);
        if !self.maybe_missing(15) {
            match self.random.below(4) {
                0 => service.scheduler = None,
                1 => service.flags = None,
                2 => service.timeout = None,
                _ => service.netmask = None,
            }
        }
    }

    fn dest(&mut self, command: Command, service_is_v6: bool) -> sys::Dest {
        let change = command != Command::DelDest;
        let mut is_v6 = service_is_v6;
        let mut method = self.random.pick(&[0, 1, 2, 3, 4, 3 | 0x40]);
        if change && self.flawed(Flaw::Mixed, 14) {
            is_v6 = !is_v6;
            method = self.random.pick(&[0, 1, 3, 4]);
        } else if change && self.flawed(Flaw::MixedTunnel, 8) {
            is_v6 = !is_v6;
            method = ForwardMethod::TUNNEL.0;
        }
        let last = 1 + self.random.below(5) as u16;
        let mut addr: IpAddr = match is_v6 {
            true => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into(),
            false => Ipv4Addr::new(198, 51, 100, last as u8).into(),
        };
        if self.random.one_in(10) {
            addr = self.unusual_address(is_v6);
        } else if command == Command::NewDest && self.flawed(Flaw::Address, 14) {
            addr = self.impossible_address(is_v6);
        }
        let mut family = Some(sys::addr_family(addr));
        if is_v6 == service_is_v6 && self.random.one_in(6) {
            family = self.random.pick(&[None, Some(0)]);
        }
        if self.flawed(Flaw::Family, 40) {
            family = Some(self.random.pick(&[1, 28]));
        }
        let mut dest = sys::Dest {
            addr: Some(sys::addr_bytes(addr)),
            port: Some(self.random.pick(&[80, 80, 0])),
            addr_family: family,
            ..Default::default()
        };
        if !self.maybe_missing(30) {
            match self.random.one_in(2) {
                true => dest.addr = None,
                false => dest.port = None,
            }
        }
        if change {
            self.configure_dest(&mut dest, method);
        }
        dest
    }

    /// Adds the attributes for adding and setting a destination.
    fn configure_dest(&mut self, dest: &mut sys::Dest, method: u32) {
        let int_max = i32::MAX as u32;
        let mut weight = self.random.pick(&[0, 1, 5, 65_536, int_max]);
        if self.flawed(Flaw::Weight, 15) {
            weight = self.random.pick(&[int_max + 1, u32::MAX]);
        }
        let (mut upper, mut lower) = self.random.pick(&[(0, 0), (5, 5), (9, 0), (int_max, 1)]);
        if self.flawed(Flaw::LowerThreshold, 15) {
            (upper, lower) = self.random.pick(&[(0, 1), (5, 6), (5, u32::MAX)]);
        }
        if self.flawed(Flaw::UpperThreshold, 15) {
            upper = self.random.pick(&[int_max + 1, u32::MAX]);
        }
        // The kernel stores tunnel fields for any forwarding method.
        if self.random.one_in(2) {
            dest.tun_type =
                Some(self.random.pick(&[TunnelType::IPIP, TunnelType::GUE, TunnelType::GRE]));
            dest.tun_port = Some(self.random.pick(&[1, 6080, 65_535]));
            let flags = self.random.next_u32() as u16 & 3;
            dest.tun_flags = Some(TunnelFlags::from_bits_retain(flags));
        }
        if self.flawed(Flaw::GuePort, 15) {
            dest.tun_type = Some(TunnelType::GUE);
            dest.tun_port = self.random.pick(&[None, Some(0)]);
        }
        dest.fwd_method = Some(ForwardMethod(method));
        dest.weight = Some(weight);
        (dest.u_thresh, dest.l_thresh) = (Some(upper), Some(lower));
        if !self.maybe_missing(20) {
            match self.random.below(4) {
                0 => dest.fwd_method = None,
                1 => dest.weight = None,
                2 => dest.u_thresh = None,
                _ => dest.l_thresh = None,
            }
        }
    }

    /// A valid address of a real server that looks like an invalid one.
    fn unusual_address(&mut self, is_v6: bool) -> IpAddr {
        match is_v6 {
            true => self
                .random
                .pick(&[
                    Ipv6Addr::LOCALHOST,
                    Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0xc633, 0x6401),
                    Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 1),
                    Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
                ])
                .into(),
            false => self
                .random
                .pick(&[
                    Ipv4Addr::LOCALHOST,
                    Ipv4Addr::new(0, 1, 2, 3),
                    Ipv4Addr::new(169, 254, 0, 1),
                    Ipv4Addr::new(240, 0, 0, 1),
                    Ipv4Addr::new(192, 0, 2, 1),
                ])
                .into(),
        }
    }

    fn impossible_address(&mut self, is_v6: bool) -> IpAddr {
        match is_v6 {
            true => self
                .random
                .pick(&[
                    Ipv6Addr::UNSPECIFIED,
                    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1),
                    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1),
                    Ipv4Addr::new(198, 51, 100, 1).to_ipv6_mapped(),
                ])
                .into(),
            false => self
                .random
                .pick(&[Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, Ipv4Addr::new(224, 0, 0, 1)])
                .into(),
        }
    }

    fn daemon(&mut self, command: Command) -> sys::Daemon {
        let mut state = self.random.pick(&[DaemonState::MASTER, DaemonState::BACKUP]);
        if self.flawed(Flaw::Role, 15) {
            state = self.random.pick(&[DaemonState::NONE, DaemonState(3), DaemonState(4)]);
        }
        let mut daemon = sys::Daemon { state: Some(state), ..Default::default() };
        if command == Command::NewDaemon {
            daemon.mcast_ifn = Name::new("eth0").ok();
            daemon.sync_id = Some(self.random.pick(&[0, 1, 255, 256]));
            daemon.sync_maxlen = self.random.pick(&[None, Some(0), Some(1), Some(1400), Some(!0)]);
            daemon.mcast_port = self.random.pick(&[None, Some(0), Some(8849)]);
            daemon.mcast_ttl = self.random.pick(&[None, Some(0), Some(9)]);
            match self.random.below(4) {
                0 => daemon.mcast_group = Some(Ipv4Addr::new(224, 0, 0, 82)),
                1 => daemon.mcast_group6 = Some(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x81)),
                _ => {}
            }
            if self.flawed(Flaw::Group, 8) {
                match self.random.one_in(2) {
                    true => daemon.mcast_group = Some(Ipv4Addr::new(192, 0, 2, 81)),
                    false => {
                        daemon.mcast_group = None;
                        daemon.mcast_group6 = Some(Ipv6Addr::LOCALHOST);
                    }
                }
            }
            if self.flawed(Flaw::Interface, 8) {
                daemon.mcast_ifn = Name::new("eth9").ok();
            }
            if !self.maybe_missing(15) {
                match self.random.below(3) {
                    0 => daemon.state = None,
                    1 => daemon.mcast_ifn = None,
                    _ => daemon.sync_id = None,
                }
            }
        } else if !self.maybe_missing(12) {
            daemon.state = None;
        }
        daemon
    }

    fn timeouts(&mut self) -> sys::Timeouts {
        let choices = [None, Some(0), Some(1), Some(900), Some(2_147_483)];
        let mut timeouts = sys::Timeouts {
            tcp: self.random.pick(&choices),
            tcp_fin: self.random.pick(&choices),
            udp: self.random.pick(&choices),
        };
        if self.flawed(Flaw::Timeout, 3) {
            let longer = Some(self.random.pick(&[i32::MAX as u32, u32::MAX]));
            match self.random.below(3) {
                0 => timeouts.tcp = longer,
                1 => timeouts.tcp_fin = longer,
                _ => timeouts.udp = longer,
            }
        }
        timeouts
    }
}
