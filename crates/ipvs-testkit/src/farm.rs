//! A cluster of any number of real servers behind a director that translates addresses.
//!
//! ```text
//!   client                    director                     servers
//!   10.0.0.1 ──────── 10.0.0.254    10.3.0.254 ──────── 10.3.0.1, 10.3.0.2…
//!   10.1.0.0/16            10.2.0.0/16
//! ```
//!
//! The client has all addresses of 10.1.0.0/16, the director all of 10.2.0.0/16, so that tests can
//! connect from and to as many as they like. The real servers are addresses of one host: to a
//! scheduler they are as good as hosts of their own.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use lab::process::output;

use crate::connections::NameServer;
use crate::harness::Context;
use crate::namespace::Namespace;

/// The port of the real servers, and that to be used for virtual services.
const PORT: u16 = 80;

/// A running farm; dropping it takes everything down.
#[derive(Debug)]
pub struct Farm {
    /// Has every address of 10.1.0.0/16.
    pub client: Namespace,
    /// Has every address of 10.2.0.0/16 and IPVS's table.
    pub director: Namespace,
    /// Has the addresses of the real servers.
    pub servers: Namespace,
    _running: Vec<NameServer>,
}

impl Farm {
    /// Builds a farm with that many real servers, which call themselves by their numbers from 0 on.
    ///
    /// # Errors
    ///
    /// If a command fails; the error shows what it said.
    pub fn build(context: &mut Context, servers: u8) -> Result<Self> {
        let client = context.netns("client")?;
        let director = context.netns("director")?;
        let host = context.netns("servers")?;
        director.ip(&[
            format!("link add eth0 type veth peer name eth0 netns {}", client.name()),
            format!("link add eth1 type veth peer name eth0 netns {}", host.name()),
            "link set eth0 up".to_owned(),
            "link set eth1 up".to_owned(),
            "addr add 10.0.0.254/24 dev eth0".to_owned(),
            "addr add 10.3.0.254/24 dev eth1".to_owned(),
            "route add 10.1.0.0/16 via 10.0.0.1".to_owned(),
            "route add local 10.2.0.0/16 dev lo".to_owned(),
        ])?;
        // Replies of the real servers pass through.
        director.sysctl("net.ipv4.ip_forward", "1")?;
        // A connection for which there is no server is refused with an ICMP message: every time,
        // not only as often as a host in the Internet should.
        director.sysctl("net.ipv4.icmp_ratemask", "0")?;
        client.ip(&[
            "link set eth0 up",
            "addr add 10.0.0.1/24 dev eth0",
            "route add 10.2.0.0/16 via 10.0.0.254",
            "route add local 10.1.0.0/16 dev lo",
        ])?;
        let mut commands = vec!["link set eth0 up".to_owned()];
        let addrs = (0..servers).map(|number| *Self::server(number).ip());
        commands.extend(addrs.map(|addr| format!("addr add {addr}/24 dev eth0")));
        commands.push("route add default via 10.3.0.254".to_owned());
        host.ip(&commands)?;
        // What comes back takes a moment, as it does between machines: a client that is still in
        // connect(2) only notes that a connection is refused, and asks again a second later.
        let mut delay = director.command("tc");
        output(delay.args(["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms"]))?;
        let running = (0..servers)
            .map(|number| NameServer::start(&host, Self::server(number), &number.to_string()))
            .collect::<Result<_>>()?;
        Ok(Self { client, director, servers: host, _running: running })
    }

    /// The address of the real server of that number, at most 252.
    pub fn server(number: u8) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(10, 3, 0, number + 1), PORT)
    }

    /// One of 65536 client addresses, with any port.
    pub fn client(number: u16) -> SocketAddrV4 {
        let [high, low] = number.to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(10, 1, high, low), 0)
    }

    /// One of 65536 virtual addresses.
    pub fn vip(number: u16) -> SocketAddrV4 {
        let [high, low] = number.to_be_bytes();
        SocketAddrV4::new(Ipv4Addr::new(10, 2, high, low), PORT)
    }

    /// Gives all packets that come from the client a firewall mark.
    ///
    /// # Errors
    ///
    /// If `tc` (iproute2) fails.
    pub fn mark_packets(&self, mark: u32) -> Result<()> {
        let tc = |arguments: &str| {
            output(self.director.command("tc").args(arguments.split(' '))).map(drop)
        };
        tc("qdisc add dev eth0 clsact")?;
        tc(&format!("filter add dev eth0 ingress matchall action skbedit mark {mark}"))
    }
}
