//! Every number in the library's model, over its whole range. What is accepted must read back
//! equal, and what is refused must leave nothing behind. The same property holds for real kernels
//! and for the model of one.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ipvs::plan::{Options, Plan};
use ipvs::{
    Client, Destination, DestinationKey, Ensured, Error, ErrorKind, Family, Forward, GueChecksum,
    InterfaceName, Persistence, PersistenceEngine, PersistenceMask, Protocol, Scheduler,
    SchedulerFlags, Service, ServiceKey, SyncDaemon, SyncRole, TimeoutsChange, Transport, Tunnel,
};
use ipvs_sys as sys;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Something to set up.
#[derive(Clone, Debug)]
enum Item {
    /// A virtual service.
    Service(Service),
    /// A real server of a service in either family.
    Destination(Family, Destination),
    /// Connection timeouts.
    Timeouts(TimeoutsChange),
    /// A sync daemon on `eth0`.
    Daemon(SyncDaemon),
}

/// What is known in advance about the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Accepted,
    /// The library refuses it.
    Invalid,
    /// The kernel refuses it.
    Refused,
    /// This depends on the kernel's version or tick rate.
    Either,
}

/// Sets `item` up. Returns an error if what was accepted reads back as something else, is set again
/// by an `ensure`, or differs in a plan. It also does so if what was refused exists or changed what
/// existed, or if the outcome contradicts the documentation.
fn check<T: Transport>(client: &mut Client<T>, item: &Item) -> Result<()> {
    client.flush()?;
    match item {
        Item::Service(service) => check_service(client, service),
        Item::Destination(family, server) => check_destination(client, *family, server),
        Item::Timeouts(change) => check_timeouts(client, change),
        Item::Daemon(daemon) => check_daemon(client, daemon),
    }
}

/// Whether it was done; an error if that contradicts `expected`.
fn outcome(result: Result<(), Error>, expected: Expected) -> Result<bool> {
    let seen = match &result {
        Ok(()) => Expected::Accepted,
        Err(error) if error.kind() == ErrorKind::InvalidInput => Expected::Invalid,
        Err(error) => match error.kind() {
            ErrorKind::InvalidArgument | ErrorKind::OutOfRange => Expected::Refused,
            _ => return result.map(|()| true).context("neither accepted nor out of range"),
        },
    };
    let fits = match expected {
        Expected::Either => seen != Expected::Invalid,
        other => seen == other,
    };
    ensure!(fits, "{expected:?} by the documentation, but {result:?}");
    Ok(result.is_ok())
}

fn expected_of_service(service: &Service) -> Expected {
    let timeout = service.persistence.as_ref().map(|persistence| persistence.timeout);
    let mask = service.persistence.as_ref().map(|persistence| persistence.mask);
    let has_mask = mask.is_none_or(|mask| match service.key.family() {
        Family::V4 => mask.as_v4().is_some(),
        Family::V6 => mask.as_v6().is_some(),
    });
    let has_time = timeout.is_none_or(|timeout| {
        timeout.subsec_nanos() == 0 && (1..=4_294_967).contains(&timeout.as_secs())
    });
    let own_flags =
        sys::ServiceFlags::PERSISTENT | sys::ServiceFlags::HASHED | sys::ServiceFlags::ONE_PACKET;
    let has_flags = service.scheduler_flags.bits() & own_flags.bits() == 0;
    let is_named = match service.key {
        ServiceKey::Addr { protocol: Protocol::Other(number), .. } => {
            ![6, 17, 132].contains(&number)
        }
        _ => true,
    };
    if has_mask && has_time && has_flags && is_named {
        Expected::Accepted
    } else {
        Expected::Invalid
    }
}

