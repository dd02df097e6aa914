//! The network: two directors and a client on one segment.
//!
//! ```text
//!     director1      director2       client
//!     10.9.0.1       10.9.0.2        10.9.0.9
//!     fe80::1        fe80::2         fe80::9
//!         └──────────────┴──── lan ─────┘
//! ```
//!
//! A cable between two directors alone would take one's carrier down with the other's.

use std::net::UdpSocket;
use std::time::Duration;

use anyhow::{Result, ensure};
use ipvs_testkit::{Context, Namespace, eventually, output};

/// The IPv4 address that moves.
pub const VIP: &str = "10.9.0.100";
/// The IPv6 address that moves.
pub const VIP6: &str = "fd09::100";
/// The link-local address that moves with it: VRRP wants one first (RFC 9568 §5.2.9).
pub const LINK_LOCAL: &str = "fe80::100";

/// The directors' own IPv4 addresses.
pub const OWN: [&str; 2] = ["10.9.0.1", "10.9.0.2"];

/// Several times what anything here takes on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The network.
#[derive(Debug)]
pub struct Stage {
    /// Both directors.
    pub directors: [Namespace; 2],
    /// A client on their segment.
    pub client: Namespace,
    switch: Namespace,
}

impl Stage {
    /// Builds it in namespaces of a test.
    ///
    /// # Errors
    ///
    /// If a namespace or a device can't be made.
    pub fn build(context: &mut Context) -> Result<Self> {
        Self::of(|name| context.netns(name))
    }

    /// Builds it in namespaces that `create` makes.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn of(mut create: impl FnMut(&str) -> Result<Namespace>) -> Result<Self> {
        let switch = create("switch")?;
        switch.ip(&["link add lan type bridge mcast_snooping 0", "link set lan up"])?;
        let mut host = |name: &str, number: u8| -> Result<Namespace> {
            let netns = create(name)?;
            // Addresses are usable at once: no other host can have them.
            for devices in ["all", "default"] {
                netns.sysctl(&format!("net.ipv6.conf.{devices}.accept_dad"), "0")?;
                netns.sysctl(&format!("net.ipv6.conf.{devices}.addr_gen_mode"), "1")?;
            }
            let mac = format!("02:00:00:09:00:{number:02x}");
            let peer = netns.name();
            switch.ip(&[
                format!("link add {name} type veth peer name eth0 address {mac} netns {peer}"),
                format!("link set {name} master lan up"),
            ])?;
            netns.ip(&[
                "link set eth0 up".to_owned(),
                format!("addr add 10.9.0.{number}/24 dev eth0"),
                format!("addr add fe80::{number}/64 dev eth0 nodad"),
                format!("addr add fd09::{number}/64 dev eth0 nodad"),
            ])?;
            Ok(netns)
        };
        let directors = [host("director1", 1)?, host("director2", 2)?];
        let client = host("client", 9)?;
        Ok(Self { directors, client, switch })
    }

    /// Pulls the cable of a director, or plugs it in again.
    ///
    /// # Errors
    ///
    /// If ip(8) fails.
    pub fn plug(&self, director: usize, is_in: bool) -> Result<()> {
        let state = if is_in { "up" } else { "down" };
        self.switch.ip(&[format!("link set director{} {state}", director + 1)])
    }

    /// Keeps the directors from hearing each other, or lets them again. The client hears both.
    ///
    /// # Errors
    ///
    /// If ip(8) fails.
    pub fn separate(&self, apart: bool) -> Result<()> {
        let state = if apart { "on" } else { "off" };
        let port =
            |number: u8| format!("link set director{number} type bridge_slave isolated {state}");
        self.switch.ip(&[port(1), port(2)])
    }

    /// Waits until the client, which knows nothing of it any more, finds this address at this MAC
    /// address.
    ///
    /// # Errors
    ///
    /// If that doesn't happen within [`LIMIT`].
    pub fn until_found(&self, address: &str, mac: &str) -> Result<()> {
        let any = if address.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        eventually(LIMIT, || {
            self.client.ip(&["neighbor flush dev eth0"])?;
            // Any packet makes the client look for the address.
            self.client.run(|| UdpSocket::bind(any)?.send_to(b"hello", (address, 9)))??;
            eventually(Duration::from_secs(3), || {
                let mut ip = self.client.command("ip");
                let said = output(ip.args(["neighbor", "show", address]))?;
                ensure!(said.contains(mac), "{address} isn't at {mac}: {said:?}");
                Ok(())
            })
        })
    }

    /// The MAC address of a director.
    pub fn mac(director: usize) -> String {
        format!("02:00:00:09:00:{:02x}", director + 1)
    }
}
