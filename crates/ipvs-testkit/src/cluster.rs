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
//!
//! Other [layouts](Layout) put the real servers elsewhere. A [dual-stack](Cluster::dual_stack)
//! cluster has an IPv6 address beside each IPv4 one.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::namespace::Namespace;

/// The addresses of the cluster.
pub mod addresses {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::twin;

    /// The client.
    pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
    /// The director's own address.
    pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 52);
    /// The virtual address, which the clients connect to.
    pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 53);
    /// The virtual address for IPv6, `2001:db8:0:10::53`.
    pub const VIP6: Ipv6Addr = twin(VIP);
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
    CLIENT, DIRECTOR, FAR_DIRECTOR, FAR_ROUTER, FAR_SERVERS, NEAR_SERVERS, ROUTER, VIP, VIP6,
};

/// The IPv6 address of the device that has `addr`: `2001:db8:0` and the last two numbers of `addr`,
/// spelled alike, so that 10.10.10.102 goes with `2001:db8:0:10::102`.
pub const fn twin(addr: Ipv4Addr) -> Ipv6Addr {
    let [_, _, subnet, host] = addr.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0, spelled(subnet), 0, 0, 0, spelled(host))
}

/// The number whose hexadecimal digits are the decimal ones of `number`.
const fn spelled(number: u8) -> u16 {
    let number = number as u16;
    number / 100 * 0x100 + number / 10 % 10 * 0x10 + number % 10
}

/// Where the real servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Clients, director and real servers share 10.10.10.0/24.
    OneSubnet,
    /// The real servers are in 192.168.200.0/24, where the director has a second leg, because
    /// direct routing needs to reach a server's MAC address. Their way to the client is a router
    /// of its own: the replies bypass the director here too.
    ServerSubnet,
    /// The real servers are in 192.168.200.0/24 behind the director, which is their only way out,
    /// as masquerading needs it. They don't have the VIP, and nobody else has a route to them.
    BehindDirector,
}

/// A command that builds the cluster, as a person would type it (they are executed in bundles,
/// to the same effect).
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
    /// The MAC address of the device that has `addr`: 10.10.10.102 has `02:00:00:10:01:02`.
    pub fn mac(&self) -> String {
        mac_of(self.addr)
    }

    /// The address of its `eth0` that is of the same family as `other`.
    pub fn addr_like(&self, other: IpAddr) -> IpAddr {
        match other {
            IpAddr::V4(_) => self.addr.into(),
            IpAddr::V6(_) => twin(self.addr).into(),
        }
    }
}

