//! The direct-routing cluster that the literature on LVS starts with.
//!
//! ```text
//!             client 10.10.10.1
//!                    │
//!     ═══════════════╪════════════════════ 10.10.10.0/24
//!          │         │         │
//!      director     web1      web2
//!        .52        .102      .103
//!     VIP on eth0   VIP on lo, no ARP for it
//! ```
//!
//! Requests reach the director, which has the virtual address (VIP) 10.10.10.53; it sends them on
//! to a real server's MAC address unchanged. The real server has the VIP too, so it takes them, and
//! answers the client itself. Only the director may answer ARP requests for the VIP.

use std::fmt;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use crate::exec::output;
use crate::namespace::Namespace;

/// The addresses of the cluster.
pub mod addresses {
    use std::net::Ipv4Addr;

    /// The client.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
    /// The director's own address.
    pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 52);
    /// The virtual address, which the clients connect to.
    pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 53);
    /// The two real servers where they share the clients' subnet.
    pub const NEAR_SERVERS: [Ipv4Addr; 2] =
        [Ipv4Addr::new(10, 10, 10, 102), Ipv4Addr::new(10, 10, 10, 103)];
    /// The router's address in the clients' subnet.
    pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 254);

    /// The two real servers where they have a subnet of their own.
    pub const FAR_SERVERS: [Ipv4Addr; 2] =
        [Ipv4Addr::new(192, 168, 200, 102), Ipv4Addr::new(192, 168, 200, 103)];
    /// The director's second leg, in the servers' subnet.
    pub const FAR_DIRECTOR: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 52);
    /// The router's address in the servers' subnet.
    pub const FAR_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 254);
}

use addresses::{
    CLIENT, DIRECTOR, FAR_DIRECTOR, FAR_ROUTER, FAR_SERVERS, NEAR_SERVERS, ROUTER, VIP,
};

/// Where the real servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Clients, director and real servers share 10.10.10.0/24.
    OneSubnet,
    /// The real servers are in 192.168.200.0/24, where the director has a second leg, because
    /// direct routing needs to reach a server's MAC address. Their way to the client is a router
    /// of its own: the replies bypass the director here too.
    ServerSubnet,
}

/// A command that builds the cluster, as a person would type it.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The host it is typed on; `None` is the machine that the namespaces are made on.
    pub host: Option<&'a str>,
    /// The command. Namespaces go by the host's name in it, their real names being longer.
    pub command: &'a str,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}# {}", self.host.unwrap_or_default(), self.command)
    }
}

/// A host of the cluster.
#[derive(Debug)]
pub struct Host {
    /// Its short name: `client`, `director`, `web1`…
    pub name: &'static str,
    /// Its network namespace.
    pub netns: Namespace,
    /// The address of its `eth0`.
    pub addr: Ipv4Addr,
}

impl Host {
    /// The MAC address of the device that has `addr`, see [`mac_of`].
    pub fn mac(&self) -> String {
        mac_of(self.addr)
    }
}

/// A running cluster; dropping it takes everything down.
#[derive(Debug)]
pub struct Cluster {
    /// Sends the requests.
    pub client: Host,
    /// Has the VIP on `eth0` and IPVS' table.
    pub director: Host,
    /// The real servers, with the VIP on `lo`.
    pub servers: [Host; 2],
    /// Between the two subnets of [`Layout::ServerSubnet`].
    pub router: Option<Host>,
    /// What the hosts are plugged into.
    _switch: Host,
}

impl Cluster {
    /// Builds the cluster; `label` tells its namespaces from others in `ip netns list`, and
    /// `observer` is told each command before it is carried out.
    ///
    /// # Errors
    ///
    /// If a command fails; the error shows what it said.
    pub fn build(label: &str, layout: Layout, observer: &mut dyn FnMut(Step<'_>)) -> Result<Self> {
        let mut builder = Builder { label, observer };
        let switch = builder.host("switch", Ipv4Addr::UNSPECIFIED)?;
        builder.bridge(&switch, "lan")?;

        let client = builder.host("client", CLIENT)?;
        builder.plug(&switch, "lan", &client, "eth0", CLIENT)?;

        let director = builder.host("director", DIRECTOR)?;
        builder.plug(&switch, "lan", &director, "eth0", DIRECTOR)?;
        builder.run(&director, &format!("ip addr add {VIP}/32 dev eth0"))?;

        let (subnet, addresses) = match layout {
            Layout::OneSubnet => ("lan", NEAR_SERVERS),
            Layout::ServerSubnet => ("servers", FAR_SERVERS),
        };
        let mut router = None;
        if layout == Layout::ServerSubnet {
            builder.bridge(&switch, subnet)?;
            builder.plug(&switch, subnet, &director, "eth1", FAR_DIRECTOR)?;
            router = Some(builder.router(&switch, subnet)?);
            builder.run(&client, &format!("ip route add 192.168.200.0/24 via {ROUTER}"))?;
        }
        let mut server = |name, addr| -> Result<Host> {
            let server = builder.host(name, addr)?;
            builder.real_server(&switch, subnet, &server)?;
            if layout == Layout::ServerSubnet {
                builder.run(&server, &format!("ip route add default via {FAR_ROUTER}"))?;
            }
            Ok(server)
        };
        let servers = [server("web1", addresses[0])?, server("web2", addresses[1])?];
        Ok(Self { client, director, servers, router, _switch: switch })
    }

    /// Requests `http://VIP/` from the client and returns the answer without its line's end.
    ///
    /// # Errors
    ///
    /// If there is no answer within 5 seconds.
    pub fn request(&self) -> Result<String> {
        let url = format!("http://{VIP}/");
        let mut curl = self.client.netns.command("curl");
        let answer = output(curl.args(["--silent", "--show-error", "--max-time", "5", &url]))?;
        Ok(answer.trim_end().to_owned())
    }
}

/// The MAC address that the device with `addr` has: `02:00`, then the last two numbers of the
/// address with two digits a byte, so that 10.10.10.102 has `02:00:00:10:01:02`.
pub(crate) fn mac_of(addr: Ipv4Addr) -> String {
    let [_, _, subnet, host] = addr.octets();
    let digits = |number: u8| format!("{:02}:{:02}", number / 100, number % 100);
    format!("02:00:{}:{}", digits(subnet), digits(host))
}

struct Builder<'a> {
    label: &'a str,
    observer: &'a mut dyn FnMut(Step<'_>),
}

