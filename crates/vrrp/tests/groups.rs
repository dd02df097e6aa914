//! Groups: two routers, each with a virtual router on an inner and an outer link, on a simulated
//! network. What the two do on one link, they have to do on the other.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use splitmix::Random;
use vrrp::{
    Config, Envelope, Group, Input, Machine, Output, Preempt, Reason, Received, State, Version,
    Vrid,
};

const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(1);
/// The virtual addresses, one on each link.
const VIRTUAL: [[u8; 4]; 2] = [[10, 9, 0, 100], [192, 0, 2, 100]];

fn address(router: usize, link: usize) -> IpAddr {
    let [a, b, c, _] = VIRTUAL[link];
    IpAddr::from([a, b, c, 1 + router as u8])
}

fn group(priority: u8, preempt: Preempt) -> Group {
    Group::new(VIRTUAL.map(|virtual_| {
        let config = Config::new(Version::V3, Vrid::new(51).unwrap(), [virtual_.into()]);
        Machine::new(config.priority(priority).preempt(preempt)).unwrap()
    }))
}

struct World {
    now: Instant,
    groups: [Group; 2],
    /// Whether adverts pass, on each link.
    works: [bool; 2],
    flying: BTreeMap<(Instant, u64), (usize, usize, Received)>,
    sent: u64,
    log: Vec<(usize, usize, Output)>,
}

impl World {
    fn new(groups: [Group; 2]) -> Self {
        Self {
            now: Instant::now(),
            groups,
            works: [true; 2],
            flying: BTreeMap::new(),
            sent: 0,
            log: Vec::new(),
        }
    }

    fn up(&mut self, router: usize) {
        for link in 0..2 {
            self.input(router, link, Input::Up(address(router, link)));
        }
    }

    fn input(&mut self, router: usize, link: usize, input: Input<'_>) {
        self.groups[router].handle(link, input, self.now);
        self.settle(router);
    }

    /// Does what a group says, and checks that its members are in step.
    fn settle(&mut self, router: usize) {
        while let Some((link, output)) = self.groups[router].poll() {
            if let Output::Send { priority } = output {
                let machine = &self.groups[router].members()[link];
                let advert = machine.advert(priority);
                let destination = machine.config().destinations()[0];
                let source = address(router, link);
                let envelope = Envelope { source, destination, hop_limit: 255 };
                let received = Received { advert, envelope, checksum: None };
                if self.works[link] {
                    self.sent += 1;
                    let at = self.now + LATENCY;
                    self.flying.insert((at, self.sent), (1 - router, link, received));
                }
            }
            self.log.push((router, link, output));
        }
        let active = |machine: &&Machine| machine.state() == Active;
        let count = self.groups[router].members().iter().filter(active).count();
        assert!(count == 0 || count == 2, "{count} of 2 members are Active");
    }

    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let timers = self.groups.iter().map(Group::deadline);
            let timer = timers.enumerate().filter_map(|(router, at)| Some((at?, router))).min();
            let next = [arrival, timer.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            assert!(next >= self.now, "a deadline stays in the past");
            self.now = next;
            if arrival == Some(next) {
                let (_, (router, link, received)) = self.flying.pop_first().unwrap();
                self.input(router, link, Input::Received(&received));
            } else if let Some((_, router)) = timer {
                self.groups[router].handle_timeout(next);
                self.settle(router);
            }
        }
        self.now = end;
    }

    fn states(&self) -> [State; 2] {
        [self.groups[0].state(), self.groups[1].state()]
    }
}

use State::{Active, Backup, Initialize};

#[test]
fn a_failed_interface_moves_both_addresses() {
    let mut world = World::new([group(150, Preempt::Always), group(100, Preempt::Always)]);
    world.up(0);
    world.up(1);
    world.run(10 * SECOND);
    assert_eq!(world.states(), [Active, Backup]);

    world.log.clear();
    world.input(0, 1, Input::Down);
    let outer = [
        Output::RemoveAddresses,
        Output::State { from: Active, to: Initialize, reason: Reason::Down },
    ];
    let inner = [
        Output::Send { priority: 0 },
        Output::RemoveAddresses,
        Output::State { from: Active, to: Backup, reason: Reason::Group },
    ];
    let of = |wanted: usize| {
        let log = world.log.iter().filter(move |(_, link, _)| *link == wanted);
        log.map(|(_, _, output)| *output).collect::<Vec<_>>()
    };
    assert_eq!((of(0), of(1)), (inner.into(), outer.into()));

    world.run(4 * SECOND);
    assert_eq!(world.states(), [Initialize, Active]);
    world.input(0, 1, Input::Up(address(0, 1)));
    world.run(10 * SECOND);
    assert_eq!(world.states(), [Active, Backup], "and back");
}

