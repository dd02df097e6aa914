//! The tables that are measured.

use std::fmt::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};

use ipvs::{Batch, Destination, ServiceKey, TableService};
use ipvs_sys::{
    AF_INET, Dest, Flags, ForwardMethod, IPPROTO_TCP, Name, Service, ServiceFlags, TunnelFlags,
    TunnelType, addr_bytes, netmask_v4,
};
use serde::{Deserialize, Serialize};

/// Virtual services that all have the same number of real servers, by direct routing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// How many virtual services there are.
    pub services: u32,
    /// How many real servers each has.
    pub servers: u32,
}

/// The port of every service.
const PORT: u16 = 80;

impl Table {
    /// A table with this many services and this many real servers for each.
    pub const fn new(services: u32, servers: u32) -> Self {
        Self { services, servers }
    }

    /// How many lines its rules have.
    pub fn lines(self) -> u32 {
        self.services * (1 + self.servers)
    }

    /// The rules as `ipvsadm -S -n` writes them.
    pub fn rules(self) -> String {
        let mut rules = String::new();
        for service in 0..self.services {
            let vip = vip(service);
            // Writing to a String can't fail.
            let _ = writeln!(rules, "-A -t {vip}:{PORT} -s wlc");
            for server in 0..self.servers {
                let (addr, weight) = (self.server(service, server), weight(server));
                let _ = writeln!(rules, "-a -t {vip}:{PORT} -r {addr}:{PORT} -g -w {weight}");
            }
        }
        rules
    }

    /// A service as it is sent to the kernel.
    pub fn wire_service(self, service: u32) -> Service {
        Service {
            family: Some(AF_INET),
            protocol: Some(IPPROTO_TCP),
            addr: Some(addr_bytes(vip(service).into())),
            port: Some(PORT),
            scheduler: Some(Name::from_static("wlc")),
            flags: Some(Flags { flags: ServiceFlags::empty(), mask: u32::MAX }),
            timeout: Some(0),
            netmask: Some(netmask_v4(Ipv4Addr::BROADCAST)),
            ..Service::default()
        }
    }

    /// A real server as it is sent to the kernel.
    pub fn wire_server(self, service: u32, server: u32) -> Dest {
        Dest {
            addr: Some(addr_bytes(self.server(service, server).into())),
            port: Some(PORT),
            fwd_method: Some(ForwardMethod::DIRECT_ROUTE),
            weight: Some(weight(server)),
            tun_type: Some(TunnelType::IPIP),
            tun_port: Some(0),
            tun_flags: Some(TunnelFlags::empty()),
            u_thresh: Some(0),
            l_thresh: Some(0),
            addr_family: Some(AF_INET),
            ..Dest::default()
        }
    }

    /// The library's changes that create it.
    pub fn batch(self) -> Batch {
        let mut batch = Batch::new();
        for service in self.contents().services() {
            batch.add_service(service.service());
            for destination in service.destinations() {
                batch.add_destination(service.key(), destination);
            }
        }
        batch
    }

    /// Its contents, in the library's types.
    pub fn contents(self) -> ipvs::Table {
        let service = |service| {
            let servers = (0..self.servers).map(|server| self.destination(service, server));
            let mut service = TableService::new(ipvs::Service::new(self.key(service)));
            service.extend(servers);
            service
        };
        (0..self.services).map(service).collect()
    }

    /// The library's key of a service.
    pub fn key(self, service: u32) -> ServiceKey {
        ServiceKey::tcp(SocketAddrV4::new(vip(service), PORT).into())
    }

    /// A real server, in the library's type.
    pub fn destination(self, service: u32, server: u32) -> Destination {
        let key = (self.server(service, server), PORT).into();
        Destination::new(key).weight(weight(server))
    }

    fn server(self, service: u32, server: u32) -> Ipv4Addr {
        // From 10.128.0.1; there is room for 8 million.
        Ipv4Addr::from(0x0a80_0001 + service * self.servers + server)
    }
}

/// Addresses from 10.64.0.1.
fn vip(service: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a40_0001 + service)
}

fn weight(server: u32) -> u32 {
    1 + server % 100
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} × {}", thousands(self.services), thousands(self.servers))
    }
}

/// A number with thousands separators.
pub fn thousands(number: u32) -> String {
    if number < 1000 {
        number.to_string()
    } else {
        format!("{},{:03}", thousands(number / 1000), number % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_those_of_the_table() {
        let rules = Table::new(2, 2).rules();
        assert_eq!(rules.lines().count(), 6);
        assert_eq!(rules.lines().nth(3), Some("-A -t 10.64.0.2:80 -s wlc"));
        assert_eq!(rules.lines().last(), Some("-a -t 10.64.0.2:80 -r 10.128.0.4:80 -g -w 2"));
    }

    #[test]
    fn large_numbers_are_readable() {
        assert_eq!(Table::new(1, 10_000).to_string(), "1 × 10,000");
        assert_eq!(thousands(1_002_003), "1,002,003");
    }
}