impl Builder<'_> {
    fn host(&mut self, name: &'static str, addr: Ipv4Addr) -> Result<Host> {
        (self.observer)(Step { host: None, command: &format!("ip netns add {name}") });
        (self.observer)(Step { host: Some(name), command: "ip link set lo up" });
        let netns = Namespace::create(&format!("{}-{name}", self.label))?;
        Ok(Host { name, netns, addr })
    }

    fn bridge(&mut self, switch: &Host, name: &str) -> Result<()> {
        self.run(switch, &format!("ip link add {name} type bridge"))?;
        self.run(switch, &format!("ip link set {name} up"))
    }

    /// Lays a cable from the switch to a new device of `host` and gives that its address.
    fn plug(
        &mut self,
        switch: &Host,
        bridge: &str,
        host: &Host,
        device: &str,
        addr: Ipv4Addr,
    ) -> Result<()> {
        let port = format!("{}-{device}", host.name);
        let (name, mac) = (host.name, mac_of(addr));
        let cable = format!("ip link add {port} type veth peer name {device} address {mac}");
        self.report(switch, &format!("{cable} netns {name}"));
        self.carry_out(switch, &format!("{cable} netns {}", host.netns.name()))?;
        self.run(switch, &format!("ip link set {port} master {bridge} up"))?;
        self.run(host, &format!("ip link set {device} up"))?;
        self.run(host, &format!("ip addr add {addr}/24 dev {device}"))
    }

    fn router(&mut self, switch: &Host, subnet: &str) -> Result<Host> {
        let router = self.host("router", ROUTER)?;
        self.plug(switch, "lan", &router, "eth0", ROUTER)?;
        self.plug(switch, subnet, &router, "eth1", FAR_ROUTER)?;
        // Replies carry the VIP as their source, which the route back to it says to be on eth0:
        // the router must not take that for a forgery.
        self.sysctl(&router, "net.ipv4.conf.all.rp_filter=0")?;
        self.sysctl(&router, "net.ipv4.conf.eth1.rp_filter=0")?;
        self.sysctl(&router, "net.ipv4.ip_forward=1")?;
        Ok(router)
    }

    fn real_server(&mut self, switch: &Host, subnet: &str, server: &Host) -> Result<()> {
        self.plug(switch, subnet, server, "eth0", server.addr)?;
        // Before it has the VIP: answer ARP only for addresses of the device asked on, and name
        // only those in its own ARP requests.
        for device in ["all", "eth0"] {
            let conf = format!("net.ipv4.conf.{device}");
            self.sysctl(server, &format!("{conf}.arp_ignore=1 {conf}.arp_announce=2"))?;
        }
        self.run(server, &format!("ip addr add {VIP}/32 dev lo"))
    }

    fn sysctl(&mut self, host: &Host, settings: &str) -> Result<()> {
        self.report(host, &format!("sysctl -w {settings}"));
        for setting in settings.split(' ') {
            let (key, value) = setting.split_once('=').context("a setting is KEY=VALUE")?;
            host.netns.sysctl(key, value)?;
        }
        Ok(())
    }

    fn run(&mut self, host: &Host, command: &str) -> Result<()> {
        self.report(host, command);
        self.carry_out(host, command)
    }

    fn report(&mut self, host: &Host, command: &str) {
        (self.observer)(Step { host: Some(host.name), command });
    }

    fn carry_out(&self, host: &Host, command: &str) -> Result<()> {
        let arguments = command.strip_prefix("ip ").context("the cluster is built with ip")?;
        output(host.netns.ip().args(arguments.split(' ')))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_show_whose_they_are() {
        assert_eq!(mac_of(CLIENT), "02:00:00:10:00:01");
        assert_eq!(mac_of(NEAR_SERVERS[0]), "02:00:00:10:01:02");
        assert_eq!(mac_of(FAR_ROUTER), "02:00:02:00:02:54");
    }

    #[test]
    fn steps_read_like_a_shell() {
        let step = Step { host: Some("director"), command: "ip link set eth0 up" };
        assert_eq!(step.to_string(), "director# ip link set eth0 up");
    }
}
