//! The real servers' end of a tunnel.

use std::net::IpAddr;
use std::process::Command;

use anyhow::Result;
use lab::process::output;

use crate::cluster::Host;

/// What a tunnel wraps packets in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapping {
    /// Another IP header alone.
    Ip,
    /// Generic UDP encapsulation.
    Gue {
        /// The UDP port to listen on.
        port: u16,
    },
    /// Generic routing encapsulation.
    Gre {
        /// Whether there has to be a checksum: Linux drops what comes without one then, and what
        /// comes with one otherwise.
        checksum: bool,
    },
}

/// A device that takes packets of both families out of a tunnel, whoever they come from.
///
/// A host accepts one kind at a time, so that a packet in any other wrapping is lost.
#[derive(Debug)]
pub struct TunnelEnd<'a> {
    host: &'a Host,
    /// What takes it down.
    close: Vec<String>,
}

/// The device. A host has one at a time.
const DEVICE: &str = "tunnel0";

impl<'a> TunnelEnd<'a> {
    /// Makes the device on `host`, for packets whose outer header is addressed to `outer`.
    ///
    /// # Errors
    ///
    /// If the kernel lacks the kind of device, or `host` has a tunnel's end already.
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
            // The kernel looks for it by itself only when a route names it.
            output(Command::new("modprobe").arg("fou"))?;
            let family = if outer.is_ipv6() { "-6" } else { "" };
            open.push(format!("fou add port {port} gue {family}"));
            close.push(format!("fou del port {port} {family}"));
        }
        open.push(format!("link add {DEVICE} type {kind} local {outer} {checksum}"));
        open.push(format!("link set {DEVICE} up"));
        host.netns.ip(&open)?;
        // Requests come out of the tunnel, but the way back to the client is another.
        for device in ["all", DEVICE] {
            host.netns.sysctl(&format!("net.ipv4.conf.{device}.rp_filter"), "0")?;
        }
        Ok(Self { host, close })
    }

    /// Takes the device down; otherwise it stays as long as its host.
    ///
    /// # Errors
    ///
    /// If somebody else has taken it down.
    pub fn close(self) -> Result<()> {
        self.host.netns.ip(&self.close)
    }
}
