//! The generator's guess at the kernel's table, so that commands refer to objects that exist.
//! Nothing is compared with it.

use super::random::Random;
use super::values::{self, MARKS, PORTS, REAL, VIRTUAL};
use super::words::Opt;

/// What identifies a virtual service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Addr { service: &'static str, host: usize, port: u16 },
    Mark { mark: u32, is_v6: bool },
}

impl Key {
    pub(super) fn any(random: &mut Random) -> Self {
        if random.chance(22) {
            return Self::Mark { mark: *random.pick(MARKS), is_v6: random.chance(30) };
        }
        let service =
            random.weighted(&[(6, "tcp-service"), (4, "udp-service"), (2, "sctp-service")]);
        let port = if random.chance(6) { 0 } else { *random.pick(PORTS) };
        Self::Addr { service, host: random.below(VIRTUAL.len()), port }
    }

    pub(super) fn is_v6(self) -> bool {
        match self {
            Self::Addr { host, .. } => VIRTUAL[host].is_v6,
            Self::Mark { is_v6, .. } => is_v6,
        }
    }

    pub(super) fn is_udp(self) -> bool {
        matches!(self, Self::Addr { service: "udp-service", .. })
    }

    /// Whether it can only be added with persistence.
    pub(super) fn has_no_port(self) -> bool {
        matches!(self, Self::Addr { port: 0, .. })
    }

    /// The options that identify it, in some spelling.
    pub(super) fn options(self, random: &mut Random) -> Vec<Opt> {
        match self {
            Self::Mark { mark, is_v6 } => {
                let zeros = if random.chance(15) { "00" } else { "" };
                let mut options = vec![Opt::with("fwmark-service", format!("{zeros}{mark}"))];
                options.extend(is_v6.then(|| Opt::flag("ipv6")));
                options
            }
            Self::Addr { service, host, port } => {
                let host = &VIRTUAL[host];
                let name = random.pick(host.spellings);
                let address = if port == 0 && (host.is_v6 || random.chance(50)) {
                    (*name).to_owned()
                } else {
                    let port = values::port(port, service, random);
                    if host.is_v6 { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
                };
                vec![Opt::with(service, address)]
            }
        }
    }
}

/// A real server: an index into [`REAL`] and its port.
pub(super) type Server = (usize, u16);

/// A virtual service and its real servers.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) key: Key,
    pub(super) servers: Vec<Server>,
}

/// Services and daemons: the only state that matters for the next command.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) services: Vec<Service>,
    pub(super) daemons: Vec<&'static str>,
}

impl Table {
    /// The key of a service, most times one that exists.
    pub(super) fn key(&self, random: &mut Random) -> Key {
        if self.services.is_empty() || random.chance(8) {
            return Key::any(random);
        }
        random.pick(&self.services).key
    }

    pub(super) fn service(&mut self, key: Key) -> Option<&mut Service> {
        self.services.iter_mut().find(|service| service.key == key)
    }

    pub(super) fn add(&mut self, key: Key) {
        if self.service(key).is_none() {
            self.services.push(Service { key, servers: Vec::new() });
        }
    }

    pub(super) fn delete(&mut self, key: Key) {
        self.services.retain(|service| service.key != key);
    }
}

/// A real server for a service, most times in the service's family.
pub(super) fn any_server(key: Key, random: &mut Random) -> Server {
    let port = match key {
        Key::Addr { port, .. } if random.chance(70) => port,
        _ => *random.pick(PORTS),
    };
    for _ in 0..6 {
        let host = random.below(REAL.len());
        if REAL[host].is_v6 == key.is_v6() {
            return (host, port);
        }
    }
    (random.below(REAL.len()), port)
}

/// The option for a real server, in some spelling.
pub(super) fn server_option(key: Key, (host, port): Server, random: &mut Random) -> Opt {
    let host = &REAL[host];
    let name = random.pick(host.spellings);
    let service = match key {
        Key::Addr { service, .. } => service,
        Key::Mark { .. } => "tcp-service",
    };
    let is_the_services = matches!(key, Key::Addr { port: own, .. } if own == port);
    let address = if is_the_services && random.chance(40) {
        (*name).to_owned()
    } else {
        let port = values::port(port, service, random);
        if host.is_v6 { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
    };
    Opt::with("real-server", address)
}
