//! Random changes that the kernel can't refuse, each also as an `ipvsadm` command line, and the
//! table that they result in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::Duration;

use ipvs::{
    Change, Destination, DestinationKey, Endpoint, Family, Forward, GueChecksum, Persistence,
    Protocol, Scheduler, Service, ServiceKey, Table, TableService, Tunnel,
};
use splitmix::Random;

/// The most virtual services that a lane has.
pub const SERVICES: usize = 40;
/// The most real servers that each of them has.
pub const SERVERS: usize = 20;

/// The `ipvsadm` arguments that make the change.
pub fn words(change: &Change) -> String {
    match change {
        Change::AddService(service) => format!("-A {}", service_words(service)),
        Change::SetService(service) => format!("-E {}", service_words(service)),
        Change::DeleteService(key) => format!("-D {}", key_words(key)),
        Change::AddDestination { service, destination } => {
            format!("-a {}{}", server_words(service, destination), threshold_words(destination))
        }
        Change::SetDestination { service, destination } => {
            format!("-e {}{}", server_words(service, destination), threshold_words(destination))
        }
        Change::DeleteDestination { service, destination } => {
            format!("-d {} -r {destination}", key_words(service))
        }
        other => panic!("never drawn: {other}"),
    }
}

fn apply_to(change: &Change, table: &mut Table) {
    match change {
        Change::AddService(service) | Change::SetService(service) => {
            table.insert_service(service.clone());
        }
        Change::DeleteService(key) => {
            table.remove(key);
        }
        Change::AddDestination { service, destination }
        | Change::SetDestination { service, destination } => {
            table.get_mut(service).map(|service| service.insert(*destination));
        }
        Change::DeleteDestination { service, destination } => {
            table.get_mut(service).map(|service| service.remove(destination));
        }
        other => panic!("never drawn: {other}"),
    }
}

/// What the C `ipvsadm -S -n` should write for a table, sorted. Its format has no thresholds.
pub fn saved(table: &Table) -> Vec<String> {
    let mut lines = commands(table);
    lines.sort();
    lines
}

/// The same lines in an order in which `ipvsadm -R` can execute them.
pub fn commands(table: &Table) -> Vec<String> {
    let mut lines = Vec::new();
    for service in table.services() {
        lines.push(format!("-A {}", service_words(service.service())));
        let servers = service.destinations();
        lines.extend(servers.map(|server| format!("-a {}", server_words(service.key(), server))));
    }
    lines
}

fn key_words(key: &ServiceKey) -> String {
    match *key {
        ServiceKey::Addr { protocol, addr, port } => {
            let option = match protocol {
                Protocol::Tcp => "-t",
                Protocol::Udp => "-u",
                _ => "--sctp-service",
            };
            format!("{option} {}", SocketAddr::new(addr, port))
        }
        ServiceKey::Fwmark { family: Family::V4, mark } => format!("-f {mark}"),
        ServiceKey::Fwmark { family: Family::V6, mark } => format!("-f {mark} -6"),
    }
}

fn service_words(service: &Service) -> String {
    let mut words = key_words(&service.key);
    if let Some(scheduler) = service.scheduler {
        words += &format!(" -s {scheduler}");
    }
    if let Some(persistence) = &service.persistence {
        words += &format!(" -p {}", persistence.timeout.as_secs());
    }
    if service.one_packet {
        words += " -o";
    }
    words
}

fn server_words(key: &ServiceKey, server: &Destination) -> String {
    let (method, tunnel) = match server.forward {
        Forward::Masquerade => ("-m", String::new()),
        Forward::Tunnel(Tunnel::Gue { port, .. }) => {
            ("-i", format!(" --tun-type gue --tun-port {port} --tun-csum"))
        }
        Forward::Tunnel(Tunnel::Gre { .. }) => ("-i", " --tun-type gre --tun-csum".to_owned()),
        Forward::Tunnel(_) => ("-i", " --tun-type ipip".to_owned()),
        _ => ("-g", String::new()),
    };
    let weight = server.weight;
    format!("{} -r {} {method} -w {weight}{tunnel}", key_words(key), server.key())
}

fn threshold_words(server: &Destination) -> String {
    format!(" -x {} -y {}", server.upper_threshold, server.lower_threshold)
}

