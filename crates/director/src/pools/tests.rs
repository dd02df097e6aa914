use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use ipvs::plan::{Options, Prune, Scope};
use ipvs::{Client, Destination, Scheduler, Service};
use ipvs_model::Kernel;
use probe::{Check, ReasonKind, Stage, Thresholds};
use proptest::prelude::*;

use super::*;
use crate::pool::WhenDown;

const TIMEOUT: Duration = Duration::from_secs(3);

fn vip(port: u16) -> ServiceKey {
    format!("tcp/10.10.10.53:{port}").parse().unwrap()
}

fn server(n: u8) -> Destination {
    Destination::new(DestinationKey::new(Ipv4Addr::new(10, 10, 10, n).into(), 80))
}

fn probe_of(n: u8) -> Probe {
    Probe::new((Ipv4Addr::new(10, 10, 10, n), 80).into(), Check::Connect, TIMEOUT)
}

fn fall(fall: u16) -> Thresholds {
    Thresholds { fall: NonZeroU16::new(fall).unwrap(), ..Thresholds::default() }
}

fn pool(port: u16, servers: &[u8]) -> Pool {
    let service = Service::new(vip(port)).scheduler(Scheduler::RR);
    servers.iter().fold(Pool::new(service), |pool, n| pool.member(member(*n, 1)))
}

fn member(n: u8, falls: u16) -> Member {
    Member::new(server(n), probe_of(n)).thresholds(fall(falls))
}

fn down() -> Verdict {
    Verdict::down(ReasonKind::Refused, Stage::Connect, "connection refused")
}

/// A kernel, and a client that applies what the pools want, as a daemon would.
struct Site {
    client: Client<Kernel>,
    pools: Pools,
    now: Instant,
}

impl Site {
    fn new(pools: impl IntoIterator<Item = Pool>, table: &[(u16, &[(u8, u32)])]) -> Self {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        for (port, servers) in table {
            client.add_service(&Service::new(vip(*port)).scheduler(Scheduler::RR)).unwrap();
            for (n, weight) in *servers {
                client.add_destination(&vip(*port), &server(*n).weight(*weight)).unwrap();
            }
        }
        let now = Instant::now();
        let pools = Pools::new(pools, &client.snapshot().unwrap(), now);
        let mut site = Self { client, pools, now };
        site.write();
        site
    }

    /// Applies the touched services, and returns the steps.
    fn write(&mut self) -> Vec<String> {
        let mut steps = Vec::new();
        for key in self.pools.take_touched() {
            let current = self.client.service_snapshot(&key).unwrap();
            let desired = self.pools.desired(&key, current.as_ref()).unwrap();
            let scope = Scope::services([key]);
            let options = Options::new().prune(Prune::Everything, scope);
            let plan = self.client.reconcile(&desired, &options).unwrap();
            steps.extend(plan.steps().iter().map(ToString::to_string));
        }
        steps
    }

    fn observe(&mut self, n: u8, verdict: &Verdict) -> Vec<Event> {
        self.now += Duration::from_secs(1);
        let mut events = self.pools.observe(&probe_of(n), verdict, self.now);
        if self.pools.deadline().is_some_and(|deadline| deadline <= self.now) {
            events.extend(self.pools.tick(self.now));
        }
        self.write();
        events
    }

    /// The table as the last bytes of addresses, and weights.
    fn table(&mut self, port: u16) -> Vec<(u8, u32)> {
        let mut servers: Vec<_> = self
            .client
            .destinations(&vip(port))
            .unwrap()
            .into_iter()
            .map(|it| match it.key().addr {
                IpAddr::V4(address) => (address.octets()[3], it.destination.weight),
                IpAddr::V6(_) => panic!(),
            })
            .collect();
        servers.sort_unstable();
        servers
    }
}

#[test]
fn a_server_comes_in_by_its_first_success_and_leaves_by_a_failure() {
    let mut site = Site::new([pool(80, &[102, 103])], &[]);
    assert_eq!(site.table(80), []);
    let events = site.observe(102, &Verdict::Up);
    assert_eq!(events, [Event::Up { service: vip(80), server: server(102).key() }]);
    assert_eq!(site.table(80), [(102, 1)]);
    site.observe(103, &Verdict::Up);
    assert_eq!(site.table(80), [(102, 1), (103, 1)]);
    let events = site.observe(102, &down());
    assert_eq!(
        events[0].to_string(),
        "tcp/10.10.10.53:80: 10.10.10.102:80 is down: connection refused"
    );
    assert_eq!(site.table(80), [(103, 1)]);
}

