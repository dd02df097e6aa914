//! The table of services and its commands (`ip_vs_genl_set_cmd` and its callees in `ip_vs_ctl.c`):
//! same checks, same order, same errors.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipvs::proto::Call;
use ipvs_sys as sys;
use ipvs_sys::Command;
use rustix::io::Errno;

use crate::counters::Counters;
use crate::daemons::Daemons;
use crate::request::{DestConfig, DestId, DestRequest, ServiceId};
use crate::{Builder, ConnectionCounts};

/// `IP_VS_VERSION_CODE` of every kernel since 2.6: 1.2.1.
const IPVS_VERSION: u32 = 0x01_02_01;
/// What kernels report as the scheduler of a service without one.
const NO_SCHEDULER: &[u8] = b"none";

/// Everything that IPVS stores for a network namespace.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    settings: Builder,
    /// Sorted by key, which determines the order of lists.
    services: BTreeMap<ServiceId, Service>,
    /// Deleted destinations that may be added again, the latest last.
    trash: Vec<Trashed>,
    /// Tells a service from an earlier one with the same key.
    next_generation: u64,
    daemons: Daemons,
    timeouts: Timeouts,
    /// Whether the connection table has been needed yet.
    was_used: bool,
}

#[derive(Clone, Debug)]
struct Service {
    generation: u64,
    config: ServiceConfig,
    /// Oldest first; lists show the latest first.
    destinations: Vec<Destination>,
    counters: Counters,
}

#[derive(Clone, Copy, Debug)]
struct ServiceConfig {
    scheduler: Option<sys::Name>,
    engine: Option<sys::Name>,
    flags: sys::ServiceFlags,
    /// In ticks.
    timeout: u32,
    netmask: u32,
}

/// A real server, in its service or in the trash.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    id: DestId,
    config: DestConfig,
    pub(crate) connections: ConnectionCounts,
    pub(crate) counters: Counters,
}

#[derive(Clone, Debug)]
struct Trashed {
    service: ServiceId,
    generation: u64,
    destination: Destination,
}

/// In seconds.
#[derive(Clone, Copy, Debug)]
struct Timeouts {
    tcp: u32,
    tcp_fin: u32,
    udp: u32,
}

impl Table {
    pub(crate) fn new(settings: Builder) -> Self {
        Self {
            settings,
            services: BTreeMap::new(),
            trash: Vec::new(),
            next_generation: 0,
            daemons: Daemons::default(),
            timeouts: Timeouts { tcp: 15 * 60, tcp_fin: 2 * 60, udp: 5 * 60 },
            was_used: false,
        }
    }

    /// The options that it was created with.
    pub(crate) fn settings(&self) -> &Builder {
        &self.settings
    }

    /// Executes a request, and passes each message of its reply to `reply`.
    pub(crate) fn carry_out(
        &mut self,
        call: &Call<'_>,
        mut reply: impl FnMut(&sys::Message),
    ) -> Result<(), Errno> {
        let request = call.message;
        match request.command {
            Command::GetService if call.dump => self.list_services(reply),
            Command::GetDest => self.list_destinations(request, reply),
            Command::GetDaemon => {
                for daemon in self.daemons.running() {
                    let daemon = Some(*daemon);
                    reply(&sys::Message { daemon, ..sys::Message::new(Command::NewDaemon) });
                }
            }
            Command::GetService => {
                let id = ServiceId::parse(request.service.as_ref())?;
                let service = self.services.get(&id).ok_or(Errno::SRCH)?;
                reply(&service.report(&id, self.settings.ticks));
            }
            Command::GetConfig => reply(&self.timeouts.report()),
            Command::GetInfo => reply(&self.info()),
            Command::SetConfig => self.timeouts.set(&request.timeouts, self.settings.ticks)?,
            Command::NewDaemon => {
                let mixed = self.services.iter().any(|(id, service)| service.is_mixed(id));
                self.daemons.start(request.daemon.as_ref(), mixed, &self.settings)?;
                self.was_used |= self.daemons.backup_runs();
            }
            Command::DelDaemon => self.daemons.stop(request.daemon.as_ref())?,
            Command::Flush => {
                let ids: Vec<_> = self.services.keys().copied().collect();
                for id in ids {
                    self.delete_service(&id)?;
                }
            }
            Command::Zero if request.service.is_none() => {
                self.services.values_mut().for_each(Service::zero);
            }
            _ => self.change_service(request)?,
        }
        Ok(())
    }

