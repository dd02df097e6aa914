//! Changes at random, about few objects, so that they meet; some that the kernel refuses.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use ipvs::plan::Step;
use ipvs::proto::Responder;
use ipvs::{
    Batch, Client, Destination, DestinationKey, Error, ErrorKind, Family, Forward, GueChecksum,
    InterfaceName, Persistence, PersistenceEngine, Scheduler, SchedulerFlags, Service, ServiceKey,
    Stats, SyncDaemon, SyncRole, TimeoutsChange, Transport, Tunnel,
};
use ipvs_model::Kernel;
use ipvs_sys as sys;

use super::random::Random;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    AddService(Service),
    SetService(Service),
    DeleteService(ServiceKey),
    AddDestination(ServiceKey, Destination),
    SetDestination(ServiceKey, Destination),
    DeleteDestination(ServiceKey, DestinationKey),
    Zero(Option<ServiceKey>),
    Flush,
    SetTimeouts(TimeoutsChange),
    StartSyncDaemon(SyncDaemon),
    StopSyncDaemon(SyncRole),
}

pub(crate) fn key(random: &mut Random) -> ServiceKey {
    let keys = ["tcp/192.0.2.53:80", "udp/192.0.2.53:80", "tcp/[2001:db8::53]:80", "fwmark/7"];
    random.pick(&keys).parse().unwrap()
}

/// The key of a real server that a service can have.
pub(crate) fn server_key(random: &mut Random, service: &ServiceKey) -> DestinationKey {
    let last = 1 + random.below(4) as u8;
    let addr = match service.family() {
        Family::V4 => [198, 51, 100, last].into(),
        Family::V6 => [0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into()].into(),
    };
    DestinationKey::new(addr, 80)
}

pub(crate) fn service(random: &mut Random, key: ServiceKey) -> Service {
    let mut scheduler = Some(random.pick(&[Scheduler::RR, Scheduler::WLC, Scheduler::MH]));
    if random.one_in(12) {
        // There's no such module.
        scheduler = Scheduler::new("lbrc").ok();
    }
    let persistence = Persistence::new(Duration::from_secs(random.below(3600) as u64 + 1));
    Service::new(key)
        .scheduler(scheduler.filter(|_| !random.one_in(8)))
        .scheduler_flags(SchedulerFlags::from_bits_retain((random.below(8) as u32) << 3))
        .one_packet(random.one_in(4))
        .persistent(random.one_in(3).then_some(persistence))
        .persistence_engine(random.one_in(8).then_some(PersistenceEngine::SIP))
}

pub(crate) fn destination(random: &mut Random, service: &ServiceKey) -> Destination {
    let forward = random.pick(&[
        Forward::Masquerade,
        Forward::DirectRoute,
        Forward::Tunnel(Tunnel::Ipip),
        Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: GueChecksum::Full }),
    ]);
    let mut weight = random.below(5) as u32;
    if random.one_in(12) {
        // More than the kernel takes.
        weight = u32::MAX;
    }
    Destination::new(server_key(random, service)).forward(forward).weight(weight)
}

fn timeouts(random: &mut Random) -> TimeoutsChange {
    // 0 stands for "as it is" in the kernel, so the library refuses it.
    let mut pick = || {
        let choices = [None, None, Some(1), Some(900), Some(7200), Some(0)];
        random.pick(&choices).map(Duration::from_secs)
    };
    let mut change = TimeoutsChange::default();
    (change.tcp, change.tcp_fin, change.udp) = (pick(), pick(), pick());
    change
}

impl Change {
    pub(crate) fn random(random: &mut Random) -> Self {
        let key = key(random);
        let role = random.pick(&[SyncRole::Master, SyncRole::Backup]);
        match random.below(48) {
            0..8 => Self::AddService(service(random, key)),
            8..14 => Self::SetService(service(random, key)),
            14..18 => Self::DeleteService(key),
            18..28 => Self::AddDestination(key, destination(random, &key)),
            28..34 => Self::SetDestination(key, destination(random, &key)),
            34..38 => Self::DeleteDestination(key, server_key(random, &key)),
            38 => Self::Zero(None),
            39 => Self::Zero(Some(key)),
            40 => Self::Flush,
            41 | 42 => Self::SetTimeouts(timeouts(random)),
            43 | 44 => {
                let interface = random.pick(&["eth0", "eth0", "eth9"]);
                let daemon = SyncDaemon::new(role, InterfaceName::new(interface).unwrap());
                Self::StartSyncDaemon(daemon.sync_id(random.below(256) as u8))
            }
            _ => Self::StopSyncDaemon(role),
        }
    }

