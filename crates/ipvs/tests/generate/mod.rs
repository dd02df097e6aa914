//! Generated tables with few keys, so that two tables have some in common.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use ipvs::{
    Destination, DestinationKey, Family, Forward, GueChecksum, Persistence, PersistenceEngine,
    PersistenceMask, Scheduler, SchedulerFlags, Service, ServiceKey, Table, TableService, Tunnel,
};
use proptest::collection::btree_map;
use proptest::prelude::*;

/// One of a few virtual services: an address, or a firewall mark of either family.
pub(crate) fn key(number: u32) -> ServiceKey {
    match NonZeroU32::new(number) {
        None => "tcp/192.0.2.53:80".parse().unwrap(),
        Some(mark) if number < 3 => ServiceKey::fwmark(Family::V4, mark),
        Some(mark) if number < 5 => ServiceKey::fwmark(Family::V6, mark),
        Some(_) => format!("udp/[2001:db8::53]:{number}").parse().unwrap(),
    }
}

/// One of a few real servers.
pub(crate) fn server(number: u8) -> Destination {
    Destination::new(DestinationKey::new([10, 0, 0, number].into(), 80))
}

fn service(key: ServiceKey) -> impl Strategy<Value = Service> {
    let scheduler = proptest::option::weighted(0.9, proptest::sample::select(Scheduler::KNOWN));
    let flags = (0..8_u32).prop_map(|bits| SchedulerFlags::from_bits_retain(bits << 3));
    let prefix = prop_oneof![Just(128_u32), 1..=128_u32];
    let persistence = (1..100_000_u64, prefix).prop_map(move |(seconds, prefix)| {
        let mask = match key.family() {
            Family::V4 => PersistenceMask::v4((!0_u32 << (prefix % 32)).into()),
            Family::V6 => PersistenceMask::v6(prefix).unwrap(),
        };
        Persistence::new(Duration::from_secs(seconds)).mask(mask)
    });
    let persistence = proptest::option::of(persistence);
    let engine = proptest::option::of(Just(PersistenceEngine::SIP));
    (scheduler, flags, any::<bool>(), persistence, engine).prop_map(
        move |(scheduler, flags, one_packet, persistence, engine)| {
            Service::new(key)
                .scheduler(scheduler)
                .scheduler_flags(flags)
                .one_packet(one_packet)
                .persistent(persistence)
                .persistence_engine(engine)
        },
    )
}

fn forward() -> impl Strategy<Value = Forward> {
    let checksum =
        prop_oneof![Just(GueChecksum::None), Just(GueChecksum::Full), Just(GueChecksum::Remote),];
    let gue = (1..=u16::MAX, checksum).prop_map(|(port, checksum)| Tunnel::Gue { port, checksum });
    let gre = any::<bool>().prop_map(|checksum| Tunnel::Gre { checksum });
    let tunnel = prop_oneof![Just(Tunnel::Ipip), gue, gre];
    prop_oneof![
        Just(Forward::Masquerade),
        Just(Forward::DirectRoute),
        tunnel.prop_map(Forward::Tunnel),
    ]
}

fn destination(number: u8) -> impl Strategy<Value = Destination> {
    // The order of steps depends on weight 0.
    let weight = prop_oneof![Just(0_u32), 1..=3_u32];
    (forward(), weight, 0..100_u32, 0..100_u32).prop_map(move |(forward, weight, a, b)| {
        server(number).forward(forward).weight(weight).thresholds(a.max(b), a.min(b))
    })
}

/// The real server in the family of its service; only tunnels can use another family.
fn of_family(server: &Destination, family: Family) -> Destination {
    let mut server = *server;
    if let (Family::V6, IpAddr::V4(addr)) = (family, server.addr) {
        let [.., number] = addr.octets();
        server.addr = [0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into()].into();
    }
    server
}

/// A table of up to 5 virtual services with up to 4 real servers each.
pub(crate) fn table() -> impl Strategy<Value = Table> {
    let servers = btree_map(1..6_u8, Just(()), 0..5)
        .prop_flat_map(|numbers| numbers.into_keys().map(destination).collect::<Vec<_>>());
    btree_map(0..7_u32, servers, 0..6).prop_flat_map(|services: BTreeMap<u32, Vec<Destination>>| {
        let entries = services.into_iter().map(|(number, servers)| {
            let family = key(number).family();
            service(key(number)).prop_map(move |service| {
                let mut entry = TableService::new(service);
                entry.extend(servers.iter().map(|server| of_family(server, family)));
                entry
            })
        });
        entries.collect::<Vec<_>>().prop_map(Table::from_iter)
    })
}

/// Two tables that have much in common: the second takes some entries of the first unchanged.
pub(crate) fn pair_of_tables() -> impl Strategy<Value = (Table, Table)> {
    (table(), table(), any::<u32>()).prop_map(|(first, mut second, kept)| {
        for (index, entry) in first.services().enumerate() {
            let key = *entry.key();
            if kept >> (2 * index) & 1 == 1 && second.get(&key).is_some() {
                second.insert_service(entry.service().clone());
            }
            if let (Some(server), Some(other), true) = (
                entry.destinations().next(),
                second.get_mut(&key),
                kept >> (2 * index + 1) & 1 == 1,
            ) {
                other.insert(*server);
            }
        }
        (first, second)
    })
}
