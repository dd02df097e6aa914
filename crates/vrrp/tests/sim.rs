//! Three virtual routers on a simulated link, for minutes of simulated time: adverts are lost, the link
//! falls apart and heals, routers stand still, crash, leave and come back, priorities change.
//!
//! What a run does follows from its seed alone. A disturbance is anything that may confuse a router: one
//! of the above, or an advert that got lost. Since the last disturbance, in each part of the link:
//!
//! - two routers have the addresses for at most an interval: whoever is heard first settles it;
//! - nobody has them for at most three intervals and the longest skew;
//! - after that, and a preempt delay, the best router has them, if it preempts, and nothing changes.
//!
//! When the Active router leaves, another has the addresses after its skew. One that stood still for five
//! intervals lets go of them before anything else. A router has the addresses
//! exactly while it is Active, and never announces them otherwise.
//!
//! `VRRP_TEST_SEED` is a single seed to run, `VRRP_TEST_RUNS` the number of seeds.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::collections::BTreeMap;
use std::env;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use splitmix::Random;
use vrrp::{
    Advert, Config, Envelope, Input, Interval, Machine, Output, Preempt, Received, State, Version,
    Vrid,
};

/// The default number of seeds.
const RUNS: u64 = 1_000;
const ROUTERS: usize = 3;
const MILLISECOND: Duration = Duration::from_millis(1);
/// How long an advert takes at most.
const LATENCY: Duration = Duration::from_millis(2);

struct Router {
    config: Config,
    interval: Duration,
    preempt: Preempt,
    address: IpAddr,
    /// None while it is crashed.
    machine: Option<Machine>,
    /// Stands still; what arrives has to wait.
    is_frozen: bool,
    /// Since when, if it does.
    frozen_at: Instant,
    inbox: Vec<Received>,
    has_addresses: bool,
    /// The part of the link that it is on.
    part: usize,
}

impl Router {
    fn new(index: usize, version: Version, random: &mut Random) -> Self {
        let priority = random.pick(&[50, 100, 100, 150, 200, 254]);
        let preempt = random.pick(&[
            Preempt::Always,
            Preempt::Always,
            Preempt::Never,
            Preempt::After(Duration::from_secs(7)),
        ]);
        // Version 2 needs the same everywhere.
        let centis = if version == Version::V2 { 100 } else { random.pick(&[20, 100, 100, 150]) };
        let interval = Interval::from_centis(centis).unwrap();
        let config = Config::new(version, Vrid::new(51).unwrap(), ["10.9.0.100".parse().unwrap()])
            .priority(if index == 0 && random.one_in(6) { 255 } else { priority })
            .preempt(preempt)
            .interval(interval);
        Self {
            interval: interval.as_duration(),
            preempt,
            address: IpAddr::from([10, 9, 0, 1 + index as u8]),
            machine: None,
            is_frozen: false,
            frozen_at: Instant::now(),
            inbox: Vec::new(),
            has_addresses: false,
            part: 0,
            config,
        }
    }

    fn machine(&mut self) -> Option<&mut Machine> {
        self.machine.as_mut().filter(|_| !self.is_frozen)
    }

    /// Whether it takes part, as far as others can see.
    fn is_there(&self) -> bool {
        let takes_part = |machine: &Machine| machine.state() != State::Initialize;
        !self.is_frozen && self.machine.as_ref().is_some_and(takes_part)
    }

    fn priority(&self) -> u8 {
        self.machine.as_ref().map_or(0, Machine::priority)
    }

    fn is_owner(&self) -> bool {
        self.priority() == 255
    }
}