    pub(crate) fn of_step(step: &Step) -> Self {
        match step.clone() {
            Step::AddService(service) => Self::AddService(service),
            Step::SetService { to, .. } => Self::SetService(to),
            Step::DeleteService(service) => Self::DeleteService(service.key),
            Step::AddDestination { service, destination } => {
                Self::AddDestination(service, destination)
            }
            Step::SetDestination { service, to, .. } => Self::SetDestination(service, to),
            Step::DrainDestination { service, destination } => {
                Self::SetDestination(service, destination.weight(0))
            }
            Step::DeleteDestination { service, destination } => {
                Self::DeleteDestination(service, destination.key())
            }
            other => panic!("a step that this test doesn't know: {other}"),
        }
    }

    pub(crate) fn put_into(&self, batch: &mut Batch) {
        match self {
            Self::AddService(service) => batch.add_service(service),
            Self::SetService(service) => batch.set_service(service),
            Self::DeleteService(key) => batch.delete_service(key),
            Self::AddDestination(key, server) => batch.add_destination(key, server),
            Self::SetDestination(key, server) => batch.set_destination(key, server),
            Self::DeleteDestination(key, server) => batch.delete_destination(key, server),
            Self::Zero(key) => batch.zero(key.as_ref()),
            Self::Flush => batch.flush(),
            Self::SetTimeouts(change) => batch.set_timeouts(*change),
            Self::StartSyncDaemon(daemon) => batch.start_sync_daemon(daemon),
            Self::StopSyncDaemon(role) => batch.stop_sync_daemon(*role),
        };
    }

    pub(crate) fn carry_out<T: Transport>(&self, client: &mut Client<T>) -> Result<(), Error> {
        match self {
            Self::AddService(service) => client.add_service(service),
            Self::SetService(service) => client.set_service(service),
            Self::DeleteService(key) => client.delete_service(key),
            Self::AddDestination(key, server) => client.add_destination(key, server),
            Self::SetDestination(key, server) => client.set_destination(key, server),
            Self::DeleteDestination(key, server) => client.delete_destination(key, server),
            Self::Zero(key) => client.zero(key.as_ref()),
            Self::Flush => client.flush(),
            Self::SetTimeouts(change) => client.set_timeouts(*change),
            Self::StartSyncDaemon(daemon) => client.start_sync_daemon(daemon),
            Self::StopSyncDaemon(role) => client.stop_sync_daemon(*role),
        }
    }

    /// What it is on the wire; `None` if it isn't sent at all.
    pub(crate) fn request(&self) -> Option<sys::Message> {
        let seen = Rc::default();
        let listener = Listener { responder: Responder::new(0x1c), seen: Rc::clone(&seen) };
        let _ = self.carry_out(&mut Client::with_transport(listener).unwrap());
        seen.take()
    }

    /// Whether the table is as this change leaves it.
    pub(crate) fn holds(&self, client: &mut Client<Kernel>) -> bool {
        match self {
            Self::AddService(wanted) | Self::SetService(wanted) => {
                client.service(&wanted.key).unwrap().is_some_and(|it| it.service == *wanted)
            }
            Self::DeleteService(key) => client.service(key).unwrap().is_none(),
            Self::AddDestination(key, wanted) | Self::SetDestination(key, wanted) => {
                let found = client.destination(key, &wanted.key());
                found.is_ok_and(|it| it.is_some_and(|it| it.destination == *wanted))
            }
            Self::DeleteDestination(key, server) => match client.destination(key, server) {
                Ok(found) => found.is_none(),
                Err(error) => error.kind() == ErrorKind::ServiceNotFound,
            },
            Self::Zero(zeroed) => client.snapshot().unwrap().services.iter().all(|service| {
                let servers = service.destinations.iter().map(|it| &it.stats);
                let is_zero = |stats: &Stats| stats.connections == 0 && stats.incoming_bytes == 0;
                zeroed.is_some_and(|zeroed| zeroed != service.entry.service.key)
                    || servers.chain([&service.entry.stats]).all(is_zero)
            }),
            Self::Flush => client.services().unwrap().is_empty(),
            Self::SetTimeouts(change) => {
                let now = client.timeouts().unwrap();
                let pairs =
                    [(change.tcp, now.tcp), (change.tcp_fin, now.tcp_fin), (change.udp, now.udp)];
                pairs.iter().all(|(wanted, now)| wanted.is_none_or(|wanted| wanted == *now))
            }
            Self::StartSyncDaemon(daemon) => client
                .sync_daemons()
                .unwrap()
                .iter()
                .any(|it| it.role == daemon.role && it.sync_id == daemon.sync_id),
            Self::StopSyncDaemon(role) => {
                client.sync_daemons().unwrap().iter().all(|it| it.role != *role)
            }
        }
    }
}

/// Remembers the first request to IPVS.
struct Listener {
    responder: Responder,
    seen: Rc<Cell<Option<sys::Message>>>,
}

impl Transport for Listener {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let seen = &self.seen;
        self.responder.respond(datagram, |call, _| {
            seen.set(seen.get().or(Some(*call.message)));
            Ok(())
        });
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.responder.receive(buffer))
    }

    fn reset(&mut self) -> io::Result<()> {
        self.responder.discard();
        Ok(())
    }
}
