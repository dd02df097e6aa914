//! The direct-routing cluster that introductions to LVS start with.
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
//! Requests reach the director, which has the virtual address (VIP) 10.10.10.53. It forwards them
//! unchanged to a real server's MAC address. The real server accepts them because it has the VIP
//! too, and replies directly to the client. Only the director may answer ARP requests for the VIP.
//!
//! Other [layouts](Layout) place the real servers elsewhere. A [dual-stack](Cluster::dual_stack)
//! cluster has an IPv6 address for each IPv4 one.

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
    /// The virtual address that clients connect to.
    pub const VIP: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 53);
    /// The virtual IPv6 address, `2001:db8:0:10::53`.
    pub const VIP6: Ipv6Addr = twin(VIP);
    /// The two real servers when they share the clients' subnet.
    pub const NEAR_SERVERS: [Ipv4Addr; 2] =
        [Ipv4Addr::new(10, 10, 10, 102), Ipv4Addr::new(10, 10, 10, 103)];
    /// The router's address in the clients' subnet.
    pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 254);

    /// The two real servers when they have a subnet of their own.
    pub const FAR_SERVERS: [Ipv4Addr; 2] =
        [Ipv4Addr::new(192, 168, 200, 102), Ipv4Addr::new(192, 168, 200, 103)];
    /// The director's second address, in the real servers' subnet.
    pub const FAR_DIRECTOR: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 52);
    /// The router's address in the real servers' subnet.
    pub const FAR_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 200, 254);
}

use addresses::{
    CLIENT, DIRECTOR, FAR_DIRECTOR, FAR_ROUTER, FAR_SERVERS, NEAR_SERVERS, ROUTER, VIP, VIP6,
};

/// The IPv6 address of the device that has `addr`: `2001:db8:0`, then the last two numbers of
/// `addr` with the same digits. For example, 10.10.10.102 goes with `2001:db8:0:10::102`.
pub const fn twin(addr: Ipv4Addr) -> Ipv6Addr {
    let [_, _, subnet, host] = addr.octets();
    Ipv6Addr::new(0x2001, 0xdb8, 0, spelled(subnet), 0, 0, 0, spelled(host))
}

/// The number whose hexadecimal digits are the decimal digits of `number`.
const fn spelled(number: u8) -> u16 {
    let number = number as u16;
    number / 100 * 0x100 + number / 10 % 10 * 0x10 + number % 10
}

/// Where the real servers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Clients, director and real servers share 10.10.10.0/24.
    OneSubnet,
    /// The real servers are in 192.168.200.0/24. The director has a second interface there, because
    /// direct routing needs to reach a real server's MAC address. The real servers reach the client
    /// through a router of their own, so replies bypass the director here too.
    ServerSubnet,
    /// The real servers are in 192.168.200.0/24 behind the director. It is their only way out, as
    /// masquerading requires. They don't have the VIP, and no other host has a route to them.
    BehindDirector,
}

/// A command that builds the cluster, as a person would type it. The commands are executed in
/// batches, with the same result.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The host to type it on; `None` is the machine that hosts the namespaces.
    pub host: Option<&'a str>,
    /// The command. It names each namespace after its host, because the real names are longer.
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

    /// The address of its `eth0` in the same address family as `other`.
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
    /// Has the VIP on `eth0`, and the IPVS table.
    pub director: Host,
    /// The real servers, with the VIP on `lo`.
    pub servers: [Host; 2],
    /// Connects the two subnets of [`Layout::ServerSubnet`].
    pub router: Option<Host>,
    /// The switch that the hosts are plugged into.
    _switch: Host,
}