struct World {
    random: Random,
    start: Instant,
    now: Instant,
    routers: Vec<Router>,
    /// Adverts on their way, by the time of arrival and a number that keeps them apart.
    flying: BTreeMap<(Instant, u64), (usize, Received)>,
    sent: u64,
    /// One advert in this many is lost; 0 for none.
    loss: usize,
    disturbed: Instant,
    two_since: Option<Instant>,
    none_since: Option<Instant>,
    /// Bounds of the invariants.
    longest_interval: Duration,
    longest_skew: Duration,
    longest_delay: Duration,
    changes: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let version = random.pick(&[Version::V2, Version::V3, Version::V3]);
        let routers: Vec<_> =
            (0..ROUTERS).map(|index| Router::new(index, version, &mut random)).collect();
        let longest_interval = routers.iter().map(|it| it.interval).max().unwrap();
        let delay = |router: &Router| match router.preempt {
            Preempt::After(delay) => delay,
            _ => Duration::ZERO,
        };
        let longest_delay = routers.iter().map(delay).max().unwrap();
        let longest_skew =
            if version == Version::V2 { Duration::from_secs(1) } else { longest_interval };
        let start = Instant::now();
        Self {
            random,
            start,
            now: start,
            routers,
            flying: BTreeMap::new(),
            sent: 0,
            loss: 0,
            disturbed: start,
            two_since: None,
            none_since: None,
            longest_interval,
            longest_skew,
            longest_delay,
            changes: 0,
        }
    }

    fn down(&self) -> Duration {
        3 * self.longest_interval + self.longest_skew + 2 * LATENCY
    }

    /// After this long without a disturbance nothing changes any more: those who take over first may
    /// be preempted, once.
    fn settling(&self) -> Duration {
        2 * self.down() + self.longest_delay
    }

    fn disturb(&mut self) {
        self.disturbed = self.now;
        self.two_since = None;
        self.none_since = None;
    }

    fn start_router(&mut self, index: usize) {
        let router = &mut self.routers[index];
        let mut machine = Machine::new(router.config.clone()).unwrap();
        machine.handle(Input::Up(router.address), self.now);
        router.machine = Some(machine);
        router.inbox.clear();
        self.disturb();
        self.settle_outputs(index);
    }

    /// Does what a router says.
    fn settle_outputs(&mut self, index: usize) {
        loop {
            let router = &mut self.routers[index];
            let Some(output) = router.machine.as_mut().and_then(Machine::poll) else { break };
            match output {
                Output::Send { priority } => self.send(index, priority),
                Output::AddAddresses => {
                    assert!(!router.has_addresses, "it adds what it has");
                    router.has_addresses = true;
                }
                Output::RemoveAddresses => {
                    assert!(router.has_addresses, "it removes what it doesn't have");
                    router.has_addresses = false;
                }
                Output::Announce => assert!(router.has_addresses, "it announces what it hasn't"),
                Output::State { from, to, reason } => {
                    self.changes += 1;
                    let quiet = self.now - self.disturbed;
                    let settling = self.settling();
                    assert!(
                        quiet <= settling,
                        "router {index} from {from} to {to} ({reason}), quiet for {quiet:?}"
                    );
                }
                other => panic!("{other:?}"),
            }
        }
        let router = &self.routers[index];
        let is_active = router.machine.as_ref().is_some_and(|it| it.state() == State::Active);
        assert_eq!(router.has_addresses, is_active, "router {index} has them while Active");
    }

    fn send(&mut self, index: usize, priority: u8) {
        let router = &self.routers[index];
        let advert: Advert = router.machine.as_ref().unwrap().advert(priority);
        let destination = router.config.destinations()[0];
        let envelope = Envelope { source: router.address, destination, hop_limit: 255 };
        let received = Received { advert, envelope, checksum: None };
        for to in (0..ROUTERS).filter(|to| *to != index) {
            if self.routers[to].part != self.routers[index].part {
                continue;
            }
            if self.loss > 0 && self.random.one_in(self.loss) {
                self.disturb();
                continue;
            }
            let micros = 1 + self.random.below(LATENCY.as_micros() as usize) as u64;
            self.sent += 1;
            let arrival = self.now + Duration::from_micros(micros);
            self.flying.insert((arrival, self.sent), (to, received.clone()));
        }
    }

    fn deliver(&mut self, to: usize, received: Received) {
        let router = &mut self.routers[to];
        if router.is_frozen {
            // A socket's buffer has an end.
            if router.inbox.len() < 20 {
                router.inbox.push(received);
            }
        } else if let Some(machine) = &mut router.machine {
            machine.handle(Input::Received(&received), self.now);
            self.settle_outputs(to);
        }
    }

    /// Runs until `end`.
    fn run(&mut self, end: Instant) {
        loop {
            let arrival = self.flying.keys().next().map(|(at, _)| *at);
            let timers = (0..ROUTERS).filter_map(|index| {
                let deadline = self.routers[index].machine.as_ref()?.deadline()?;
                (!self.routers[index].is_frozen).then_some((deadline, index))
            });
            let timer = timers.min();
            let next = [arrival, timer.map(|(at, _)| at)].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at <= end) else { break };
            assert!(next >= self.now, "a deadline stays in the past");
            self.now = next;
            self.check();
            if arrival == Some(next) {
                let (_, (to, received)) = self.flying.pop_first().unwrap();
                self.deliver(to, received);
            } else if let Some((deadline, index)) = timer {
                let machine = self.routers[index].machine().unwrap();
                machine.handle_timeout(next);
                assert!(machine.deadline().is_none_or(|at| at > deadline), "it is due again");
                self.settle_outputs(index);
            }
            self.note();
        }
        self.now = end;
        self.check();
    }

    /// How many routers there are in each part, and how many of them have the addresses.
    fn parts(&self) -> Vec<(usize, usize)> {
        let count = |part: usize, wanted: fn(&Router) -> bool| {
            let there = self.routers.iter().filter(|it| it.part == part && it.is_there());
            there.filter(|it| wanted(it)).count()
        };
        (0..ROUTERS)
            .map(|part| (count(part, |_| true), count(part, |it| it.has_addresses)))
            .collect()
    }

    /// Notes since when there are two or none.
    fn note(&mut self) {
        let parts = self.parts();
        let now = self.now;
        let since = |is: bool, since: Option<Instant>| is.then(|| since.unwrap_or(now));
        self.two_since = since(parts.iter().any(|(_, having)| *having > 1), self.two_since);
        let none = parts.iter().any(|(there, having)| *there > 0 && *having == 0);
        self.none_since = since(none, self.none_since);
    }

    fn check(&self) {
        let for_ = |since: Option<Instant>| since.map_or(Duration::ZERO, |at| self.now - at);
        let two = for_(self.two_since);
        assert!(two <= self.longest_interval + 2 * LATENCY, "two have the addresses for {two:?}");
        let none = for_(self.none_since);
        assert!(none <= self.down(), "nobody has the addresses for {none:?}");
        if self.now - self.disturbed <= self.settling() {
            return;
        }
        for part in 0..ROUTERS {
            let there = || self.routers.iter().filter(|it| it.part == part && it.is_there());
            let Some(best) = there().map(Router::priority).max() else { continue };
            let has = there().find(|it| it.has_addresses).unwrap();
            let preempts = |it: &Router| it.preempt != Preempt::Never || it.is_owner();
            let wanted = there().filter(|it| it.priority() == best).any(preempts);
            assert!(
                !wanted || has.priority() == best,
                "{} has the addresses, but there is {best}",
                has.priority()
            );
        }
    }

    fn freeze(&mut self, index: usize) {
        let router = &mut self.routers[index];
        if !router.is_frozen {
            router.is_frozen = true;
            router.frozen_at = self.now;
        }
        self.disturb();
    }

    fn thaw(&mut self, index: usize) {
        let now = self.now;
        let adverts_first = self.random.one_in(2);
        let router = &mut self.routers[index];
        router.is_frozen = false;
        let had_addresses = router.has_addresses;
        let inbox = std::mem::take(&mut router.inbox);
        if let Some(machine) = &mut router.machine {
            if !adverts_first {
                machine.handle_timeout(now);
            }
            // A virtual machine that stood still has missed them.
            if self.random.one_in(2) {
                for received in &inbox {
                    machine.handle(Input::Received(received), now);
                }
            }
            machine.handle_timeout(now);
        }
        self.disturb();
        self.settle_outputs(index);
        // Its last advert was sent before it stood still, so everybody else has missed four.
        let router = &self.routers[index];
        if had_addresses && !router.is_owner() && now - router.frozen_at > 5 * router.interval {
            assert!(!router.has_addresses, "it slept, and goes on");
        }
    }

    fn crash(&mut self, index: usize) {
        let router = &mut self.routers[index];
        router.machine = None;
        router.has_addresses = false;
        self.disturb();
    }

    fn input(&mut self, index: usize, input: Input<'_>) {
        let now = self.now;
        if let Some(machine) = self.routers[index].machine() {
            machine.handle(input, now);
            self.disturb();
            self.settle_outputs(index);
        }
    }

    /// Something goes wrong, or right again.
    fn trouble(&mut self) {
        let index = self.random.below(ROUTERS);
        let address = self.routers[index].address;
        match self.random.below(12) {
            0 | 1 => {
                for index in 0..ROUTERS {
                    self.routers[index].part = self.random.below(ROUTERS);
                }
                self.disturb();
            }
            2 => {
                self.routers.iter_mut().for_each(|router| router.part = 0);
                self.disturb();
            }
            3 => self.freeze(index),
            4 | 5 if self.routers[index].is_frozen => self.thaw(index),
            4 => self.input(index, Input::Shutdown),
            5 => self.input(index, Input::Down),
            6 => self.crash(index),
            7 if self.routers[index].machine.is_none() => {
                self.routers[index].is_frozen = false;
                self.start_router(index);
            }
            7 | 8 => self.input(index, Input::Up(address)),
            9 => {
                let priority = self.random.pick(&[0, 1, 60, 100, 150, 220]);
                self.input(index, Input::Priority(priority));
            }
            10 => self.loss = self.random.pick(&[0, 0, 0, 2, 5, 20]),
            _ => {}
        }
    }

    /// Everything is well again.
    fn heal(&mut self) {
        self.loss = 0;
        for index in 0..ROUTERS {
            self.routers[index].part = 0;
            let address = self.routers[index].address;
            if self.routers[index].is_frozen {
                self.thaw(index);
            }
            if self.routers[index].machine.is_none() {
                self.start_router(index);
            }
            self.input(index, Input::Up(address));
            if self.routers[index].priority() == 0 {
                self.input(index, Input::Priority(100));
            }
        }
        self.disturb();
    }

    /// The Active router leaves: how long does it take until there is another?
    fn release(&mut self) {
        let index = self.routers.iter().position(|it| it.has_addresses).unwrap();
        let interval = self.routers[index].interval;
        let others = self.routers.iter().enumerate().filter(|(other, _)| *other != index);
        let best = others.map(|(_, router)| router.priority()).max().unwrap();
        // RFC 9568 §6.1 and RFC 3768 §6.1.
        let of = if self.routers[index].config.version() == Version::V2 {
            Duration::from_secs(1)
        } else {
            interval
        };
        let skew = of * (256 - u32::from(best)) / 256;
        self.input(index, Input::Shutdown);
        self.run(self.now + skew + LATENCY + MILLISECOND);
        // Two of the same priority may both have been quick.
        let someone = self.routers.iter().any(|it| it.has_addresses);
        assert!(someone, "nobody took over within {skew:?} of a release");
    }
}

