//! What happens in a day, and the table that has to follow: a model without a kernel.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs_tests::acceptance::config::{Config, Real, Virtual};
use ipvs_tests::acceptance::table::{Entry, Table, Target};
use splitmix::Random;

/// Namespaces with real servers, and real servers in each.
pub(super) const HOSTS: u8 = 6;
pub(super) const PER_HOST: u8 = 12;

/// Virtual services. The first half is always in the configuration; the others come and go.
pub(super) const SERVICES: usize = 200;
pub(super) const STABLE: usize = SERVICES / 2;

/// The most real servers that are dead at the same time.
const MOST_DEAD: usize = 12;

/// The most real servers that are drained at the same time.
const MOST_DRAINED: usize = 3;

/// Schedulers that the kernels of all distributions have.
const SCHEDULERS: [&str; 4] = ["rr", "wrr", "lc", "wlc"];

/// The configuration, and who is alive.
#[derive(Debug)]
pub(super) struct Day {
    random: Random,
    services: Vec<Service>,
    dead: BTreeSet<usize>,
    drained: BTreeSet<usize>,
    quiescent: bool,
}

#[derive(Clone, Debug)]
struct Service {
    present: bool,
    scheduler: &'static str,
    /// Real servers with their weights.
    members: Vec<(usize, u32)>,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A real server refuses connections from now on.
    Refuses(usize),
    /// A real server accepts connections and says nothing from now on.
    Hangs(usize),
    /// A real server serves again.
    Returns(usize),
    /// The file changes and is read again.
    Reload(Told),
    /// The file is broken while it is read again, and then as before.
    BrokenReload,
    /// An operator drains a real server in all of its services.
    Drain(usize),
    /// An operator enables a real server again.
    Enable(usize),
    /// Somebody changes the table with these arguments of ipvsadm.
    ByHand(String, Whom),
    /// The daemon is restarted.
    Restart,
    /// All of its processes are killed, and it is started again.
    Kill,
    /// The process that makes checks is killed.
    KillWorker,
}

/// How the daemon is told of another file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Verb,
    Signal,
}

/// Whose connections a change by hand may break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    Nobody,
    Service(usize),
    All,
}

