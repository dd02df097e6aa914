//! A cluster with any number of real servers behind a masquerading director.
//!
//! ```text
//!   client                    director                     servers
//!   10.0.0.1 ──────── 10.0.0.254    10.3.0.254 ──────── 10.3.0.1, 10.3.0.2…
//!   10.1.0.0/16            10.2.0.0/16
//! ```
//!
//! The client has all addresses of 10.1.0.0/16 and the director all of 10.2.0.0/16, so tests can
//! connect from and to as many as they like. The real servers are addresses of a single host, which
//! makes no difference to a scheduler.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::Result;
use lab::process::output;

use crate::connections::NameServer;
use crate::harness::Context;
use crate::namespace::Namespace;

/// The port of the real servers, and the port to use for virtual services.
const PORT: u16 = 80;

/// A running farm; dropping it takes everything down.
#[derive(Debug)]
pub struct Farm {
    /// Has every address of 10.1.0.0/16.
    pub client: Namespace,
    /// Has every address of 10.2.0.0/16, and the IPVS table.
    pub director: Namespace,
    /// Has the addresses of the real servers.
    pub servers: Namespace,
    _running: Vec<NameServer>,
}

impl Farm {
    /// Builds a farm with this many real servers, each named after its number, starting at 0.
    ///
    /// # Errors
    ///
    /// If a command fails; the error includes its output.
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
        // The director forwards the real servers' replies.
        director.sysctl("net.ipv4.ip_forward", "1")?;
        // The director refuses a connection with an ICMP message if no real server is available.
        // Send it every time, without the rate limit that suits a host on the Internet.
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
        // Delay what comes back a little, as between real machines. A client that is still inside
        // connect(2) only records that the connection was refused, and retries a second later.
        let mut delay = director.command("tc");
        output(delay.args(["qdisc", "add", "dev", "eth0", "root", "netem", "delay", "1ms"]))?;
        let running = (0..servers)
            .map(|number| NameServer::start(&host, Self::server(number), &number.to_string()))
            .collect::<Result<_>>()?;
        Ok(Self { client, director, servers: host, _running: running })
    }

    /// The address of real server `number`, which is at most 252.
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

    /// Sets a firewall mark on all packets from the client.
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
