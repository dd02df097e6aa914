//! Random changes to few objects, so that they collide; the kernel refuses some of them.

use std::time::Duration;

use ipvs::Served;
use ipvs::{
    Change, Client, Destination, DestinationKey, ErrorKind, Family, Forward, GueChecksum,
    InterfaceName, Persistence, PersistenceEngine, Scheduler, SchedulerFlags, Service, ServiceKey,
    Stats, SyncDaemon, SyncRole, TimeoutsChange, Tunnel,
};
use ipvs_model::Kernel;
use ipvs_sys as sys;
use splitmix::Random;

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
        // There is no such module.
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
        // More than the kernel accepts.
        weight = u32::MAX;
    }
    Destination::new(server_key(random, service)).forward(forward).weight(weight)
}

fn timeouts(random: &mut Random) -> TimeoutsChange {
    // The kernel takes 0 for "leave unchanged", so the library refuses it.
    let mut pick = || {
        let choices = [None, None, Some(1), Some(900), Some(7200), Some(0)];
        random.pick(&choices).map(Duration::from_secs)
    };
    let mut change = TimeoutsChange::default();
    (change.tcp, change.tcp_fin, change.udp) = (pick(), pick(), pick());
    change
}

/// A change of one of those objects.
pub(crate) fn change(random: &mut Random) -> Change {
    let service = key(random);
    let role = random.pick(&[SyncRole::Master, SyncRole::Backup]);
    match random.below(48) {
        0..8 => Change::AddService(self::service(random, service)),
        8..14 => Change::SetService(self::service(random, service)),
        14..18 => Change::DeleteService(service),
        18..28 => Change::AddDestination { service, destination: destination(random, &service) },
        28..34 => Change::SetDestination { service, destination: destination(random, &service) },
        34..38 => Change::DeleteDestination { service, destination: server_key(random, &service) },
        38 => Change::Zero(None),
        39 => Change::Zero(Some(service)),
        40 => Change::Flush,
        41 | 42 => Change::SetTimeouts(timeouts(random)),
        43 | 44 => {
            let interface = random.pick(&["eth0", "eth0", "eth9"]);
            let daemon = SyncDaemon::new(role, InterfaceName::new(interface).unwrap());
            Change::StartSyncDaemon(daemon.sync_id(random.below(256) as u8))
        }
        _ => Change::StopSyncDaemon(role),
    }
}

/// The request for a change; `None` if it isn't sent at all.
pub(crate) fn request(change: &Change) -> Option<sys::Message> {
    let mut seen = None;
    let served = Served::new(|call, _| {
        seen.get_or_insert(*call.message);
        Ok(())
    });
    let _ = Client::with_transport(served).unwrap().change(change);
    seen
}

/// Whether the table is in the state that a change results in.
pub(crate) fn holds(change: &Change, client: &mut Client<Kernel>) -> bool {
    match change {
        Change::AddService(wanted) | Change::SetService(wanted) => {
            client.service(&wanted.key).unwrap().is_some_and(|it| it.service == *wanted)
        }
        Change::DeleteService(key) => client.service(key).unwrap().is_none(),
        Change::AddDestination { service, destination: wanted }
        | Change::SetDestination { service, destination: wanted } => {
            let found = client.destination(service, wanted.key());
            found.is_ok_and(|it| it.is_some_and(|it| it.destination == *wanted))
        }
        Change::DeleteDestination { service, destination } => {
            match client.destination(service, destination) {
                Ok(found) => found.is_none(),
                Err(error) => error.kind() == ErrorKind::ServiceNotFound,
            }
        }
        Change::Zero(zeroed) => client.snapshot().unwrap().services().iter().all(|service| {
            let servers = service.destinations.iter().map(|it| &it.stats);
            let is_zero = |stats: &Stats| stats.connections == 0 && stats.incoming_bytes == 0;
            zeroed.is_some_and(|zeroed| zeroed != service.entry.service.key)
                || servers.chain([&service.entry.stats]).all(is_zero)
        }),
        Change::Flush => client.services().unwrap().is_empty(),
        Change::SetTimeouts(change) => {
            let now = client.timeouts().unwrap();
            let pairs =
                [(change.tcp, now.tcp), (change.tcp_fin, now.tcp_fin), (change.udp, now.udp)];
            pairs.iter().all(|(wanted, now)| wanted.is_none_or(|wanted| wanted == *now))
        }
        Change::StartSyncDaemon(daemon) => client
            .sync_daemons()
            .unwrap()
            .iter()
            .any(|it| it.role == daemon.role && it.sync_id == daemon.sync_id),
        Change::StopSyncDaemon(role) => {
            client.sync_daemons().unwrap().iter().all(|it| it.role != *role)
        }
        other => panic!("a change that this test doesn't know: {other}"),
    }
}