impl Day {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let services = (0..SERVICES).map(|number| Service::draw(number, &mut random)).collect();
        Self { random, services, dead: BTreeSet::new(), drained: BTreeSet::new(), quiescent: false }
    }

    /// Draws what happens next, and makes it so in the model. Says which services' connections it
    /// may break: those that lose a real server, and those that get another scheduler. Between two
    /// schedulers the kernel has none (`ip_vs_edit_service` waits for the users of the old one), and
    /// refuses connections.
    pub(super) fn next(&mut self, may_restart: bool) -> (Happening, BTreeSet<usize>) {
        loop {
            let before: Vec<BTreeSet<usize>> = (0..SERVICES).map(|it| self.taking(it)).collect();
            let schedulers: Vec<&str> = self.services.iter().map(|it| it.scheduler).collect();
            let Some(happening) = self.draw(may_restart) else { continue };
            let mut harmed: BTreeSet<usize> = match &happening {
                Happening::ByHand(_, Whom::All) => (0..SERVICES).collect(),
                Happening::ByHand(_, Whom::Service(service)) => [*service].into(),
                // Draining takes new connections elsewhere and leaves the others alone.
                Happening::Drain(_) | Happening::Enable(_) => BTreeSet::new(),
                _ => {
                    let lost = |it: &usize| {
                        !before[*it].is_subset(&self.taking(*it))
                            || schedulers[*it] != self.services[*it].scheduler
                    };
                    (0..SERVICES).filter(lost).collect()
                }
            };
            // Nobody is there to answer.
            harmed.extend((0..SERVICES).filter(|it| before[*it].is_empty()));
            harmed.extend((0..SERVICES).filter(|it| self.taking(*it).is_empty()));
            return (happening, harmed);
        }
    }

    fn draw(&mut self, may_restart: bool) -> Option<Happening> {
        let real = self.random.below(usize::from(HOSTS * PER_HOST));
        // Whether the entry of a real server that is both dead and drained stays depends on which
        // of the two came first.
        let is_well = !self.dead.contains(&real) && !self.drained.contains(&real);
        Some(match self.random.below(20) {
            0..=3 if is_well && self.dead.len() < MOST_DEAD => {
                self.dead.insert(real);
                match self.random.one_in(2) {
                    true => Happening::Refuses(real),
                    false => Happening::Hangs(real),
                }
            }
            4..=7 => {
                let dead: Vec<usize> = self.dead.iter().copied().collect();
                let back = *dead.get(self.random.below(dead.len()))?;
                self.dead.remove(&back);
                Happening::Returns(back)
            }
            8..=13 => {
                self.change_the_file();
                Happening::Reload(self.random.pick(&[Told::Verb, Told::Signal]))
            }
            14 => Happening::BrokenReload,
            15 if is_well && self.drained.len() < MOST_DRAINED => {
                self.drained.insert(real);
                Happening::Drain(real)
            }
            16 => {
                let drained = *self.drained.first()?;
                self.drained.remove(&drained);
                Happening::Enable(drained)
            }
            17 => self.change_by_hand()?,
            18 | 19 if may_restart => {
                self.random.pick(&[Happening::Restart, Happening::Kill, Happening::KillWorker])
            }
            _ => return None,
        })
    }

    /// Everybody is alive again. Returns who was dead, and the services that had nobody.
    pub(super) fn heal(&mut self) -> (BTreeSet<usize>, BTreeSet<usize>) {
        let harmed = (0..SERVICES).filter(|it| self.taking(*it).is_empty()).collect();
        (std::mem::take(&mut self.dead), harmed)
    }

    fn change_the_file(&mut self) {
        for _ in 0..=self.random.below(8) {
            let number = self.random.below(SERVICES);
            match self.random.below(5) {
                0 => self.services[number] = Service::draw(number, &mut self.random),
                1 if number >= STABLE => self.services[number].present ^= true,
                2 => self.services[number].scheduler = self.random.pick(&SCHEDULERS),
                3 => {
                    let weight = 1 + self.random.next_u32() % 9;
                    self.services[number].members[0].1 = weight;
                }
                _ => self.quiescent = self.random.one_in(2),
            }
        }
    }

    fn change_by_hand(&mut self) -> Option<Happening> {
        if self.random.one_in(20) {
            return Some(Happening::ByHand("-C".to_owned(), Whom::All));
        }
        let number = self.random.below(STABLE);
        let vip = vip(number);
        let taking: Vec<usize> = self.taking(number).into_iter().collect();
        let real = real(*taking.get(self.random.below(taking.len()))?);
        let (arguments, whom) = match self.random.below(5) {
            0 => (format!("-d -t {vip} -r {real}"), Whom::Service(number)),
            1 => (format!("-e -t {vip} -r {real} -m -w 77"), Whom::Nobody),
            2 => (format!("-E -t {vip} -s sed"), Whom::Service(number)),
            3 => (format!("-a -t {vip} -r 10.11.200.1:80 -m -w 1"), Whom::Service(number)),
            _ => (format!("-D -t {vip}"), Whom::Service(number)),
        };
        Some(Happening::ByHand(arguments, whom))
    }

    /// The real servers that a service's new connections go to.
    fn taking(&self, service: usize) -> BTreeSet<usize> {
        let Service { present, members, .. } = &self.services[service];
        let up = members.iter().map(|(real, _)| *real).filter(|real| !self.dead.contains(real));
        up.filter(|real| *present && !self.drained.contains(real)).collect()
    }

    /// A service as it should be, for messages.
    pub(super) fn describe(&self, service: usize) -> String {
        let Service { members, .. } = &self.services[service];
        let state = |it: &usize| match (self.dead.contains(it), self.drained.contains(it)) {
            (true, _) => "dead",
            (false, true) => "drained",
            (false, false) => "up",
        };
        let members =
            members.iter().map(|(it, weight)| format!("{}={weight} {}", real(*it), state(it)));
        format!("{}: {}", vip(service), members.collect::<Vec<_>>().join(", "))
    }

    /// The file.
    pub(super) fn config(&self) -> Config {
        let present = self.services.iter().enumerate().filter(|(_, service)| service.present);
        let services = present.map(|(number, service)| {
            let members = service.members.iter();
            let reals =
                members.map(|(it, weight)| Real { weight: *weight, ..Real::masq(real(*it)) });
            Virtual { scheduler: service.scheduler, ..Virtual::new(vip(number), reals) }
        });
        Config {
            interval: 1,
            timeout: 2,
            quiescent: self.quiescent,
            services: services.collect(),
            ..Config::default()
        }
    }

    /// The table, once all has been noticed.
    pub(super) fn table(&self) -> Table {
        let present = self.services.iter().enumerate().filter(|(_, service)| service.present);
        Table(
            present
                .map(|(number, service)| {
                    let members = service.members.iter();
                    let reals = members.filter_map(|(it, weight)| {
                        let weight = match (self.dead.contains(it), self.drained.contains(it)) {
                            (true, _) if !self.quiescent => return None,
                            (false, false) => *weight,
                            _ => 0,
                        };
                        Some((real(*it), Target { method: "Masq".to_owned(), weight }))
                    });
                    let scheduler = service.scheduler.to_owned();
                    let reals = reals.collect();
                    (vip(number), Entry { scheduler, persistent: None, reals })
                })
                .collect(),
        )
    }
}

impl Service {
    fn draw(number: usize, random: &mut Random) -> Self {
        let mut members: Vec<(usize, u32)> = Vec::new();
        for _ in 0..2 + random.below(4) {
            let real = random.below(usize::from(HOSTS * PER_HOST));
            if members.iter().all(|member| member.0 != real) {
                members.push((real, 1 + random.next_u32() % 3));
            }
        }
        let present = number < STABLE || random.one_in(2);
        Self { present, scheduler: random.pick(&SCHEDULERS), members }
    }
}

/// The address of a virtual service.
pub(super) fn vip(number: usize) -> SocketAddrV4 {
    let number = u8::try_from(number + 1).unwrap_or(u8::MAX);
    SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, number), 80)
}

/// The address of a real server, on the host that has 10.1N.0.0/16.
pub(super) fn real(number: usize) -> SocketAddrV4 {
    let number = u8::try_from(number).unwrap_or(u8::MAX);
    SocketAddrV4::new(Ipv4Addr::new(10, 10 + host(number.into()), 0, 1 + number % PER_HOST), 80)
}

/// The number of a real server's host, from 1 on.
pub(super) fn host(real: usize) -> u8 {
    1 + u8::try_from(real).unwrap_or(u8::MAX) / PER_HOST
}