/// One run. Returns how often a state changed.
fn simulate(seed: u64) -> u64 {
    let mut world = World::new(seed);
    for index in 0..ROUTERS {
        let pause = world.random.below(3000) as u32;
        world.run(world.now + pause * MILLISECOND);
        world.start_router(index);
    }
    let end = world.start + Duration::from_secs(120);
    while world.now < end {
        // Mostly too short to settle, at times long enough.
        let most = world.random.pick(&[300, 3000, 3000, 30_000]);
        let pause = world.random.below(most) as u32;
        world.run(world.now + pause * MILLISECOND);
        world.trouble();
        world.note();
    }
    world.heal();
    world.note();
    world.run(world.now + 2 * world.settling());
    world.release();
    world.changes
}

fn number_from_env(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

#[test]
fn whatever_happens_one_router_has_the_addresses() {
    let seeds = match number_from_env("VRRP_TEST_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number_from_env("VRRP_TEST_RUNS").unwrap_or(RUNS),
    };
    let runs = seeds.end - seeds.start;
    let mut changes = 0;
    for seed in seeds {
        match std::panic::catch_unwind(|| simulate(seed)) {
            Ok(some) => changes += some,
            Err(_) => panic!("VRRP_TEST_SEED={seed} repeats it"),
        }
    }
    println!("{runs} runs, {changes} changes of state");
    assert!(changes >= 10 * runs, "too little happens: {changes} changes of state");
}
