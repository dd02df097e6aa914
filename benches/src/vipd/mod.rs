//! What the benchmarks of adverts share: the loads, the network, the programs' files, and the results.

pub mod bare;
pub mod files;
pub mod network;
pub mod report;
pub mod settings;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The network interface that all virtual routers share.
pub const INTERFACE: &str = "adverts";

/// Its own address.
pub const OWN: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);

/// Virtual routers that are all Active.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many, from 1 to 255.
    pub routers: u8,
    /// The time between two adverts of each, in milliseconds.
    pub interval: u64,
    /// Whether each sends at a time of its own. Otherwise all are due at once, as after a start with
    /// equal priorities.
    pub is_spread: bool,
}

impl Load {
    /// The time between two adverts of each.
    pub const fn interval(self) -> Duration {
        Duration::from_millis(self.interval)
    }

    /// Number, priority and address of each.
    pub fn virtual_routers(self) -> impl Iterator<Item = (u8, u8, Ipv4Addr)> {
        (1..=self.routers).map(move |vrid| {
            // How long a router waits before it takes over depends on its priority (RFC 9568 §6.1), and
            // that time is when it sends from then on. 255 would be an owner's.
            let priority = if self.is_spread { vrid.min(254) } else { 100 };
            (vrid, priority, Ipv4Addr::new(10, 9, 1, vrid))
        })
    }
}