#[test]
fn what_the_kernel_has_counts_as_up_until_it_has_failed_often_enough() {
    let pool = pool(80, &[]).member(member(102, 3)).member(member(103, 3));
    // The table has 103 with weight 0, so it isn't in use. The configuration lacks 104.
    let mut site = Site::new([pool], &[(80, &[(102, 1), (103, 0), (104, 1)])]);
    assert_eq!(site.table(80), [(102, 1), (103, 0)]);
    site.observe(102, &down());
    site.observe(102, &down());
    assert_eq!(site.table(80), [(102, 1), (103, 0)]);
    let events = site.observe(102, &down());
    assert!(matches!(events[0], Event::Down { .. }), "{events:?}");
    assert_eq!(site.table(80), [(103, 0)]);
    site.observe(103, &Verdict::Up);
    assert_eq!(site.table(80), [(103, 1)]);
}

#[test]
fn a_start_on_a_right_table_changes_nothing() {
    let mut client = Client::with_transport(Kernel::new()).unwrap();
    client.add_service(&Service::new(vip(80)).scheduler(Scheduler::RR)).unwrap();
    client.add_destination(&vip(80), &server(102)).unwrap();
    let snapshot = client.snapshot().unwrap();
    let now = Instant::now();
    let mut site = Site { client, pools: Pools::new([pool(80, &[102, 103])], &snapshot, now), now };
    assert_eq!(site.write(), [""; 0]);
    site.observe(102, &Verdict::Up);
    assert_eq!(site.table(80), [(102, 1)]);
}

#[test]
fn a_shared_check_counts_once_and_each_service_by_its_own_thresholds() {
    let patient = pool(81, &[]).member(member(102, 3));
    let mut site = Site::new([pool(80, &[102]), patient, pool(82, &[102])], &[]);
    assert_eq!(site.pools.probes().count(), 1);
    assert_eq!(site.observe(102, &Verdict::Up).len(), 3);
    assert_eq!(
        site.observe(102, &down()).iter().filter(|it| matches!(it, Event::Down { .. })).count(),
        2
    );
    assert_eq!((site.table(80), site.table(81), site.table(82)), (vec![], vec![(102, 1)], vec![]));
    site.observe(102, &down());
    site.observe(102, &down());
    assert_eq!(site.table(81), []);
}

#[test]
fn a_failure_that_does_not_count_yet_brings_nobody_in() {
    // It is in use in one service, so the shared check is assumed up, but not in the other.
    let pools = [80, 81].map(|port| pool(port, &[]).member(member(102, 3)));
    let mut site = Site::new(pools, &[(80, &[(102, 1)])]);
    site.observe(102, &down());
    assert_eq!((site.table(80), site.table(81)), (vec![(102, 1)], vec![]));
    site.observe(102, &Verdict::Up);
    assert_eq!((site.table(80), site.table(81)), (vec![(102, 1)], vec![(102, 1)]));
}

#[test]
fn the_fallback_waits_for_first_verdicts_and_goes_when_somebody_is_up() {
    let with_fallback = || pool(80, &[102, 103]).fallback(server(1));
    let mut site = Site::new([with_fallback()], &[]);
    assert_eq!(site.observe(102, &down()), []);
    assert_eq!(site.table(80), [], "103 hasn't been judged");
    assert_eq!(site.observe(103, &down()), [Event::FallbackIn { service: vip(80) }]);
    assert_eq!(site.table(80), [(1, 1)]);
    assert_eq!(site.observe(103, &down()), []);
    let events = site.observe(103, &Verdict::Up);
    assert!(events.contains(&Event::FallbackOut { service: vip(80) }), "{events:?}");
    assert_eq!(site.table(80), [(103, 1)]);

    // Or until the longest timeout has passed.
    let mut site = Site::new([with_fallback()], &[]);
    let deadline = site.pools.deadline().unwrap();
    assert_eq!(deadline, site.now + TIMEOUT);
    assert_eq!(site.pools.tick(deadline - Duration::from_millis(1)), []);
    assert_eq!(site.pools.tick(deadline), [Event::FallbackIn { service: vip(80) }]);
    assert_eq!(site.pools.deadline(), None);
    // A fallback that is in the table when the daemon starts stays.
    let mut site = Site::new([with_fallback()], &[(80, &[(1, 1)])]);
    assert_eq!(site.table(80), [(1, 1)]);
    site.observe(102, &Verdict::Up);
    assert_eq!(site.table(80), [(102, 1)]);
}