/// A running cluster; dropping it takes everything down.
#[derive(Debug)]
pub struct Cluster {
    /// Sends the requests.
    pub client: Host,
    /// Has the VIP on `eth0` and IPVS's table.
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
    /// `observer` is told each command.
    ///
    /// # Errors
    ///
    /// If a command fails; the error shows what it said.
    pub fn build(label: &str, layout: Layout, observer: &mut dyn FnMut(Step<'_>)) -> Result<Self> {
        Self::assemble(layout, Builder { label, observer, ipv6: false })
    }

    /// Builds the cluster with an IPv6 address beside each IPv4 one, its [`twin`].
    ///
    /// # Errors
    ///
    /// As [`Cluster::build`].
    pub fn dual_stack(label: &str, layout: Layout) -> Result<Self> {
        Self::assemble(layout, Builder { label, observer: &mut |_| (), ipv6: true })
    }

    fn assemble(layout: Layout, mut builder: Builder<'_>) -> Result<Self> {
        let near = layout == Layout::OneSubnet;
        let (subnet, [addr1, addr2]) =
            if near { ("lan", NEAR_SERVERS) } else { ("servers", FAR_SERVERS) };

        let mut switch = builder.host("switch", Ipv4Addr::UNSPECIFIED)?;
        let mut client = builder.host("client", CLIENT)?;
        let mut director = builder.host("director", DIRECTOR)?;
        let mut servers = [builder.host("web1", addr1)?, builder.host("web2", addr2)?];
        let mut router = match layout {
            Layout::ServerSubnet => Some(builder.host("router", ROUTER)?),
            Layout::OneSubnet | Layout::BehindDirector => None,
        };

        switch.bridge("lan");
        switch.plug("lan", &mut client, "eth0", CLIENT);
        switch.plug("lan", &mut director, "eth0", DIRECTOR);
        director.take_the_vip();
        if !near {
            switch.bridge(subnet);
            switch.plug(subnet, &mut director, "eth1", FAR_DIRECTOR);
        }
        if let Some(router) = &mut router {
            switch.plug("lan", router, "eth0", ROUTER);
            switch.plug(subnet, router, "eth1", FAR_ROUTER);
            router.forward_packets();
            client.ip(format!("route add 192.168.200.0/24 via {ROUTER}"));
            client.ip6(format!("route add 2001:db8:0:200::/64 via {}", twin(ROUTER)));
        }
        if layout == Layout::BehindDirector {
            director.forward_packets();
        }
        for server in &mut servers {
            switch.plug(subnet, server, "eth0", server.host.addr);
            match layout {
                Layout::OneSubnet => server.take_packets_for_the_vip(),
                Layout::ServerSubnet => {
                    server.take_packets_for_the_vip();
                    server.default_route(FAR_ROUTER);
                }
                Layout::BehindDirector => server.default_route(FAR_DIRECTOR),
            }
        }

        let [web1, web2] = servers;
        Ok(Self {
            // First, because it makes the other hosts' devices.
            _switch: builder.set_up(switch)?,
            client: builder.set_up(client)?,
            director: builder.set_up(director)?,
            router: router.map(|router| builder.set_up(router)).transpose()?,
            servers: [builder.set_up(web1)?, builder.set_up(web2)?],
        })
    }

    /// Requests `http://VIP/` from the client and returns the answer without its line's end.
    ///
    /// # Errors
    ///
    /// If the connection is refused, or nothing comes for 20 seconds.
    pub fn request(&self) -> Result<String> {
        self.request_from((VIP, 80))
    }

    /// Requests `/` of a web server from the client and returns the answer without its line's end.
    ///
    /// # Errors
    ///
    /// As [`Cluster::request`].
    pub fn request_from(&self, server: impl Into<SocketAddr>) -> Result<String> {
        let server = server.into();
        let answer = self.client.netns.run(|| get(server))?;
        let answer =
            answer.with_context(|| format!("no answer to a request for http://{server}/"))?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the answer isn't HTTP")?;
        Ok(body.trim_end().to_owned())
    }
}

/// How long a request may wait for each packet of the answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Asks a web server for `/` on a connection of its own; the answer with its headers.
fn get(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, REQUEST_LIMIT)?;
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    // In one write, and so in one packet.
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The MAC address that the device with `addr` has: `02:00`, then the last two numbers of the
/// address with two digits a byte, so that 10.10.10.102 has `02:00:00:10:01:02`.
pub(crate) fn mac_of(addr: Ipv4Addr) -> String {
    let [_, _, subnet, host] = addr.octets();
    let digits = |number: u8| format!("{:02}:{:02}", number / 100, number % 100);
    format!("02:00:{}:{}", digits(subnet), digits(host))
}

/// A host and what is to be done on it, in this order: first the sysctls, then commands of `ip`.
struct Draft {
    host: Host,
    sysctls: Vec<String>,
    ip: Vec<String>,
    /// The same with namespaces going by their hosts' names.
    ip_as_shown: Vec<String>,
    /// Whether it has IPv6 addresses too.
    ipv6: bool,
}

impl Draft {
    fn ip(&mut self, command: impl Into<String>) {
        let command = command.into();
        self.ip_as_shown.push(command.clone());
        self.ip.push(command);
    }

    /// A command that only a host with IPv6 needs.
    fn ip6(&mut self, command: impl Into<String>) {
        if self.ipv6 {
            self.ip(command);
        }
    }

    fn bridge(&mut self, name: &str) {
        self.ip(format!("link add {name} type bridge"));
        self.ip(format!("link set {name} up"));
    }

