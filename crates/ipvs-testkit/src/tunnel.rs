//! The real server's end of a tunnel.

use std::net::IpAddr;
use std::process::Command;

use anyhow::Result;
use lab::process::output;

use crate::cluster::Host;

/// How a tunnel encapsulates packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Just another IP header.
    Ip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port to listen on.
        port: u16,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Whether packets must carry a checksum. Linux drops packets without one if set, and
        /// packets with one if not.
        checksum: bool,
    },
}

/// A device that decapsulates packets of both address families, from any sender.
///
/// A host accepts one kind of tunnel at a time; packets in any other encapsulation are lost.
#[derive(Debug)]
pub struct TunnelEnd<'a> {
    host: &'a Host,
    /// The `ip` commands that take it down.
    close: Vec<String>,
}

/// The name of the device. A host has one at a time.
const DEVICE: &str = "tunnel0";

impl<'a> TunnelEnd<'a> {
    /// Creates the device on `host`, for packets whose outer header is addressed to `outer`.
    ///
    /// # Errors
    ///
    /// If the kernel lacks this kind of device, or `host` already has a tunnel.
    pub fn open(host: &'a Host, wrapping: Wrapping, outer: IpAddr) -> Result<Self> {
        // `any`: IPv4 and IPv6 inside.
        let kind = match (wrapping, outer) {
            (Wrapping::Gre { .. }, IpAddr::V4(_)) => "gre",
            (Wrapping::Gre { .. }, IpAddr::V6(_)) => "ip6gre",
            (_, IpAddr::V4(_)) => "sit mode any",
            (_, IpAddr::V6(_)) => "ip6tnl mode any",
        };
        let checksum = match wrapping {
            Wrapping::Gre { checksum: true } => "icsum",
            _ => "",
        };
        let mut open = Vec::new();
        let mut close = vec![format!("link del {DEVICE}")];
        if let Wrapping::Gue { port } = wrapping {
            // The kernel only loads the module by itself when a route refers to it.
            output(Command::new("modprobe").arg("fou"))?;
            let family = if outer.is_ipv6() { "-6" } else { "" };
            open.push(format!("fou add port {port} gue {family}"));
            close.push(format!("fou del port {port} {family}"));
        }
        open.push(format!("link add {DEVICE} type {kind} local {outer} {checksum}"));
        open.push(format!("link set {DEVICE} up"));
        host.netns.ip(&open)?;
        // Requests arrive through the tunnel, but replies to the client take a different path.
        for device in ["all", DEVICE] {
            host.netns.sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), "0")?;
        }
        Ok(Self { host, close })
    }

    /// Takes the device down; otherwise it lives as long as its host.
    ///
    /// # Errors
    ///
    /// If the device is already gone.
    pub fn close(self) -> Result<()> {
        self.host.netns.ip(&self.close)
    }
}