#[test]
fn a_quiescent_server_stays_with_weight_0() {
    let mut site = Site::new([pool(80, &[102, 103]).when_down(WhenDown::Quiesce)], &[]);
    site.observe(102, &Verdict::Up);
    assert_eq!(site.table(80), [(102, 1)], "nobody knows of 103 yet");
    site.observe(102, &down());
    assert_eq!(site.table(80), [(102, 0)]);
    site.observe(103, &down());
    assert_eq!(site.table(80), [(102, 0), (103, 0)]);
}

#[test]
fn a_server_in_maintenance_is_out_whatever_its_checks_and_operators_say() {
    let quiescent = pool(81, &[102, 103]).when_down(WhenDown::Quiesce);
    let mut site = Site::new([pool(80, &[102, 103]), quiescent], &[]);
    site.observe(102, &Verdict::Up);
    site.observe(103, &Verdict::Up);
    site.write();
    let of = |ports: &[u16]| -> Maintained {
        let entry = |port: &u16| ((vip(*port), server(102).key()), "file".to_owned());
        ports.iter().map(entry).collect()
    };
    assert_eq!(site.pools.maintain(of(&[80, 81, 82]), site.now).len(), 2, "82 isn't there yet");
    site.write();
    assert_eq!((site.table(80), site.table(81)), (vec![(103, 1)], vec![(102, 0), (103, 1)]));
    assert_eq!(site.observe(102, &Verdict::Up), []);
    assert_eq!(site.pools.maintain(of(&[80, 81, 82]), site.now), [], "nothing new");
    // A reload keeps it, for a service that is new as well.
    let snapshot = site.client.snapshot().unwrap();
    let pools = [pool(80, &[102, 103]), pool(82, &[102, 103])];
    assert_eq!(site.pools.reload(pools, &snapshot, site.now), []);
    site.write();
    assert_eq!((site.table(80), site.table(82)), (vec![(103, 1)], vec![(103, 1)]));
    // A drained one would be there with weight 0. What operators decide meanwhile holds afterwards.
    let selector = Selector { service: None, address: server(102).key().addr, port: None };
    site.pools.decide(&selector, Some(Override::Drain), None, site.now).unwrap();
    site.write();
    assert_eq!(site.table(80), [(103, 1)]);
    assert_eq!(site.pools.maintain(of(&[]), site.now), [], "it is drained");
    site.write();
    assert_eq!(site.table(80), [(102, 0), (103, 1)]);
    assert_eq!(site.pools.decide(&selector, None, None, site.now).unwrap().len(), 2);
    site.write();
    let both = vec![(102, 1), (103, 1)];
    assert_eq!((site.table(80), site.table(82)), (both.clone(), both));
}

#[test]
fn when_all_servers_are_in_maintenance_the_fallback_takes_the_traffic() {
    let with_fallback = pool(80, &[102]).fallback(server(1));
    let mut site = Site::new([with_fallback], &[(80, &[(102, 1)])]);
    site.observe(102, &Verdict::Up);
    let all = Maintained::from([((vip(80), server(102).key()), "file".to_owned())]);
    site.pools.maintain(all, site.now);
    site.write();
    assert_eq!(site.table(80), [(1, 1)]);
    // One that goes down meanwhile doesn't come back by the end of its maintenance.
    site.observe(102, &down());
    assert_eq!(site.pools.maintain(Maintained::new(), site.now), []);
    site.write();
    assert_eq!(site.table(80), [(1, 1)]);
    site.observe(102, &Verdict::Up);
    assert_eq!(site.table(80), [(102, 1)]);
}