    /// Lays a cable from this switch to a new device of `other` and gives that its address.
    fn plug(&mut self, bridge: &str, other: &mut Self, device: &str, addr: Ipv4Addr) {
        let (name, mac) = (other.host.name, mac_of(addr));
        let cable = format!("link add {name}-{device} type veth peer name {device} address {mac}");
        self.ip_as_shown.push(format!("{cable} netns {name}"));
        self.ip.push(format!("{cable} netns {}", other.host.netns.name()));
        self.ip(format!("link set {name}-{device} master {bridge} up"));
        other.ip(format!("link set {device} up"));
        other.ip(format!("addr add {addr}/24 dev {device}"));
        other.ip6(format!("addr add {}/64 dev {device}", twin(addr)));
    }

    fn take_the_vip(&mut self) {
        self.ip(format!("addr add {VIP}/32 dev eth0"));
        // Never a source address of the director's own choice: the real servers have it too, and
        // would drop a tunnel's packets from it.
        self.ip6(format!("addr add {VIP6}/128 dev eth0 preferred_lft 0"));
    }

    fn default_route(&mut self, gateway: Ipv4Addr) {
        self.ip(format!("route add default via {gateway}"));
        self.ip6(format!("route add default via {}", twin(gateway)));
    }

    fn take_packets_for_the_vip(&mut self) {
        // Answer ARP only for addresses of the device asked on, and name only those in ARP
        // requests: in force before the host has the VIP.
        for device in ["all", "eth0"] {
            let conf = format!("net.ipv4.conf.{device}");
            self.sysctls.push(format!("{conf}.arp_ignore=1 {conf}.arp_announce=2"));
        }
        self.ip(format!("addr add {VIP}/32 dev lo"));
        // IPv6 hosts name an address only on the device that has it.
        self.ip6(format!("addr add {VIP6}/128 dev lo"));
    }

    fn forward_packets(&mut self) {
        // Replies carry the VIP as their source, which the route back to it says to be on eth0:
        // the router must not take that for a forgery.
        let conf = "net.ipv4.conf";
        self.sysctls.push(format!("{conf}.all.rp_filter=0 {conf}.eth1.rp_filter=0"));
        self.sysctls.push("net.ipv4.ip_forward=1".to_owned());
        if self.ipv6 {
            self.sysctls.push("net.ipv6.conf.all.forwarding=1".to_owned());
        }
    }
}

struct Builder<'a> {
    label: &'a str,
    observer: &'a mut dyn FnMut(Step<'_>),
    ipv6: bool,
}

impl Builder<'_> {
    fn host(&mut self, name: &'static str, addr: Ipv4Addr) -> Result<Draft> {
        (self.observer)(Step { host: None, command: &format!("ip netns add {name}") });
        let netns = Namespace::create_bare(&format!("{}-{name}", self.label))?;
        if self.ipv6 {
            // IPv6 may be a module, which the first socket loads.
            netns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)))?.context("no IPv6 here")?;
            // Addresses can be used at once: nobody else has them.
            netns.sysctl("net.ipv6.conf.default.accept_dad", "0")?;
        }
        let host = Host { name, netns, addr };
        let ipv6 = self.ipv6;
        let mut draft =
            Draft { host, sysctls: Vec::new(), ip: Vec::new(), ip_as_shown: Vec::new(), ipv6 };
        draft.ip("link set lo up");
        Ok(draft)
    }

    fn set_up(&mut self, draft: Draft) -> Result<Host> {
        let Draft { host, sysctls, ip, ip_as_shown, .. } = draft;
        for settings in sysctls {
            self.report(&host, &format!("sysctl -w {settings}"));
            for setting in settings.split(' ') {
                let (key, value) = setting.split_once('=').context("a setting is KEY=VALUE")?;
                host.netns.sysctl(key, value)?;
            }
        }
        for command in ip_as_shown {
            self.report(&host, &format!("ip {command}"));
        }
        host.netns.ip(&ip)?;
        Ok(host)
    }

    fn report(&mut self, host: &Host, command: &str) {
        (self.observer)(Step { host: Some(host.name), command });
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
    fn ipv6_addresses_show_whose_they_are() {
        assert_eq!(VIP6.to_string(), "2001:db8:0:10::53");
        assert_eq!(twin(FAR_SERVERS[1]).to_string(), "2001:db8:0:200::103");
    }

    #[test]
    fn steps_read_like_a_shell() {
        let step = Step { host: Some("director"), command: "ip link set eth0 up" };
        assert_eq!(step.to_string(), "director# ip link set eth0 up");
    }
}