    /// The commands that refer to a single service.
    fn change_service(&mut self, request: &sys::Message) -> Result<(), Errno> {
        let id = ServiceId::parse(request.service.as_ref())?;
        if let (Some(wanted), Command::NewService | Command::SetService) =
            (&request.service, request.command)
        {
            return self.write_service(request.command, &id, wanted);
        }
        let service = self.services.get_mut(&id).ok_or(Errno::SRCH)?;
        match request.command {
            Command::DelService => self.delete_service(&id),
            Command::Zero => {
                service.zero();
                Ok(())
            }
            Command::NewDest | Command::SetDest | Command::DelDest => {
                let full = request.command != Command::DelDest;
                let wanted = DestRequest::parse(request.dest.as_ref(), id.family, full)?;
                if !full {
                    return self.delete_destination(&id, &wanted.id);
                }
                self.check_destination(&id, &wanted)?;
                match request.command {
                    Command::NewDest => self.add_destination(&id, &wanted),
                    _ => self.set_destination(&id, &wanted),
                }
            }
            _ => Err(Errno::INVAL),
        }
    }

    fn write_service(
        &mut self,
        command: Command,
        id: &ServiceId,
        wanted: &sys::Service,
    ) -> Result<(), Errno> {
        let (Some(scheduler), Some(flags), Some(timeout), Some(netmask)) =
            (wanted.scheduler, wanted.flags, wanted.timeout, wanted.netmask)
        else {
            return Err(Errno::INVAL);
        };
        let before = self.services.get(id).map(|service| service.config.flags);
        match (command, before) {
            (Command::NewService, Some(_)) => return Err(Errno::EXIST),
            (Command::SetService, None) => return Err(Errno::SRCH),
            _ => {}
        }
        let scheduler = Some(scheduler).filter(|name| name.as_bytes() != NO_SCHEDULER);
        if scheduler.is_some_and(|name| !self.settings.schedulers.iter().any(|s| is(s, &name))) {
            return Err(Errno::NOENT);
        }
        let engine = wanted.pe_name.filter(|name| !name.is_empty());
        if engine.is_some_and(|name| !self.settings.engines.iter().any(|e| is(e, &name))) {
            return Err(Errno::NOENT);
        }
        if id.family == sys::AF_INET6 && !(1..=128).contains(&netmask) {
            return Err(Errno::INVAL);
        }
        let mask = sys::ServiceFlags::from_bits_retain(flags.mask);
        let kept = before.unwrap_or_default() & !mask;
        let config = ServiceConfig {
            scheduler,
            engine,
            flags: kept | (flags.flags & mask) | sys::ServiceFlags::HASHED,
            timeout: timeout.wrapping_mul(self.settings.ticks),
            netmask,
        };
        if let Some(service) = self.services.get_mut(id) {
            service.config = config;
            return Ok(());
        }
        let generation = self.next_generation;
        self.next_generation += 1;
        let (destinations, counters) = (Vec::new(), Counters::default());
        self.services.insert(*id, Service { generation, config, destinations, counters });
        self.was_used = true;
        Ok(())
    }

    fn delete_service(&mut self, id: &ServiceId) -> Result<(), Errno> {
        let service = self.services.remove(id).ok_or(Errno::SRCH)?;
        let trashed =
            |destination| Trashed { service: *id, generation: service.generation, destination };
        self.trash.extend(service.destinations.into_iter().rev().map(trashed));
        Ok(())
    }