/// Generates changes that fit the table that the earlier ones resulted in.
#[derive(Debug)]
pub struct Changes {
    random: Random,
    lane: u8,
    services: usize,
    table: Table,
    shared: Option<Service>,
}

impl Changes {
    /// Creates a generator; the same seed gives the same changes. Lanes have no object in common.
    pub fn new(seed: u64, lane: u8) -> Self {
        let (random, table) = (Random::new(seed), Table::new());
        Self { random, lane, services: SERVICES, table, shared: None }
    }

    /// Sets the most services of its own that it has, up to [`SERVICES`].
    #[must_use]
    pub fn services(mut self, services: usize) -> Self {
        self.services = services;
        self
    }

    /// Adds a service that others share: this lane adds real servers to it, but never changes the
    /// service itself.
    #[must_use]
    pub fn sharing(mut self, service: Service) -> Self {
        self.table.insert_service(service.clone());
        self.shared = Some(service);
        self
    }

    /// The table that all changes so far result in.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The random number generator.
    pub fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// Continues from another table.
    pub fn become_table(&mut self, table: Table) {
        self.table = table;
    }

    /// The next change.
    pub fn change(&mut self) -> Change {
        let change = self.draw();
        apply_to(&change, &mut self.table);
        change
    }

    /// The key of a service of this lane, whether or not that service exists.
    pub fn any_key(&mut self) -> ServiceKey {
        let index = self.random.below(self.services);
        self.service_key(index)
    }

    /// A random configuration for the service.
    pub fn any_service(&mut self, key: ServiceKey) -> Service {
        let schedulers = [Scheduler::RR, Scheduler::WRR, Scheduler::LC, Scheduler::WLC];
        // Its table is rebuilt for each real server, which is expensive.
        let rare = self.random.one_in(20);
        let scheduler = if rare { Scheduler::SH } else { self.random.pick(&schedulers) };
        let mut service = Service::new(key).scheduler(scheduler);
        if self.random.one_in(3) {
            let timeout = Duration::from_secs(self.random.pick(&[60, 300, 7200]));
            service = service.persistent(Persistence::new(timeout));
        }
        let is_udp = matches!(key, ServiceKey::Addr { protocol: Protocol::Udp, .. });
        service.one_packet(is_udp && self.random.one_in(2))
    }

    /// A random configuration for a real server of the service.
    pub fn any_server(&mut self, service: &ServiceKey) -> Destination {
        let number = self.random.below(SERVERS);
        let key = self.server_key(service, number);
        let service_port = match *service {
            ServiceKey::Addr { port, .. } => port,
            ServiceKey::Fwmark { .. } => 0,
        };
        let others = [
            Forward::DirectRoute,
            Forward::Masquerade,
            Forward::Tunnel(Tunnel::Ipip),
            Forward::Tunnel(Tunnel::Gue { port: 6080, checksum: GueChecksum::Full }),
            Forward::Tunnel(Tunnel::Gre { checksum: true }),
        ];
        // Only masquerading rewrites the port.
        let forward = match key.port == service_port {
            true => self.random.pick(&others),
            false => Forward::Masquerade,
        };
        let (upper, lower) = self.random.pick(&[(0, 0), (0, 0), (100, 0), (1000, 800)]);
        let weight = self.random.below(1000) as u32;
        Destination::new(key).forward(forward).weight(weight).thresholds(upper, lower)
    }

    fn draw(&mut self) -> Change {
        let key = match &self.shared {
            Some(service) if self.random.one_in(3) => service.key,
            _ => self.any_key(),
        };
        let is_shared = self.shared.as_ref().is_some_and(|service| service.key == key);
        if self.table.get(&key).is_none() {
            return Change::AddService(self.any_service(key));
        }
        match self.random.below(40) {
            0 if !is_shared => return Change::DeleteService(key),
            1..3 if !is_shared => return Change::SetService(self.any_service(key)),
            _ => {}
        }
        let server = self.any_server(&key);
        let is_there = self.table.get(&key).is_some_and(|it| it.get(&server.key()).is_some());
        match is_there {
            false => Change::AddDestination { service: key, destination: server },
            true if self.random.one_in(2) => {
                Change::SetDestination { service: key, destination: server }
            }
            true => Change::DeleteDestination { service: key, destination: server.key() },
        }
    }