/// With `vrrp_sync_group`, keepalived takes over only "if everyone wants to", so one link that lost its
/// adverts doesn't make the addresses go to and fro.
#[test]
fn one_deaf_link_changes_nothing() {
    let mut world = World::new([group(150, Preempt::Always), group(100, Preempt::Always)]);
    world.up(0);
    world.up(1);
    world.run(10 * SECOND);
    world.log.clear();
    world.works[1] = false;
    world.run(60 * SECOND);
    assert_eq!(world.states(), [Active, Backup]);
    let changed = |(_, _, output): &(usize, usize, Output)| matches!(output, Output::State { .. });
    assert!(!world.log.iter().any(changed), "{:?}", world.log);

    // A link that hears again counts again, when the other one falls silent.
    world.works = [false, true];
    world.run(60 * SECOND);
    assert_eq!(world.states(), [Active, Backup]);
    assert!(!world.log.iter().any(changed), "{:?}", world.log);

    // Once the other link is silent too, nothing keeps it.
    world.works = [false; 2];
    world.run(4 * SECOND);
    assert_eq!(world.states(), [Active, Active]);
    world.works = [true; 2];
    world.run(SECOND + LATENCY);
    assert_eq!(world.states(), [Active, Backup]);
}

#[test]
fn a_group_leaves_as_a_whole() {
    let mut world = World::new([group(150, Preempt::Never), group(100, Preempt::Never)]);
    world.up(0);
    world.up(1);
    world.run(10 * SECOND);
    world.input(0, 0, Input::Shutdown);
    // Both of its members say so: the other takes over after its skew, 156/256 s.
    world.run(Duration::from_millis(620));
    assert_eq!(world.states(), [Initialize, Active]);
    world.up(0);
    world.run(10 * SECOND);
    assert_eq!(world.states(), [Backup, Active], "it doesn't preempt");
}

#[test]
fn an_owner_waits_for_the_others_in_its_group() {
    let now = Instant::now();
    let mut group = group(255, Preempt::Always);
    group.handle(0, Input::Up(address(0, 0)), now);
    assert_eq!(group.members()[0].state(), Backup);
    assert_eq!(group.deadline(), None);
    group.handle(1, Input::Up(address(0, 1)), now);
    assert_eq!(group.state(), Active);
    group.handle(7, Input::Shutdown, now);
    assert_eq!(group.state(), Active, "there is no eighth member");
}

/// Whatever happens, members are in step after each call (`settle` checks that), and once it is quiet,
/// the better of two groups has the addresses.
#[test]
fn whatever_happens_groups_stay_whole() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let mut world = World::new([group(150, Preempt::Always), group(100, Preempt::Always)]);
        world.up(0);
        world.up(1);
        for _ in 0..60 {
            let [router, link] = [random.below(2), random.below(2)];
            match random.below(8) {
                0 => world.input(router, link, Input::Down),
                1 => world.input(router, link, Input::Shutdown),
                2 => world.input(router, link, Input::Up(address(router, link))),
                3 => world.up(router),
                4 => world.works[link] = !world.works[link],
                5 => {
                    let priority = random.pick(&[0, 50, 120, 200]);
                    world.input(router, link, Input::Priority(priority));
                }
                _ => world.run(Duration::from_millis(random.below(9000) as u64)),
            }
        }
        world.works = [true; 2];
        for router in 0..2 {
            world.up(router);
            for link in 0..2 {
                let priority = [150, 100][router];
                world.input(router, link, Input::Priority(priority));
            }
        }
        world.run(20 * SECOND);
        assert_eq!(world.states(), [Active, Backup], "seed {seed}");
    }
}
