//! A second implementation of what each of the kernel's schedulers chooses.
//!
//! Sources: the descriptions at the top of the kernel's `net/netfilter/ipvs/ip_vs_*.c` and
//! `ipvsadm(8)`; where those leave a case open, the code itself. All schedulers see the real
//! servers in the order of the kernel's list, and choose the first of several equally good ones.

mod hashing;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs::{Scheduler, SchedulerFlags};

use hashing::{BUCKETS, PLACES, bucket, maglev, place};

/// A real server as schedulers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its address.
    pub addr: SocketAddrV4,
    /// Its weight; 0 means no new connections.
    pub weight: u32,
    /// The last weight other than 0. `mh` uses it: its table stays the same while a real server
    /// rests.
    pub last_weight: u32,
    /// Its active connections: for TCP, those that neither side has closed.
    pub active: u32,
    /// Its other connections.
    pub inactive: u32,
}

impl Server {
    /// A real server without connections.
    pub fn new(addr: SocketAddrV4, weight: u32) -> Self {
        Self { addr, weight, last_weight: weight, active: 0, inactive: 0 }
    }

    /// An open connection counts as much as 256 closing ones (`ip_vs_dest_conn_overhead`).
    fn overhead(&self) -> u64 {
        u64::from(self.active) * 256 + u64::from(self.inactive)
    }
}

/// A service's scheduler with its state, and the real servers.
#[derive(Clone, Debug)]
pub struct Model {
    scheduler: Scheduler,
    flags: SchedulerFlags,
    servers: Vec<Server>,
    /// How many connections have been scheduled.
    turn: usize,
    /// For each virtual address, the real servers that have had its connections, the latest first.
    /// `lblc` remembers one, `lblcr` several.
    homes: HashMap<Ipv4Addr, Vec<usize>>,
}

impl Model {
    /// A service that gets this scheduler while it has these real servers, in the order of the
    /// kernel's list.
    pub fn new(scheduler: Scheduler, flags: SchedulerFlags, servers: Vec<Server>) -> Self {
        Self { scheduler, flags, servers, turn: 0, homes: HashMap::new() }
    }

    /// The real servers.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// The index of the real server that a new connection goes to; `None` if it is refused.
    pub fn arrive(&mut self, client: SocketAddrV4, target: Ipv4Addr) -> Option<usize> {
        let chosen = self.choose(client, target)?;
        self.turn += 1;
        self.servers[chosen].active += 1;
        Some(chosen)
    }

    /// The client closes a connection to the real server. The director remembers it for a while.
    pub fn leave(&mut self, server: usize) {
        self.servers[server].active -= 1;
        self.servers[server].inactive += 1;
    }

    /// Changes a weight. How this affects the state of `rr` and `wrr` isn't modeled.
    pub fn set_weight(&mut self, server: usize, weight: u32) {
        let server = &mut self.servers[server];
        server.weight = weight;
        server.last_weight = if weight == 0 { server.last_weight } else { weight };
    }

    fn choose(&mut self, client: SocketAddrV4, target: Ipv4Addr) -> Option<usize> {
        let scheduler = self.scheduler;
        let all = || 0..self.servers.len();
        match scheduler {
            Scheduler::RR => self.nth_turn(&all().collect::<Vec<_>>()),
            Scheduler::WRR => self.nth_turn(&self.weighted_turns()),
            Scheduler::LC => self.least(all(), |server| (server.overhead(), 1)),
            Scheduler::WLC => self.weighted_least(all()),
            Scheduler::SED => self.shortest_delay(),
            Scheduler::NQ => {
                let idle = all().find(|i| self.takes(*i) && self.servers[*i].active == 0);
                idle.or_else(|| self.shortest_delay())
            }
            Scheduler::FO => self.heaviest(|_| true),
            // One more than the weight, because the comparison precedes the new connection.
            Scheduler::OVF => self.heaviest(|server| server.active <= server.weight),
            Scheduler::SH => self.by_source(client),
            Scheduler::MH => self.by_source_consistently(client),
            // Each real server has every n-th bucket, regardless of weight.
            Scheduler::DH => {
                Some(bucket(target.to_bits()) % self.servers.len()).filter(|i| self.takes(*i))
            }
            Scheduler::LBLC => self.by_home(target, 1),
            Scheduler::LBLCR => self.by_home(target, usize::MAX),
            _ => None,
        }
    }

    fn takes(&self, server: usize) -> bool {
        self.servers[server].weight > 0
    }

    /// `rr` and `wrr`: the real servers of a list in turn.
    fn nth_turn(&self, turns: &[usize]) -> Option<usize> {
        let taking: Vec<_> = turns.iter().filter(|i| self.takes(**i)).collect();
        taking.get(self.turn.checked_rem(taking.len())?).map(|i| **i)
    }