fn check_service<T: Transport>(client: &mut Client<T>, service: &Service) -> Result<()> {
    let expected = expected_of_service(service);
    let plain = Service::new(service.key);
    if outcome(client.add_service(service), expected)? {
        reads_back(client, service).context("added")?;
        client.set_service(&plain)?;
    } else {
        assert_eq!(client.services()?, []);
        // A number that has a name can't be used as a plain number.
        if expected_of_service(&plain) != Expected::Accepted {
            return Ok(());
        }
        client.add_service(&plain)?;
    }
    if outcome(client.set_service(service), expected)? {
        return reads_back(client, service).context("set");
    }
    reads_back(client, &plain).context("not set")
}

fn reads_back<T: Transport>(client: &mut Client<T>, service: &Service) -> Result<()> {
    let entry = client.service(&service.key)?.context("it is gone")?;
    ensure!(entry.service == *service, "reads back as {:?}", entry.service);
    assert_eq!(client.ensure_service(service)?, Ensured::Unchanged);
    ensure!(!client.edit_service(&service.key, |_| ())?, "an edit of nothing was sent");
    let table = client.snapshot()?.into_table();
    let wanted = ipvs::Table::new().with(ipvs::TableService::new(service.clone()));
    let plan = Plan::diff(&table, &wanted, &Options::new());
    ensure!(plan.is_empty(), "a plan would change it: {plan}");
    Ok(())
}

fn expected_of_destination(family: Family, server: &Destination) -> Expected {
    let known = match server.forward {
        Forward::Other(number) => (5..=7).contains(&number),
        // These numbers and flags belong to the types that have names.
        Forward::Tunnel(Tunnel::Other { kind: 0, .. }) => false,
        Forward::Tunnel(Tunnel::Other { kind: 1, flags, .. }) => flags > 2,
        Forward::Tunnel(Tunnel::Other { kind: 2, flags, .. }) => flags > 1,
        _ => true,
    };
    if !known {
        return Expected::Invalid;
    }
    let in_tunnel = matches!(server.forward, Forward::Tunnel(_));
    let has_port = !matches!(
        server.forward,
        Forward::Tunnel(Tunnel::Gue { port: 0, .. } | Tunnel::Other { kind: 1, port: 0, .. })
    );
    let highest = i32::MAX.unsigned_abs();
    if server.weight > highest
        || server.lower_threshold > server.upper_threshold
        || !has_port
        || (Family::of(server.addr) != family && !in_tunnel)
    {
        Expected::Refused
    } else if server.upper_threshold > highest {
        Expected::Either
    } else {
        Expected::Accepted
    }
}

fn check_destination<T: Transport>(
    client: &mut Client<T>,
    family: Family,
    server: &Destination,
) -> Result<()> {
    let vip: IpAddr = match family {
        Family::V4 => Ipv4Addr::new(192, 0, 2, 53).into(),
        Family::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53).into(),
    };
    let service = ServiceKey::tcp((vip, 80).into());
    client.add_service(&Service::new(service))?;
    let expected = expected_of_destination(family, server);
    // A real server of the other family needs a tunnel.
    let plain = Destination::new(server.key()).forward(Forward::Tunnel(Tunnel::Ipip));
    if outcome(client.add_destination(&service, server), expected)? {
        server_reads_back(client, &service, server).context("added")?;
        client.set_destination(&service, &plain)?;
    } else {
        assert_eq!(client.destinations(&service)?, []);
        client.add_destination(&service, &plain)?;
    }
    if outcome(client.set_destination(&service, server), expected)? {
        return server_reads_back(client, &service, server).context("set");
    }
    server_reads_back(client, &service, &plain).context("not set")
}

fn server_reads_back<T: Transport>(
    client: &mut Client<T>,
    service: &ServiceKey,
    server: &Destination,
) -> Result<()> {
    let entry = client.destination(service, server.key())?.context("it is gone")?;
    ensure!(entry.destination == *server, "reads back as {:?}", entry.destination);
    assert_eq!(client.ensure_destination(service, server)?, Ensured::Unchanged);
    Ok(())
}

