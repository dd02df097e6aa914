//! A simulated director: the engine, the model kernel, and servers that die and come back, on a
//! clock that jumps from one deadline to the next.

use std::net::Ipv4Addr;
use std::num::NonZeroU16;

use ipvs::{Client, Destination, Scheduler, Service, TableService};
use ipvs_model::Kernel;
use probe::{Check, Reason, ReasonKind, Stage, Thresholds};
use splitmix::Random;

use super::*;
use crate::pool::Member;
use crate::reconcile::{execute, look};
use crate::status::Status;

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);

fn vip(port: u16) -> ServiceKey {
    format!("tcp/10.10.10.53:{port}").parse().unwrap()
}

fn server(n: u8) -> Destination {
    Destination::new((Ipv4Addr::new(10, 10, 10, n), 80).into())
}

fn member(n: u8, fall: u16) -> Member {
    let probe = Probe::new((Ipv4Addr::new(10, 10, 10, n), 80).into(), Check::Connect, TIMEOUT);
    let fall = NonZeroU16::new(fall).unwrap();
    let thresholds = Thresholds { fall, ..Thresholds::default() };
    Member::new(server(n), probe).thresholds(thresholds).interval(INTERVAL)
}

fn pool(port: u16, servers: &[u8]) -> Pool {
    let pool = Pool::new(Service::new(vip(port)).scheduler(Scheduler::RR)).fallback(server(1));
    servers.iter().fold(pool, |pool, n| pool.member(member(*n, 2)))
}

/// What belongs to somebody else.
fn foreign() -> TableService {
    TableService::new(Service::new(vip(25))).destination(server(200))
}

struct World {
    kernel: Kernel,
    client: Client<Kernel>,
    engine: Engine,
    now: Instant,
    clock: SystemTime,
    /// Which servers are alive, by the last byte of their address.
    alive: BTreeSet<u8>,
    /// Checks in flight: when they end, and how.
    checks: BTreeMap<(Instant, CheckId), Verdict>,
    saved: Saved,
}

impl World {
    fn new(alive: &[u8]) -> Self {
        let kernel = Kernel::new();
        let mut client = Client::with_transport(kernel.clone()).unwrap();
        client.reconcile(&foreign(), &ipvs::plan::Options::new()).unwrap();
        let (now, clock) = (Instant::now(), SystemTime::now());
        let saved = Saved::default();
        let engine = Engine::new(&saved, now, clock);
        let alive = alive.iter().copied().collect();
        Self { kernel, client, engine, now, clock, alive, checks: BTreeMap::new(), saved }
    }

    fn load(&mut self, pools: Vec<Pool>) {
        let current = self.client.snapshot().unwrap();
        self.engine.load(Setup::new(pools), &current, &BTreeSet::new(), self.now);
        self.work();
    }

    fn status(&self, now: Instant) -> Status {
        let mut status = Status::new("");
        self.engine.describe(&mut status, now);
        status
    }

    /// Another run of the program, which knows what the last one has saved.
    fn restart(&mut self) {
        self.engine = Engine::new(&self.saved, self.now, self.clock);
        self.checks.clear();
    }

    /// Does all that is due now.
    fn work(&mut self) {
        self.engine.tick(self.now);
        while let Some((id, probe)) = self.engine.due(self.now) {
            let octets = match probe.target.ip() {
                std::net::IpAddr::V4(address) => address.octets(),
                std::net::IpAddr::V6(_) => unreachable!(),
            };
            let (took, verdict) = if self.alive.contains(&octets[3]) {
                (Duration::from_millis(3), Verdict::Up)
            } else {
                let reason = Stage::Connect.timed_out(TIMEOUT);
                assert_eq!(reason.kind(), ReasonKind::Timeout);
                (TIMEOUT, Verdict::Down(reason))
            };
            self.checks.insert((self.now + took, id), verdict);
        }
        while let Some(orders) = self.engine.orders(self.now) {
            let written = execute(&mut self.client, &orders);
            self.engine.written(written, self.now);
        }
        if let Some(orders) = self.engine.look_orders(self.now) {
            let found = look(&self.client.snapshot().unwrap(), &orders);
            self.engine.looked(Some(found), self.now);
        }
        if let Some(saved) = self.engine.poll_saved(self.now, self.clock) {
            self.saved = saved;
        }
        while self.engine.poll_event().is_some() {}
    }