    /// `wrr`: the first round has the real servers with the highest weight. Each following round
    /// lowers the limit by one step and includes those that reach it, down to the lowest weight. A
    /// step is the greatest common divisor of the weights.
    fn weighted_turns(&self) -> Vec<usize> {
        let weights: &Vec<_> = &self.servers.iter().map(|server| server.weight).collect();
        let (step, highest) = (common_divisor(weights), weights.iter().max().copied());
        let rounds = (1..=highest.unwrap_or(0)).rev().step_by(step.max(1) as usize);
        let reached = |least| (0..weights.len()).filter(move |i| weights[*i] >= least);
        rounds.flat_map(reached).collect()
    }

    /// The real server with the smallest quotient. Products are compared, so nothing is rounded.
    fn least(
        &self,
        among: impl Iterator<Item = usize>,
        quotient: impl Fn(&Server) -> (u64, u64),
    ) -> Option<usize> {
        among.filter(|i| self.takes(*i)).reduce(|best, next| {
            let (a, b) = (quotient(&self.servers[best]), quotient(&self.servers[next]));
            if b.0 * a.1 < a.0 * b.1 { next } else { best }
        })
    }

    fn weighted_least(&self, among: impl Iterator<Item = usize>) -> Option<usize> {
        self.least(among, |server| (server.overhead(), server.weight.into()))
    }

    /// `sed`: the expected delay of the new connection, including itself.
    fn shortest_delay(&self) -> Option<usize> {
        let all = 0..self.servers.len();
        self.least(all, |server| (u64::from(server.active) + 1, server.weight.into()))
    }

    fn heaviest(&self, suits: impl Fn(&Server) -> bool) -> Option<usize> {
        let suiting =
            (0..self.servers.len()).filter(|i| self.takes(*i) && suits(&self.servers[*i]));
        suiting.rev().max_by_key(|i| self.servers[*i].weight)
    }

    /// The value that `sh` and `mh` hash.
    fn source(&self, client: SocketAddrV4) -> u32 {
        let with_port = self.flags.contains(SchedulerFlags::SH_PORT);
        client.ip().to_bits().wrapping_add(if with_port { client.port().into() } else { 0 })
    }

    /// `sh`: the real servers share the buckets in turn. Each takes as many at a time as its
    /// weight, and one bucket if its weight is 0.
    fn by_source(&self, client: SocketAddrV4) -> Option<usize> {
        let first = bucket(self.source(client));
        let shares = self.servers.iter().enumerate();
        let shares = shares.flat_map(|(i, s)| std::iter::repeat_n(i, s.weight.max(1) as usize));
        let table: Vec<_> = shares.collect::<Vec<_>>().into_iter().cycle().take(BUCKETS).collect();
        let again = (0..BUCKETS).map(|offset| (2 * first + offset) % BUCKETS);
        self.first_that_takes(&table, first, again)
    }

    /// `mh`: the weights, in lowest terms, are shares of the table (the kernel rounds those of 64
    /// and more).
    fn by_source_consistently(&self, client: SocketAddrV4) -> Option<usize> {
        let weights: Vec<_> = self.servers.iter().map(|server| server.last_weight).collect();
        let divisor = common_divisor(&weights).max(1);
        let shares = self.servers.iter().map(|s| (s.addr, s.last_weight / divisor));
        let table = maglev(&shares.collect::<Vec<_>>());
        let source = self.source(client);
        let first = place(source);
        let again =
            (0..PLACES).map(|offset| place(source.wrapping_add((offset + first as u32) % PLACES)));
        self.first_that_takes(&table, first, again)
    }

    /// The real server at a place of a table. If it takes no connections and the service has
    /// fallback, the first one at the other places that does.
    fn first_that_takes(
        &self,
        table: &[usize],
        first: usize,
        mut again: impl Iterator<Item = usize>,
    ) -> Option<usize> {
        let server = *table.get(first)?;
        if self.takes(server) {
            return Some(server);
        }
        let falls_back = self.flags.contains(SchedulerFlags::SH_FALLBACK);
        again.find(|at| falls_back && self.takes(table[*at])).map(|at| table[at])
    }

    /// `lblc` and `lblcr`: the least loaded of the real servers assigned to the virtual address,
    /// until it has more connections than its weight while another has less than half its weight.
    /// Then the least loaded of all, by weight, joins them; with `lblc`, it replaces them.
    fn by_home(&mut self, target: Ipv4Addr, most: usize) -> Option<usize> {
        let homes = self.homes.get(&target).cloned().unwrap_or_default();
        let overloaded = |server: &Server| {
            let idle = |other: &Server| other.active * 2 < other.weight;
            server.active > server.weight && self.servers.iter().any(idle)
        };
        let home = self.weighted_least(homes.iter().copied());
        if let Some(home) = home.filter(|i| !overloaded(&self.servers[*i])) {
            return Some(home);
        }
        let chosen = self.weighted_least(0..self.servers.len())?;
        let homes = self.homes.entry(target).or_default();
        if !homes.contains(&chosen) {
            homes.insert(0, chosen);
            homes.truncate(most);
        }
        Some(chosen)
    }
}

/// The greatest common divisor of the numbers other than 0; 0 if all are 0.
fn common_divisor(numbers: &[u32]) -> u32 {
    numbers.iter().fold(0, |a, b| {
        let (mut a, mut b) = (a, *b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    })
}