    fn service_key(&self, index: usize) -> ServiceKey {
        let (lane, number) = (self.lane, 1 + index as u8);
        let v4 = |port| Endpoint::from(([10, 200, lane, number], port));
        let v6_addr = Ipv6Addr::new(0x2001, 0xdb8, 0, lane.into(), 0, 0, 0, number.into());
        let v6 = |port| Endpoint::from((v6_addr, port));
        let mark = NonZeroU32::MIN.saturating_add(1000 * u32::from(lane) + index as u32);
        match index % 8 {
            0 | 1 => ServiceKey::tcp(v4(80)),
            2 => ServiceKey::udp(v4(53)),
            3 => ServiceKey::sctp(v4(2905)),
            4 => ServiceKey::tcp(v6(443)),
            5 => ServiceKey::udp(v6(53)),
            6 => ServiceKey::fwmark(Family::V4, mark),
            _ => ServiceKey::fwmark(Family::V6, mark),
        }
    }

    fn server_key(&self, service: &ServiceKey, number: usize) -> DestinationKey {
        let last = 1 + number as u8;
        let addr: IpAddr = match service.family() {
            Family::V4 => Ipv4Addr::new(10, 100, self.lane, last).into(),
            Family::V6 => {
                Ipv6Addr::new(0xfd00, 0, 0, self.lane.into(), 0, 0, 0, last.into()).into()
            }
        };
        let port = match *service {
            _ if number % 4 == 3 => 8080,
            ServiceKey::Addr { port, .. } => port,
            ServiceKey::Fwmark { .. } => 0,
        };
        DestinationKey::new(addr, port)
    }

    /// Whether a real server belongs to this lane.
    pub fn is_own_server(&self, key: &DestinationKey) -> bool {
        match key.addr {
            IpAddr::V4(addr) => addr.octets()[2] == self.lane,
            IpAddr::V6(addr) => addr.segments()[3] == u16::from(self.lane),
        }
    }

    /// The part of a table that belongs to this lane: its services, and its real servers in shared
    /// services.
    pub fn own_part(&self, table: &Table) -> Table {
        let mut part = Table::new();
        for service in table.services() {
            if self.shared.as_ref().is_some_and(|shared| shared.key == *service.key()) {
                let mut own = TableService::new(service.service().clone());
                let servers = service.destinations();
                own.extend(servers.filter(|it| self.is_own_server(&it.key())).cloned());
                part.insert(own);
            } else if (0..self.services).any(|index| self.service_key(index) == *service.key()) {
                part.insert(service.clone());
            }
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ipvs::Client;
    use ipvs_model::Kernel;

    use super::*;

    #[test]
    fn the_model_of_the_kernel_refuses_none() {
        let mut client = Client::with_transport(Kernel::new()).unwrap();
        let mut changes = Changes::new(1, 3);
        let mut seen = BTreeSet::new();
        for _ in 0..20_000 {
            let change = changes.change();
            seen.insert(words(&change)[..2].to_owned());
            client.change(&change).unwrap();
        }
        assert_eq!(client.snapshot().unwrap().into_table(), *changes.table());
        assert_eq!(seen, ["-A", "-D", "-E", "-a", "-d", "-e"].map(str::to_owned).into());
        assert_eq!(changes.own_part(changes.table()), *changes.table());
    }

    #[test]
    fn lanes_have_only_the_shared_service_in_common() {
        let shared = Service::new("tcp/192.0.2.1:80".parse().unwrap());
        let [one, two] = [1, 2].map(|lane| {
            let mut changes = Changes::new(7, lane).sharing(shared.clone());
            for _ in 0..2000 {
                changes.change();
            }
            changes
        });
        let mut both = one.table().clone();
        for service in two.table().services() {
            match both.get_mut(service.key()) {
                Some(there) => {
                    assert_eq!(*there.key(), shared.key);
                    assert!(there.destinations().len() > 0);
                    there.extend(service.destinations().cloned());
                }
                None => assert_eq!(both.insert(service.clone()), None),
            }
        }
        assert_eq!(one.own_part(&both), *one.table());
        assert_eq!(two.own_part(&both), *two.table());
    }
}