    /// The checks common to adding and setting.
    fn check_destination(&self, service: &ServiceId, wanted: &DestRequest) -> Result<(), Errno> {
        let config = &wanted.config;
        if wanted.id.family != service.family {
            // The sync protocol has no room for both, and only a tunnel carries one family in the
            // other.
            let tunnel = sys::ForwardMethod(config.method) == sys::ForwardMethod::TUNNEL;
            if self.daemons.any_runs() || !tunnel {
                return Err(Errno::INVAL);
            }
        }
        let too_large = |number: u32| i32::try_from(number).is_err();
        if too_large(config.weight) || config.lower > config.upper {
            return Err(Errno::RANGE);
        }
        if self.settings.limits_upper_threshold() && too_large(config.upper) {
            return Err(Errno::INVAL);
        }
        if config.tun_type == sys::TunnelType::GUE && config.tun_port == 0 {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    fn add_destination(&mut self, id: &ServiceId, wanted: &DestRequest) -> Result<(), Errno> {
        let service = self.services.get_mut(id).ok_or(Errno::SRCH)?;
        if service.destination(&wanted.id).is_some() {
            return Err(Errno::EXIST);
        }
        let back =
            |trashed: &Trashed| trashed.destination.id == wanted.id && trashed.service == *id;
        let destination = match self.trash.iter().rposition(back) {
            Some(position) => {
                let mut trashed = self.trash.remove(position);
                if trashed.generation != service.generation {
                    trashed.destination.counters.reset();
                }
                Destination { config: wanted.config, ..trashed.destination }
            }
            None if !can_be_a_server(&wanted.id, &self.settings.local_addresses) => {
                return Err(Errno::INVAL);
            }
            None => Destination {
                id: wanted.id,
                config: wanted.config,
                connections: ConnectionCounts::default(),
                counters: Counters::default(),
            },
        };
        service.destinations.push(destination);
        Ok(())
    }

    fn set_destination(&mut self, id: &ServiceId, wanted: &DestRequest) -> Result<(), Errno> {
        let service = self.services.get_mut(id).ok_or(Errno::SRCH)?;
        service.destination(&wanted.id).ok_or(Errno::NOENT)?.config = wanted.config;
        Ok(())
    }

    fn delete_destination(&mut self, id: &ServiceId, dest: &DestId) -> Result<(), Errno> {
        let service = self.services.get_mut(id).ok_or(Errno::SRCH)?;
        let position = service.destinations.iter().position(|d| d.id == *dest);
        let destination = service.destinations.remove(position.ok_or(Errno::NOENT)?);
        let generation = service.generation;
        self.trash.push(Trashed { service: *id, generation, destination });
        Ok(())
    }

    fn list_services(&self, mut reply: impl FnMut(&sys::Message)) {
        for (id, service) in &self.services {
            reply(&service.report(id, self.settings.ticks));
        }
    }

    /// Whatever is wrong with the service, the kernel replies with an empty list.
    fn list_destinations(&self, request: &sys::Message, mut reply: impl FnMut(&sys::Message)) {
        let Ok(id) = ServiceId::parse(request.service.as_ref()) else { return };
        let Some(service) = self.services.get(&id) else { return };
        for destination in service.destinations.iter().rev() {
            reply(&destination.report());
        }
    }

    fn info(&self) -> sys::Message {
        let has_table = self.was_used || !self.settings.makes_table_when_needed();
        let size = if has_table { self.settings.connection_table_size } else { 0 };
        sys::Message {
            info: sys::Info { version: Some(IPVS_VERSION), conn_tab_size: Some(size) },
            ..sys::Message::new(Command::SetInfo)
        }
    }

    /// A destination and its service's counters, for tests to change.
    pub(crate) fn destination_mut(
        &mut self,
        id: &ServiceId,
        dest: &DestId,
    ) -> Option<(&mut Destination, &mut Counters)> {
        let service = self.services.get_mut(id)?;
        let destination = service.destinations.iter_mut().find(|d| d.id == *dest)?;
        Some((destination, &mut service.counters))
    }

    pub(crate) fn empty_trash(&mut self) {
        self.trash.clear();
    }
}

impl Service {
    fn destination(&mut self, id: &DestId) -> Option<&mut Destination> {
        self.destinations.iter_mut().find(|destination| destination.id == *id)
    }

    fn is_mixed(&self, id: &ServiceId) -> bool {
        self.destinations.iter().any(|destination| destination.id.family != id.family)
    }

    fn zero(&mut self) {
        self.counters.reset();
        for destination in &mut self.destinations {
            destination.counters.reset();
        }
    }

    fn report(&self, id: &ServiceId, ticks: u32) -> sys::Message {
        let (stats, stats64) = self.counters.report();
        let config = &self.config;
        let service = sys::Service {
            scheduler: config.scheduler.or(sys::Name::new(NO_SCHEDULER).ok()),
            pe_name: config.engine,
            flags: Some(sys::Flags { flags: config.flags, mask: !0 }),
            timeout: Some(config.timeout / ticks),
            netmask: Some(config.netmask),
            stats: Some(stats),
            stats64: Some(stats64),
            ..id.report()
        };
        sys::Message { service: Some(service), ..sys::Message::new(Command::NewService) }
    }
}

impl Destination {
    fn report(&self) -> sys::Message {
        let (stats, stats64) = self.counters.report();
        let config = &self.config;
        let dest = sys::Dest {
            addr: Some(self.id.addr),
            port: Some(self.id.port),
            fwd_method: Some(sys::ForwardMethod(config.method)),
            weight: Some(config.weight),
            tun_type: Some(config.tun_type),
            tun_port: Some(config.tun_port),
            tun_flags: Some(config.tun_flags),
            u_thresh: Some(config.upper),
            l_thresh: Some(config.lower),
            active_conns: Some(self.connections.active),
            inact_conns: Some(self.connections.inactive),
            persist_conns: Some(self.connections.persistent),
            addr_family: Some(self.id.family),
            stats: Some(stats),
            stats64: Some(stats64),
        };
        sys::Message { dest: Some(dest), ..sys::Message::new(Command::NewDest) }
    }
}

impl Timeouts {
    fn set(&mut self, wanted: &sys::Timeouts, ticks: u32) -> Result<(), Errno> {
        let longest = i32::MAX as u32 / ticks;
        let all = [wanted.tcp, wanted.tcp_fin, wanted.udp];
        if all.into_iter().flatten().any(|seconds| seconds > longest) {
            return Err(Errno::INVAL);
        }
        // 0 means "keep".
        let set = |now: &mut u32, wanted: Option<u32>| match wanted {
            Some(0) | None => {}
            Some(seconds) => *now = seconds,
        };
        set(&mut self.tcp, wanted.tcp);
        set(&mut self.tcp_fin, wanted.tcp_fin);
        set(&mut self.udp, wanted.udp);
        Ok(())
    }

    fn report(self) -> sys::Message {
        let timeouts =
            sys::Timeouts { tcp: Some(self.tcp), tcp_fin: Some(self.tcp_fin), udp: Some(self.udp) };
        sys::Message { timeouts, ..sys::Message::new(Command::SetConfig) }
    }
}

fn is(known: &impl PartialEq<str>, name: &sys::Name) -> bool {
    name.as_str().is_some_and(|name| *known == *name)
}

/// Whether the kernel considers the address unicast or the machine's own.
fn can_be_a_server(id: &DestId, local: &[IpAddr]) -> bool {
    match sys::ip_addr(id.family, &id.addr) {
        Some(IpAddr::V4(addr)) => {
            !addr.is_multicast() && !addr.is_broadcast() && !addr.is_unspecified()
        }
        Some(IpAddr::V6(addr)) => {
            let unicast = !addr.is_multicast()
                && !addr.is_unspecified()
                && addr.to_ipv4_mapped().is_none()
                && !addr.is_unicast_link_local();
            unicast || local.contains(&addr.into())
        }
        None => false,
    }
}
