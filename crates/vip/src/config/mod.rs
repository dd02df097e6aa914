//! The file `vip.toml`: which addresses move, where, and what their priority depends on.

mod file;
pub(crate) mod keys;
mod read;
mod value;

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipvs::ServiceKey;
use vrrp::{Checksum, Interval, Password, Preempt, Version, Vrid};

pub use read::parse;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The virtual addresses, in the order of the file.
    pub vips: Vec<Vip>,
}

/// Addresses that move together: a table `[[vip]]`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Vip {
    /// What it is called.
    pub name: String,
    /// The network interface on which they are.
    pub interface: String,
    /// The number of the virtual router.
    pub router_id: Vrid,
    /// The version of VRRP; 3 by default.
    pub version: Version,
    /// A password, in version 2.
    pub password: Option<Password>,
    /// 255 for the owner of the addresses; 100 by default.
    pub priority: u8,
    /// The time between two adverts; a second by default.
    pub interval: Interval,
    /// The addresses, in the order of the file.
    pub addresses: Vec<Address>,
    /// Whether it takes over from a worse router; always by default.
    pub preempt: Preempt,
    /// Which checksum version 3 has over IPv4.
    pub checksum: Checksum,
    /// The other routers, if adverts go to each of them. Empty: by multicast.
    pub peers: Vec<IpAddr>,
    /// What the priority depends on.
    pub track: Vec<Track>,
    /// The synchronization of connections that follows the addresses.
    pub sync: Option<Sync>,
    /// A command that is run at each change of state: a program and its arguments.
    pub notify: Vec<String>,
}

/// An address on the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// The length of its prefix: 32 or 128 by default, an address without a network.
    pub prefix: u8,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

/// Something that the priority depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Track {
    /// What it is.
    pub what: Tracked,
    /// As in keepalived: with 0 the router leaves while it is down; a negative weight is added while
    /// it is down, a positive one while it is up.
    pub weight: i16,
}

/// What may be up or down.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Tracked {
    /// A network interface: up as long as it exists and has a carrier.
    Interface(String),
    /// A command: up as long as it exits with 0.
    Script {
        /// The program and its arguments. No shell interprets them.
        command: Vec<String>,
        /// The time from one start to the next; a second by default.
        every: Duration,
        /// How long it may take; as long as the time from one start to the next by default.
        timeout: Duration,
        /// How many successes in a row bring it up; 1 by default.
        rise: u16,
        /// How many failures in a row take it down; 1 by default.
        fall: u16,
    },
    /// A virtual service of an instance of `ldirectord`.
    Service {
        /// The virtual service.
        service: ServiceKey,
        /// The name of the instance: that of its file, or `ldirectord` if it was started without one.
        instance: String,
        /// How many real servers have to take traffic; 1 by default.
        min_up: u32,
        /// For how long the instance may say nothing before the service counts as down; 5 seconds by
        /// default.
        silence: Duration,
    },
}

impl fmt::Display for Tracked {
    /// `interface eth1`, `script /usr/local/bin/check`, `service tcp/10.10.10.53:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interface(name) => write!(f, "interface {name}"),
            Self::Script { command, .. } => write!(f, "script {}", command.join(" ")),
            Self::Service { service, .. } => write!(f, "service {service}"),
        }
    }
}

/// The kernel's daemon for the synchronization of connections: master where the addresses are,
/// backup elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// The network interface over which it talks.
    pub interface: String,
    /// The number that both ends share; the virtual router's by default.
    pub id: u8,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong.
    pub message: String,
    /// Where, in bytes of the text.
    pub span: Range<usize>,
    /// What to do about it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// The line and the column of the mistake in its text, from 1 on. Columns are characters.
    pub fn place(&self, text: &str) -> (usize, usize) {
        let start =
            (0..=self.span.start.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let before = &text[..start.unwrap_or(0)];
        let line = before.rfind('\n').map_or(0, |end| end + 1);
        (before.matches('\n').count() + 1, before[line..].chars().count() + 1)
    }
}

impl Vip {
    /// Its virtual routers: one for each family of its addresses, IPv4 first.
    pub fn routers(&self) -> impl Iterator<Item = vrrp::Config> + '_ {
        [true, false].into_iter().filter_map(|v4| {
            let same = move |ip: &IpAddr| ip.is_ipv4() == v4;
            let ips: Vec<IpAddr> = self.addresses.iter().map(|it| it.ip).filter(same).collect();
            if ips.is_empty() {
                return None;
            }
            let mut config = vrrp::Config::new(self.version, self.router_id, ips)
                .priority(self.priority)
                .interval(self.interval)
                .preempt(self.preempt)
                .checksum(self.checksum)
                .peers(self.peers.iter().copied().filter(same));
            if let Some(password) = self.password {
                config = config.password(password);
            }
            Some(config)
        })
    }
}

#[cfg(test)]
mod tests;
