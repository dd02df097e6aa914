//! Two directors for one virtual address, where the second takes over from the first.
//!
//! ```text
//!             client 10.10.10.1
//!                    │
//!     ═══════╤═══════╪═══════╤═══════════ 10.10.10.0/24
//!        director1   │   web1, web2
//!           .52      │    .102, .103
//!              director2   VIP on lo, no ARP for it
//!                 .54
//! ```
//!
//! This is [`Cluster`](crate::Cluster)'s direct routing with a second director. The virtual address
//! (VIP) 10.10.10.53 is on the first director's `eth0` until [`Directors::fail_over`].

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result, ensure};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, sendto, socket};

use crate::cluster::addresses::{CLIENT, DIRECTOR, NEAR_SERVERS, VIP};
use crate::cluster::mac_of;
use crate::harness::Context as TestContext;
use crate::namespace::Namespace;

/// The addresses of the directors.
const DIRECTORS: [Ipv4Addr; 2] = [DIRECTOR, Ipv4Addr::new(10, 10, 10, 54)];

/// Client, directors and real servers on one segment; dropping it takes everything down.
#[derive(Debug)]
pub struct Directors {
    /// Sends the requests.
    pub client: Namespace,
    /// The directors, the active one first.
    pub both: [Namespace; 2],
    /// The real servers, at the same addresses as in a single-subnet cluster.
    pub servers: [Namespace; 2],
    /// The switch that they are plugged into.
    switch: Namespace,
}

impl Directors {
    /// Builds the hosts and the network.
    ///
    /// # Errors
    ///
    /// If a command fails; the error includes its output.
    pub fn build(context: &mut TestContext) -> Result<Self> {
        Self::of(|name| context.netns(name))
    }

    /// Builds the hosts and the network in namespaces that `create` makes.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn of(mut create: impl FnMut(&str) -> Result<Namespace>) -> Result<Self> {
        let switch = create("switch")?;
        let mut cables = vec!["link add lan type bridge mcast_snooping 0".to_owned()];
        cables.push("link set lan up".to_owned());
        let mut host = |name: &str, addr| -> Result<Namespace> {
            let netns = create(name)?;
            // Make IPv6 addresses usable at once: no other host can have them.
            for devices in ["all", "default"] {
                netns.sysctl(&format!("net.ipv6.conf.{devices}.accept_dad"), "0")?;
            }
            let (mac, peer) = (mac_of(addr), netns.name());
            cables.push(format!(
                "link add {name} type veth peer name eth0 address {mac} netns {peer}"
            ));
            cables.push(format!("link set {name} master lan up"));
            Ok(netns)
        };
        let client = host("client", CLIENT)?;
        let both = [host("director1", DIRECTORS[0])?, host("director2", DIRECTORS[1])?];
        let servers = [host("web1", NEAR_SERVERS[0])?, host("web2", NEAR_SERVERS[1])?];
        switch.ip(&cables)?;
        let set_up = |netns: &Namespace, addr: Ipv4Addr, more: &[String]| {
            let plugged = ["link set eth0 up".to_owned(), format!("addr add {addr}/24 dev eth0")];
            netns.ip(&[&plugged, more].concat())
        };
        set_up(&client, CLIENT, &[])?;
        set_up(&both[0], DIRECTORS[0], &[format!("addr add {VIP}/32 dev eth0")])?;
        set_up(&both[1], DIRECTORS[1], &[])?;
        for (server, addr) in servers.iter().zip(NEAR_SERVERS) {
            for device in ["all", "eth0"] {
                server.sysctl(&format!("net.ipv4.conf.{device}.arp_ignore"), "1")?;
                server.sysctl(&format!("net.ipv4.conf.{device}.arp_announce"), "2")?;
            }
            set_up(server, addr, &[format!("addr add {VIP}/32 dev lo")])?;
        }
        Ok(Self { client, both, servers, switch })
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

    /// Cuts off the first director, gives the VIP to the second, and has the second announce it on
    /// the segment, as failover software does.
    ///
    /// # Errors
    ///
    /// If a command fails, or the announcement can't be sent.
    pub fn fail_over(&self) -> Result<()> {
        self.both[0]
            .ip(&[format!("addr del {VIP}/32 dev eth0"), "link set eth0 down".to_owned()])?;
        self.both[1].ip(&[format!("addr add {VIP}/32 dev eth0")])?;
        self.both[1].run(|| announce(VIP))?.context("cannot announce the virtual address")
    }

    /// The MAC address of a director.
    pub fn mac(director: usize) -> String {
        mac_of(DIRECTORS[director])
    }
}

/// Broadcasts a gratuitous ARP request (RFC 5227, section 3). Hosts that know another MAC address
/// for this IP address update it.
fn announce(addr: Ipv4Addr) -> Result<()> {
    let device = getifaddrs()?
        .filter(|device| device.interface_name == "eth0")
        .find_map(|device| device.address?.as_link_addr().copied())
        .context("eth0 has no MAC address")?;
    let mac = device.addr().context("eth0 has no MAC address")?;
    let frame = gratuitous_arp(mac, addr);
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
    let sent = sendto(socket.as_raw_fd(), &frame, &device, MsgFlags::empty())?;
    ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
    Ok(())
}

/// A broadcast Ethernet frame with an ARP request for `addr`, sent by the host that has it.
fn gratuitous_arp(mac: [u8; 6], addr: Ipv4Addr) -> Vec<u8> {
    // Both address types (Ethernet and IPv4), their lengths, and the operation "request".
    const REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    const ETHER_TYPE: [u8; 2] = [0x08, 0x06];
    let (broadcast, addr) = ([0xff; 6], addr.octets());
    [&broadcast[..], &mac, &ETHER_TYPE, &REQUEST, &mac, &addr, &[0; 6], &addr].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_announcement_is_as_wireshark_reads_it() {
        let frame = gratuitous_arp([2, 0, 0, 0x10, 0, 0x54], VIP);
        assert_eq!(frame.len(), 14 + 28, "an Ethernet header and an ARP packet for IPv4");
        assert_eq!(frame[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        assert_eq!(frame[28..32], frame[38..42], "sender and target are the same");
    }
}