impl Cluster {
    /// Builds the cluster. `label` distinguishes its namespaces in `ip netns list`; `observer` is
    /// called with each command.
    ///
    /// # Errors
    ///
    /// If a command fails; the error includes its output.
    pub fn build(label: &str, layout: Layout, observer: &mut dyn FnMut(Step<'_>)) -> Result<Self> {
        Self::assemble(layout, Builder { label, observer, ipv6: false })
    }

    /// Builds the cluster with an IPv6 address for each IPv4 one: its [`twin`].
    ///
    /// # Errors
    ///
    /// See [`Cluster::build`].
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
            // This comes first because it creates the other hosts' devices.
            _switch: builder.set_up(switch)?,
            client: builder.set_up(client)?,
            director: builder.set_up(director)?,
            router: router.map(|router| builder.set_up(router)).transpose()?,
            servers: [builder.set_up(web1)?, builder.set_up(web2)?],
        })
    }

    /// Requests `http://VIP/` from the client and returns the response without its trailing
    /// newline.
    ///
    /// # Errors
    ///
    /// If the connection is refused, or nothing arrives for 20 seconds.
    pub fn request(&self) -> Result<String> {
        self.request_from((VIP, 80))
    }

    /// Requests `/` of a web server from the client and returns the response without its trailing
    /// newline.
    ///
    /// # Errors
    ///
    /// See [`Cluster::request`].
    pub fn request_from(&self, server: impl Into<SocketAddr>) -> Result<String> {
        let server = server.into();
        let answer = self.client.netns.run(|| get(server))?;
        let answer =
            answer.with_context(|| format!("no answer to a request for http://{server}/"))?;
        let (_, body) = answer.split_once("\r\n\r\n").context("the answer isn't HTTP")?;
        Ok(body.trim_end().to_owned())
    }
}

/// How long a request may wait for each packet of the response.
const REQUEST_LIMIT: Duration = Duration::from_secs(20);

/// Requests `/` from a web server on a new connection; returns the response with its headers.
fn get(server: SocketAddr) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, REQUEST_LIMIT)?;
    stream.set_read_timeout(Some(REQUEST_LIMIT))?;
    // One write, and so one packet.
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The MAC address of the device that has `addr`: `02:00`, then the last two numbers of the address
/// with two digits a byte. For example, 10.10.10.102 has `02:00:00:10:01:02`.
pub(crate) fn mac_of(addr: Ipv4Addr) -> String {
    let [_, _, subnet, host] = addr.octets();
    let digits = |number: u8| format!("{:02}:{:02}", number / 100, number % 100);
    format!("02:00:{}:{}", digits(subnet), digits(host))
}

/// A host and how to set it up: first the sysctls, then the `ip` commands, in this order.
struct Draft {
    host: Host,
    sysctls: Vec<String>,
    ip: Vec<String>,
    /// The same commands, with namespaces named after their hosts.
    ip_as_shown: Vec<String>,
    /// Whether it also has IPv6 addresses.
    ipv6: bool,
}

impl Draft {
    fn ip(&mut self, command: impl Into<String>) {
        let command = command.into();
        self.ip_as_shown.push(command.clone());
        self.ip.push(command);
    }

    /// Adds a command that only a host with IPv6 needs.
    fn ip6(&mut self, command: impl Into<String>) {
        if self.ipv6 {
            self.ip(command);
        }
    }

    fn bridge(&mut self, name: &str) {
        self.ip(format!("link add {name} type bridge"));
        self.ip(format!("link set {name} up"));
    }

    /// Connects this switch to a new device of `other`, which gets the address `addr`.
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
        // Keep the director from choosing this as a source address: the real servers have it too,
        // and would drop tunneled packets that come from it.
        self.ip6(format!("addr add {VIP6}/128 dev eth0 preferred_lft 0"));
    }

    fn default_route(&mut self, gateway: Ipv4Addr) {
        self.ip(format!("route add default via {gateway}"));
        self.ip6(format!("route add default via {}", twin(gateway)));
    }

    fn take_packets_for_the_vip(&mut self) {
        // Answer ARP only for addresses of the device that was asked, and use only those in ARP
        // requests. This must be in force before the host has the VIP.
        for device in ["all", "eth0"] {
            let conf = format!("net.ipv4.conf.{device}");
            self.sysctls.push(format!("{conf}.arp_ignore=1 {conf}.arp_announce=2"));
        }
        self.ip(format!("addr add {VIP}/32 dev lo"));
        // With IPv6, a host only advertises an address on the device that has it.
        self.ip6(format!("addr add {VIP6}/128 dev lo"));
    }

    fn forward_packets(&mut self) {
        // Replies have the VIP as their source, but the route back to the VIP points to eth0. The
        // router must not drop them as spoofed.
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
            // IPv6 may be a module, which opening the first socket loads.
            netns.run(|| UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)))?.context("no IPv6 here")?;
            // Make addresses usable at once: no other host has them.
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