    fn play(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let ends = self.checks.keys().next().map(|(at, _)| *at);
            let next = [ends, self.engine.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            let next = next.max(self.now);
            self.clock += next - self.now;
            self.now = next;
            while let Some(entry) = self.checks.first_entry().filter(|it| it.key().0 <= next) {
                let ((_, id), verdict) = entry.remove_entry();
                let took = if verdict.is_up() { Duration::from_millis(3) } else { TIMEOUT };
                self.engine.finished(id, verdict, took, next);
            }
            self.work();
        }
        self.clock += end - self.now;
        self.now = end;
    }

    /// A service's real servers and their weights. None if there is no such service.
    fn table(&mut self, port: u16) -> Option<Vec<(u8, u32)>> {
        let found = self.client.service_snapshot(&vip(port)).unwrap()?;
        let last = |addr| match addr {
            std::net::IpAddr::V4(address) => Ipv4Addr::octets(&address)[3],
            std::net::IpAddr::V6(_) => unreachable!(),
        };
        let entries = found.destinations.iter();
        let mut table: Vec<_> =
            entries.map(|it| (last(it.key().addr), it.destination.weight)).collect();
        table.sort_unstable();
        Some(table)
    }
}

/// Whatever happens in whatever order, a while later the table is what the servers are: those of the
/// configuration that are alive, or the fallback; and what belongs to others is untouched.
#[test]
fn the_table_follows_the_servers_whatever_happens() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let mut world = World::new(&[102, 103, 104]);
        let configurations: [&[(u16, &[u8])]; 4] = [
            &[(80, &[102, 103])],
            &[(80, &[102, 103, 104]), (81, &[103])],
            &[(81, &[102, 104])],
            &[(80, &[104]), (81, &[104]), (82, &[104])],
        ];
        let make = |it: &[(u16, &[u8])]| it.iter().map(|(port, it)| pool(*port, it)).collect();
        let mut configuration = configurations[0];
        world.load(make(configuration));
        for _ in 0..12 {
            match random.below(7) {
                0 | 1 => {
                    let n = 102 + random.pick(&[0_u8, 1, 2]);
                    if !world.alive.remove(&n) {
                        world.alive.insert(n);
                    }
                }
                2 => {
                    configuration = random.pick(&configurations);
                    world.load(make(configuration));
                }
                3 => {
                    world.restart();
                    world.load(make(configuration));
                }
                4 => {
                    // Somebody's hand.
                    let (port, servers) = configuration[0];
                    let heavy = server(servers[0]).weight(77);
                    let _ = world.client.set_destination(&vip(port), &heavy);
                    let _ = world.client.add_destination(&vip(port), &server(66));
                }
                5 => {
                    let _ = world.client.delete_service(&vip(configuration[0].0));
                }
                _ => {}
            }
            world.play(Duration::from_millis(random.next_u64() % 9000));
        }
        // Two failures, each an interval and a timeout; then a look.
        world.play(Duration::from_secs(15));
        for port in 80..83 {
            let servers = configuration.iter().find(|it| it.0 == port).map(|it| it.1);
            let expected = servers.map(|servers| {
                let up = servers.iter().filter(|n| world.alive.contains(n));
                let up: Vec<_> = up.map(|n| (*n, 1)).collect();
                if up.is_empty() { vec![(1, 1)] } else { up }
            });
            let found = world.table(port);
            assert_eq!(found, expected, "port {port}, seed {seed}, alive {:?}", world.alive);
        }
        assert_eq!(world.table(25), Some(vec![(200, 1)]), "seed {seed}");
    }
}

#[test]
fn a_status_says_whether_the_table_has_it_yet() {
    let mut world = World::new(&[102]);
    world.load(vec![pool(80, &[102])]);
    assert!(!world.status(world.now).writing);
    let ((now, id), verdict) = world.checks.pop_first().unwrap();
    world.engine.finished(id, verdict, Duration::from_millis(3), now);
    let status = world.status(now);
    assert!(status.services[0].servers[0].takes_traffic && status.writing);
    assert_eq!(world.table(80), Some(vec![]));
    let orders = world.engine.orders(now).unwrap();
    assert!(world.status(now).writing, "they are under way");
    let written = execute(&mut world.client, &orders);
    assert!(world.status(now).writing, "nobody knows yet");
    world.engine.written(written, now);
    assert!(!world.status(now).writing);
    assert_eq!(world.table(80), Some(vec![(102, 1)]));
}