/// The longest connection timeout that fits a kernel with this tick rate.
fn longest(ticks: u32) -> u64 {
    (i32::MAX.unsigned_abs() / ticks).into()
}

fn check_timeouts<T: Transport>(client: &mut Client<T>, change: &TimeoutsChange) -> Result<()> {
    let before = client.timeouts()?;
    let given = [change.tcp, change.tcp_fin, change.udp];
    let all = |fits: fn(Duration) -> bool| given.into_iter().flatten().all(fits);
    let expected = if !all(|it| it.subsec_nanos() == 0 && (1..1 << 32).contains(&it.as_secs())) {
        Expected::Invalid
    } else if all(|it| it.as_secs() <= longest(1000)) {
        Expected::Accepted
    } else if all(|it| it.as_secs() <= longest(100)) {
        Expected::Either
    } else {
        Expected::Refused
    };
    let mut wanted = before;
    if outcome(client.set_timeouts(*change), expected)? {
        wanted = before
            .tcp(change.tcp.unwrap_or(before.tcp))
            .tcp_fin(change.tcp_fin.unwrap_or(before.tcp_fin))
            .udp(change.udp.unwrap_or(before.udp));
    }
    let after = client.timeouts()?;
    ensure!(after == wanted, "{after:?} instead of {wanted:?}");
    Ok(())
}

fn check_daemon<T: Transport>(client: &mut Client<T>, daemon: &SyncDaemon) -> Result<()> {
    let expected = match daemon.group.is_none_or(|group| group.is_multicast()) {
        true => Expected::Accepted,
        false => Expected::Refused,
    };
    if !outcome(client.start_sync_daemon(daemon), expected)? {
        assert_eq!(client.sync_daemons()?, []);
        return Ok(());
    }
    let running = client.sync_daemons()?;
    client.stop_sync_daemon(daemon.role)?;
    let [running] = running.as_slice() else { bail!("{running:?} run") };
    let mut wanted = daemon.reported();
    if wanted.max_length.is_none() {
        // The MTU of the network interface is 1,500.
        let headers = if wanted.group.is_some_and(|group| group.is_ipv6()) { 48 } else { 28 };
        wanted.max_length = Some(1500 - headers);
    }
    ensure!(*running == wanted, "{running:?} instead of {wanted:?}");
    ensure!(running.reported() == *running, "what was reported would be reported otherwise");
    Ok(())
}

/// Numbers in a range. Values at or next to its ends and `ends` are more frequent than others.
fn number(range: RangeInclusive<u64>, ends: &[u64]) -> BoxedStrategy<u64> {
    let near = |end: &u64| [end.saturating_sub(1), *end, end.saturating_add(1)];
    let mut edges: Vec<_> =
        [range.start(), range.end()].into_iter().chain(ends).flat_map(near).collect();
    edges.retain(|edge| range.contains(edge));
    let scales = (0..64_u32, any::<u64>()).prop_map(|(bits, number)| number >> bits);
    let within = range.clone();
    prop_oneof![
        2 => select(edges),
        1 => range,
        1 => scales.prop_filter("of the range", move |number| within.contains(number)),
    ]
    .boxed()
}

fn number_u32(ends: &[u64]) -> BoxedStrategy<u32> {
    number(0..=u32::MAX.into(), ends).prop_map(|number| number as u32).boxed()
}

fn number_u16(ends: &[u64]) -> BoxedStrategy<u16> {
    number(0..=u16::MAX.into(), ends).prop_map(|number| number as u16).boxed()
}