#[test]
fn an_operators_decision_ends_by_itself_and_survives_a_reload() {
    let mut site = Site::new([pool(80, &[102, 103])], &[]);
    site.observe(102, &Verdict::Up);
    site.observe(103, &Verdict::Up);
    let which = |port| Selector { service: None, address: server(102).key().addr, port };
    let now = site.now;
    let until = now + Duration::from_secs(600);
    let events = site.pools.decide(&which(None), Some(Override::Drain), Some(until), now).unwrap();
    assert_eq!(events.len(), 1);
    site.write();
    assert_eq!(site.table(80), [(102, 0), (103, 1)]);
    // Checks go on, but don't override it.
    assert_eq!(site.observe(102, &Verdict::Up), []);
    assert_eq!(site.table(80), [(102, 0), (103, 1)]);
    let snapshot = site.client.snapshot().unwrap();
    assert_eq!(site.pools.reload([pool(80, &[102, 103])], &snapshot, site.now), []);
    assert_eq!(site.write(), [""; 0]);
    assert_eq!(site.pools.deadline(), Some(until));
    assert_eq!(site.pools.tick(until).len(), 1);
    site.write();
    assert_eq!(site.table(80), [(102, 1), (103, 1)]);

    site.pools.decide(&which(Some(80)), Some(Override::Disable), None, until).unwrap();
    site.write();
    assert_eq!(site.table(80), [(103, 1)]);
    let missing = site.pools.decide(&which(Some(81)), None, None, until);
    assert_eq!(missing, Err(DecideError::NotFound(which(Some(81)))));
    let narrower = site.pools.decide(&which(None), None, None, until);
    assert_eq!(narrower.map(|events| events.len()), Ok(1), "the broader one includes it");
    site.write();
    assert_eq!(site.table(80), [(102, 1), (103, 1)]);

    // A new service that has the real server has the decision, too.
    site.pools.decide(&which(None), Some(Override::Disable), None, until).unwrap();
    let snapshot = site.client.snapshot().unwrap();
    site.pools.reload([pool(80, &[103]), pool(81, &[102, 103])], &snapshot, site.now);
    site.write();
    assert_eq!((site.table(80), site.table(81)), (vec![(103, 1)], vec![(103, 1)]));
    let narrower = site.pools.decide(&which(Some(80)), None, None, until);
    assert_eq!(narrower, Err(DecideError::Broader(which(None))));
}

#[test]
fn a_reload_loses_no_health() {
    let mut site = Site::new([pool(80, &[102, 103])], &[]);
    site.observe(102, &Verdict::Up);
    site.observe(103, &down());
    let snapshot = site.client.snapshot().unwrap();
    // Another service with the same servers, and other weights in the old one.
    let heavier = pool(80, &[103]).member(Member::new(server(102).weight(7), probe_of(102)));
    let events = site.pools.reload([heavier, pool(81, &[102, 103])], &snapshot, site.now);
    assert_eq!(events, []);
    site.write();
    assert_eq!((site.table(80), site.table(81)), (vec![(102, 7)], vec![(102, 1)]));
    let snapshot = site.client.snapshot().unwrap();
    site.pools.reload([pool(81, &[102])], &snapshot, site.now);
    assert_eq!(site.pools.services().collect::<Vec<_>>(), [&vip(81)]);
    assert_eq!(site.pools.desired(&vip(80), None), None);
}

proptest! {
    /// For any verdicts: a real server has a weight in the table if and only if its last run of
    /// equal verdicts that was long enough consisted of successes (or there was none, and it was
    /// already there). The table has the fallback if and only if it has no real server and each was
    /// judged.
    #[test]
    fn the_table_follows_the_verdicts(
        there in prop::collection::btree_set(0_u8..3, 0..3),
        falls in prop::collection::vec(1_u16..4, 3),
        verdicts in prop::collection::vec((0_u8..3, any::<bool>()), 0..40),
    ) {
        let table: Vec<(u8, u32)> = there.iter().map(|n| (n + 102, 1)).collect();
        let pool = (0..3_u8).fold(pool(80, &[]).fallback(server(1)), |pool, n| {
            pool.member(member(n + 102, falls[usize::from(n)]))
        });
        let mut site = Site::new([pool], &[(80, &table)]);
        let mut seen: [Vec<bool>; 3] = Default::default();
        for (n, up) in verdicts {
            seen[usize::from(n)].push(up);
            site.observe(n + 102, &if up { Verdict::Up } else { down() });
            let in_use = |n: u8| {
                let (runs, needed) = (&seen[usize::from(n)], usize::from(falls[usize::from(n)]));
                let fell = |end: usize| {
                    let run = runs[..=end].iter().rev().take_while(|up| !**up).count();
                    // The first verdict of a server that wasn't in use decides at once.
                    run >= needed || (run == end + 1 && !there.contains(&n))
                };
                let decided = (0..runs.len()).rev().find(|end| runs[*end] || fell(*end));
                decided.map_or(there.contains(&n), |end| runs[end])
            };
            let mut expected: Vec<(u8, u32)> =
                (0..3).filter(|n| in_use(*n)).map(|n| (n + 102, 1)).collect();
            if expected.is_empty() && seen.iter().all(|it| !it.is_empty()) {
                expected.push((1, 1));
            }
            // Or the longest timeout has passed, a second for each verdict.
            if expected.is_empty() && seen.iter().map(Vec::len).sum::<usize>() >= 3 {
                expected.push((1, 1));
            }
            prop_assert_eq!(site.table(80), expected, "{:?}", seen);
        }
    }
}