/// A check that runs out of time while this process stands still says nothing, but not for ever.
#[test]
fn a_server_that_hangs_leaves_a_director_that_always_stalls() {
    let stalled = || {
        let text = "this process did not run for a while";
        Verdict::Inconclusive(Reason::new(ReasonKind::Stalled, Stage::Reply, text))
    };
    let mut world = World::new(&[102]);
    world.load(vec![pool(80, &[102])]);
    world.play(INTERVAL);
    assert_eq!(world.table(80), Some(vec![(102, 1)]));
    // Whatever it says after that, it stays as long as it answers now and then: two of them count.
    for (verdicts, stays) in [
        ([stalled(), stalled(), Verdict::Up, stalled(), stalled(), Verdict::Up], true),
        ([stalled(), stalled(), stalled(), stalled(), stalled(), Verdict::Up], true),
        ([stalled(), stalled(), stalled(), stalled(), stalled(), stalled()], false),
    ] {
        for verdict in verdicts {
            // One may be under way already.
            let id = loop {
                if let Some(((_, id), _)) = world.checks.pop_first() {
                    break id;
                }
                world.now += Duration::from_millis(20);
                if let Some((id, _)) = world.engine.due(world.now) {
                    break id;
                }
            };
            world.engine.finished(id, verdict, TIMEOUT, world.now);
            while let Some(orders) = world.engine.orders(world.now) {
                let written = execute(&mut world.client, &orders);
                world.engine.written(written, world.now);
            }
        }
        let expected = if stays { (102, 1) } else { (1, 1) };
        assert_eq!(world.table(80), Some(vec![expected]), "{stays}");
    }
}

#[test]
fn a_refused_object_is_tried_again_and_holds_nothing_else_back() {
    let mut world = World::new(&[102, 103]);
    // The kernel refuses a lower threshold above the upper one.
    let odd = Member::new(server(102).thresholds(5, 10), member(102, 2).probe);
    let pool = pool(80, &[103]).member(odd.interval(INTERVAL));
    world.load(vec![pool]);
    world.play(Duration::from_secs(10));
    let refusals: Vec<_> = world.engine.refusals().iter().map(|(it, _)| it.to_string()).collect();
    let expected = match world.table(80) {
        Some(table) if table == [(103, 1)] => ["10.10.10.102:80 of tcp/10.10.10.53:80"],
        table => panic!("{table:?}"),
    };
    assert_eq!(refusals, expected);
    let attempts = world.engine.refusals().iter().next().unwrap().1.attempts;
    // At 0, 1, 3 and 7 seconds after the first success.
    assert!((3..=4).contains(&attempts), "{attempts}");
    // A configuration that is right takes effect at once.
    world.load(vec![self::pool(80, &[102, 103])]);
    assert_eq!(world.table(80), Some(vec![(102, 1), (103, 1)]));
    assert_eq!(world.engine.refusals().iter().count(), 0);
}

#[test]
fn a_restart_finds_what_was_drained_and_what_fell_back() {
    let mut world = World::new(&[102, 103]);
    world.load(vec![pool(80, &[102, 103]), pool(81, &[104])]);
    world.play(Duration::from_secs(10));
    assert_eq!(world.table(81), Some(vec![(1, 1)]));
    let drained = Selector { service: None, address: server(102).key().addr, port: None };
    let until = world.now + Duration::from_secs(600);
    world.engine.decide(&drained, Some(Override::Drain), Some(until), world.now).unwrap();
    world.play(Duration::from_secs(1));
    assert_eq!(world.table(80), Some(vec![(102, 0), (103, 1)]));
    world.restart();
    let current = world.client.snapshot().unwrap();
    let pools = vec![pool(80, &[102, 103]), pool(81, &[104])];
    world.engine.load(Setup::new(pools), &current, &BTreeSet::new(), world.now);
    let news: Vec<_> = std::iter::from_fn(|| world.engine.poll_event()).collect();
    assert_eq!(news, [], "that 81 falls back is not news");
    world.play(Duration::from_secs(590));
    assert_eq!(world.table(80), Some(vec![(102, 0), (103, 1)]));
    world.play(Duration::from_secs(20));
    assert_eq!(world.table(80), Some(vec![(102, 1), (103, 1)]));
    drop(world.kernel);
}

/// With fewer services and real servers than it had, and with more.
#[test]
fn what_a_status_said_before_makes_no_difference() {
    let mut world = World::new(&[102]);
    let mut status = crate::status::tests::example();
    for pools in
        [vec![pool(80, &[102])], vec![pool(80, &[102, 103, 104]), pool(81, &[103])], vec![]]
    {
        world.load(pools);
        let expected = world.status(world.now);
        world.engine.describe(&mut status, world.now);
        // What is for others to fill in.
        status.instance.clone_from(&expected.instance);
        (status.uptime, status.config) = (expected.uptime, expected.config.clone());
        assert_eq!(status, expected);
        if let Some(service) = status.services.first_mut() {
            service.fallback = Some("somewhere".to_owned());
            service.servers[0].maintenance = Some("a file".to_owned());
            service.servers[0].checks.up = 1000;
        }
    }
}