/// Times around the limit of 32 bits of ticks, occasionally with a fraction of a second.
fn time() -> BoxedStrategy<Duration> {
    let ends: Vec<_> = [100, 250, 300, 1000]
        .into_iter()
        .flat_map(|ticks| [u64::from(u32::MAX) / ticks, longest(ticks as u32)])
        .chain([2_678_400, u32::MAX.into()])
        .collect();
    let fraction = prop_oneof![30 => Just(0_u32), 1 => 1..1_000_000_000_u32];
    (number(0..=u64::from(u32::MAX) + 2, &ends), fraction)
        .prop_map(|(seconds, nanoseconds)| Duration::new(seconds, nanoseconds))
        .boxed()
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::V4 => any::<[u8; 3]>().prop_map(|[a, b, c]| IpAddr::from([10, a, b, c])).boxed(),
        Family::V6 => any::<[u16; 6]>()
            .prop_map(|[a, b, c, d, e, f]| IpAddr::from([0x2001, 0xdb8, a, b, c, d, e, f]))
            .boxed(),
    }
}

fn families() -> impl Strategy<Value = Family> {
    select(&[Family::V4, Family::V6][..])
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = prop_oneof![
        3 => select(&[Protocol::Tcp, Protocol::Udp, Protocol::Sctp][..]),
        1 => number_u16(&[6, 17, 132, 255]).prop_map(Protocol::Other),
    ];
    let addr = families().prop_flat_map(address);
    let at = (protocol, addr, number_u16(&[]))
        .prop_map(|(protocol, addr, port)| ServiceKey::Addr { protocol, addr, port });
    let mark = (families(), number_u32(&[i32::MAX.unsigned_abs().into()]))
        .prop_filter_map("a mark isn't 0", |(family, mark)| {
            Some(ServiceKey::fwmark(family, mark.try_into().ok()?))
        });
    prop_oneof![2 => at, 1 => mark]
}

fn mask() -> impl Strategy<Value = PersistenceMask> {
    let v6 = (1..=128_u32).prop_filter_map("a prefix", |bits| PersistenceMask::v6(bits).ok());
    let v4 = number_u32(&[0xffff_ff00, 0xff]).prop_map(|mask| PersistenceMask::v4(mask.into()));
    prop_oneof![v4, v6, Just(PersistenceMask::HOST)]
}

fn service() -> impl Strategy<Value = Service> {
    let scheduler = proptest::option::weighted(0.9, select(Scheduler::KNOWN));
    let flags = prop_oneof![
        Just(0_u32),
        (0..8_u32).prop_map(|bits| bits << 3),
        any::<u32>().prop_map(|bits| bits & !7),
        any::<u32>(),
    ];
    let persistence = proptest::option::weighted(
        0.8,
        (time(), mask()).prop_map(|(time, mask)| Persistence::new(time).mask(mask)),
    );
    let engine = proptest::option::weighted(0.2, Just(PersistenceEngine::SIP));
    (service_key(), scheduler, flags, any::<bool>(), persistence, engine).prop_map(
        |(key, scheduler, flags, one_packet, persistence, engine)| {
            Service::new(key)
                .scheduler(scheduler)
                .scheduler_flags(SchedulerFlags::from_bits_retain(flags))
                .one_packet(one_packet)
                .persistent(persistence)
                .persistence_engine(engine)
        },
    )
}

fn forward() -> impl Strategy<Value = Forward> {
    let checksum = select(&[GueChecksum::None, GueChecksum::Full, GueChecksum::Remote][..]);
    let gue =
        (number_u16(&[]), checksum).prop_map(|(port, checksum)| Tunnel::Gue { port, checksum });
    let gre = any::<bool>().prop_map(|checksum| Tunnel::Gre { checksum });
    let kind = prop_oneof![0..4_u8, any::<u8>()];
    let other = (kind, number_u16(&[]), number_u16(&[2]))
        .prop_map(|(kind, port, flags)| Tunnel::Other { kind, port, flags });
    prop_oneof![
        1 => select(&[Forward::Masquerade, Forward::DirectRoute, Forward::LocalNode, Forward::Bypass][..]),
        2 => prop_oneof![Just(Tunnel::Ipip), gue, gre, other].prop_map(Forward::Tunnel),
        1 => number_u32(&[4, 7, 8, 0x2000]).prop_map(Forward::Other),
    ]
}

