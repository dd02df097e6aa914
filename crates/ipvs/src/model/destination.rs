//! Real servers: the desired configuration, and what the kernel reports.

use std::net::IpAddr;

use crate::model::forward::Forward;
use crate::model::key::DestinationKey;
use crate::model::stats::Stats;

/// A real server (destination) of a virtual service, as a user wants it.
///
/// ```
/// use ipvs::{Destination, Forward};
///
/// let server = Destination::new("10.10.10.102:80".parse()?)
///     .forward(Forward::DirectRoute)
///     .weight(5);
/// assert_eq!(server.weight, 5);
/// # Ok::<(), ipvs::ParseKeyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Destination {
    /// Its address. If its family isn't the service's, only a tunnel leads there.
    pub addr: IpAddr,
    /// Its port. Direct routing and tunnels don't rewrite packets, so they require the service's
    /// port.
    pub port: u16,
    /// How packets are forwarded to it.
    pub forward: Forward,
    /// Its share of new connections, 0 to 2,147,483,647. With 0 it gets no new ones and keeps
    /// existing ones.
    pub weight: u32,
    /// Stop sending new connections at this many, 0 to 2,147,483,647; 0 means no limit. Linux 7.2
    /// and late releases of older series (6.12.113) refuse more, earlier ones store it without an
    /// error.
    pub upper_threshold: u32,
    /// Once overloaded, send new connections again below this many; at most `upper_threshold`. 0
    /// means three quarters of `upper_threshold`.
    pub lower_threshold: u32,
}

impl Destination {
    /// A real server reached by [`Forward::DirectRoute`], of weight 1 and without thresholds, as
    /// `ipvsadm -a` adds it.
    ///
    /// ```
    /// use ipvs::{Destination, Endpoint};
    ///
    /// let server = Destination::new("10.10.10.102:80".parse()?);
    /// assert_eq!(server, Destination::new(Endpoint::from(([10, 10, 10, 102], 80))));
    /// # Ok::<(), ipvs::ParseKeyError>(())
    /// ```
    pub fn new(key: DestinationKey) -> Self {
        let DestinationKey { addr, port } = key;
        Self {
            addr,
            port,
            forward: Forward::DirectRoute,
            weight: 1,
            upper_threshold: 0,
            lower_threshold: 0,
        }
    }

    /// The key that identifies it within its service.
    pub fn key(&self) -> DestinationKey {
        DestinationKey { addr: self.addr, port: self.port }
    }

    /// Sets how packets are forwarded to it.
    #[must_use]
    pub fn forward(mut self, forward: Forward) -> Self {
        self.forward = forward;
        self
    }

    /// Sets its share of new connections.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// Sets the number of connections at which to stop sending new ones, and the number below which
    /// to resume.
    #[must_use]
    pub fn thresholds(mut self, upper: u32, lower: u32) -> Self {
        self.upper_threshold = upper;
        self.lower_threshold = lower;
        self
    }
}

impl From<&Destination> for DestinationKey {
    fn from(destination: &Destination) -> Self {
        destination.key()
    }
}

/// A real server, as the kernel reports it.
///
/// ```
/// use ipvs::{Destination, DestinationEntry};
///
/// let server = Destination::new("10.10.10.102:80".parse()?);
/// let entry = DestinationEntry::new(server).active_connections(3);
/// assert_eq!(entry.inactive_connections, 0);
/// # Ok::<(), ipvs::ParseKeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DestinationEntry {
    /// How it is configured.
    pub destination: Destination,
    /// Connections in a state that counts as active: for TCP, established ones.
    pub active_connections: u32,
    /// All other connections.
    pub inactive_connections: u32,
    /// Persistence templates: remembered clients.
    pub persistent_connections: u32,
    /// Its traffic.
    pub stats: Stats,
}

impl DestinationEntry {
    /// Creates a real server with that configuration, without connections or traffic.
    pub fn new(destination: Destination) -> Self {
        Self {
            destination,
            active_connections: 0,
            inactive_connections: 0,
            persistent_connections: 0,
            stats: Stats::default(),
        }
    }

    /// The key that identifies it within its service.
    pub fn key(&self) -> DestinationKey {
        self.destination.key()
    }

    /// Sets the number of connections in a state that counts as active.
    #[must_use]
    pub fn active_connections(mut self, active_connections: u32) -> Self {
        self.active_connections = active_connections;
        self
    }

    /// Sets the number of all other connections.
    #[must_use]
    pub fn inactive_connections(mut self, inactive_connections: u32) -> Self {
        self.inactive_connections = inactive_connections;
        self
    }

    /// Sets the number of persistence templates.
    #[must_use]
    pub fn persistent_connections(mut self, persistent_connections: u32) -> Self {
        self.persistent_connections = persistent_connections;
        self
    }

    /// Sets its traffic.
    #[must_use]
    pub fn stats(mut self, stats: Stats) -> Self {
        self.stats = stats;
        self
    }
}