fn destination() -> impl Strategy<Value = Destination> {
    let highest: &[u64] = &[i32::MAX.unsigned_abs().into(), 65_535];
    let server = (families().prop_flat_map(address), number_u16(&[]));
    // In order more often than not.
    let thresholds = (number_u32(highest), number_u32(highest), 0..4_u8)
        .prop_map(|(a, b, odd)| if odd == 0 { (a, b) } else { (a.max(b), a.min(b)) });
    (server, forward(), number_u32(highest), thresholds).prop_map(
        |((addr, port), forward, weight, (upper, lower))| {
            Destination::new(DestinationKey::new(addr, port))
                .forward(forward)
                .weight(weight)
                .thresholds(upper, lower)
        },
    )
}

fn daemon() -> impl Strategy<Value = SyncDaemon> {
    let group = prop_oneof![
        Just(None),
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| Some([224 + a % 16, b, c, d].into())),
        any::<u16>().prop_map(|last| Some([0xff02, 0, 0, 0, 0, 0, 0, last].into())),
        Just(Some([192, 0, 2, 81].into())),
        Just(Some([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x81].into())),
    ];
    let roles = select(&[SyncRole::Master, SyncRole::Backup][..]);
    let length = proptest::option::weighted(0.8, number_u16(&[1024, 1452, 1472, 65_487, 65_507]));
    let ttl = proptest::option::of(prop_oneof![Just(0), any::<u8>()]);
    (roles, any::<u8>(), length, group, proptest::option::of(number_u16(&[])), ttl).prop_filter_map(
        "a name",
        |(role, sync_id, length, group, port, ttl): (_, _, _, Option<IpAddr>, _, _)| {
            let daemon = SyncDaemon::new(role, InterfaceName::new("eth0").ok()?);
            Some(daemon.sync_id(sync_id).max_length(length).group(group).port(port).ttl(ttl))
        },
    )
}

/// Checks `cases` items against a kernel, the same ones each time.
///
/// # Errors
///
/// If something reads back different from what was set up, exists although it was refused, or was
/// accepted or refused contrary to the documentation. The error describes the simplest such item.
pub fn check_many<T: Transport>(client: &mut Client<T>, cases: u32) -> Result<()> {
    let client = RefCell::new(client);
    let config = Config { failure_persistence: None, ..Config::with_cases(cases) };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, random)
        .run(&items(), |item| {
            check(&mut client.borrow_mut(), &item)
                .map_err(|error| TestCaseError::fail(format!("{error:#}")))
        })
        .map_err(|error| anyhow!("{error}"))
}

/// Anything that can be set up, inside and outside its valid range.
fn items() -> impl Strategy<Value = Item> {
    let time = || proptest::option::of(time());
    let timeouts = (time(), time(), time())
        .prop_map(|(tcp, tcp_fin, udp)| Item::Timeouts(TimeoutsChange { tcp, tcp_fin, udp }));
    prop_oneof![
        3 => service().prop_map(Item::Service),
        4 => (families(), destination()).prop_map(|(family, it)| Item::Destination(family, it)),
        2 => timeouts,
        2 => daemon().prop_map(Item::Daemon),
    ]
}

#[cfg(test)]
mod tests {
    use ipvs_model::Kernel;

    use super::*;

    /// The values of `CONFIG_HZ` that Linux offers.
    #[test]
    fn what_the_model_accepts_reads_back_equal_with_any_ticks() {
        for ticks in [100, 250, 300, 1000] {
            for version in [(6, 1), (7, 2)] {
                let kernel = Kernel::builder().ticks_per_second(ticks);
                let kernel = kernel.version(version.0, version.1).build();
                let mut client = Client::with_transport(kernel).expect("a model");
                if let Err(error) = check_many(&mut client, 1000) {
                    panic!("{ticks} ticks a second, Linux {version:?}: {error:#}");
                }
            }
        }
    }
}
