//! Counters and rates of a virtual service or a real server.

/// What a virtual service or a real server has carried.
///
/// "Incoming" is from clients. With direct routing and tunnels the replies bypass the director,
/// so the outgoing counters stay 0.
///
/// ```
/// use ipvs::{Rates, Stats};
///
/// let stats = Stats::default().connections(12).rates(Rates::default().connections(3));
/// assert_eq!(stats.incoming_packets, 0);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub incoming_packets: u64,
    /// Packets to clients.
    pub outgoing_packets: u64,
    /// Bytes from clients.
    pub incoming_bytes: u64,
    /// Bytes to clients.
    pub outgoing_bytes: u64,
    /// What the kernel's estimator makes of them; `None` if it reports no rates, or if it
    /// doesn't run ([`sysctl::RUN_ESTIMATION`](crate::sysctl::RUN_ESTIMATION),
    /// [`sysctl::EST_CPULIST`](crate::sysctl::EST_CPULIST)), when they would mean nothing; see
    /// [`Client::set_stale_rates`](crate::Client::set_stale_rates).
    pub rates: Option<Rates>,
    /// How wide the kernel reported the counters.
    pub width: StatsWidth,
}

impl Stats {
    /// Sets the connections scheduled.
    #[must_use]
    pub fn connections(mut self, connections: u64) -> Self {
        self.connections = connections;
        self
    }

    /// Sets the packets from clients.
    #[must_use]
    pub fn incoming_packets(mut self, incoming_packets: u64) -> Self {
        self.incoming_packets = incoming_packets;
        self
    }

    /// Sets the packets to clients.
    #[must_use]
    pub fn outgoing_packets(mut self, outgoing_packets: u64) -> Self {
        self.outgoing_packets = outgoing_packets;
        self
    }

    /// Sets the bytes from clients.
    #[must_use]
    pub fn incoming_bytes(mut self, incoming_bytes: u64) -> Self {
        self.incoming_bytes = incoming_bytes;
        self
    }

    /// Sets the bytes to clients.
    #[must_use]
    pub fn outgoing_bytes(mut self, outgoing_bytes: u64) -> Self {
        self.outgoing_bytes = outgoing_bytes;
        self
    }

    /// Sets the rates; `None` for a kernel that reports none.
    #[must_use]
    pub fn rates(mut self, rates: impl Into<Option<Rates>>) -> Self {
        self.rates = rates.into();
        self
    }

    /// Sets how wide the kernel reported the counters.
    #[must_use]
    pub fn width(mut self, width: StatsWidth) -> Self {
        self.width = width;
        self
    }
}

/// How much a virtual service or a real server carries now: a moving average that the kernel
/// brings up to date every 2 seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rates {
    /// New connections a second.
    pub connections: u64,
    /// Packets from clients a second.
    pub incoming_packets: u64,
    /// Packets to clients a second.
    pub outgoing_packets: u64,
    /// Bytes from clients a second.
    pub incoming_bytes: u64,
    /// Bytes to clients a second.
    pub outgoing_bytes: u64,
}

impl Rates {
    /// Sets the new connections a second.
    #[must_use]
    pub fn connections(mut self, connections: u64) -> Self {
        self.connections = connections;
        self
    }

    /// Sets the packets from clients a second.
    #[must_use]
    pub fn incoming_packets(mut self, incoming_packets: u64) -> Self {
        self.incoming_packets = incoming_packets;
        self
    }

    /// Sets the packets to clients a second.
    #[must_use]
    pub fn outgoing_packets(mut self, outgoing_packets: u64) -> Self {
        self.outgoing_packets = outgoing_packets;
        self
    }

    /// Sets the bytes from clients a second.
    #[must_use]
    pub fn incoming_bytes(mut self, incoming_bytes: u64) -> Self {
        self.incoming_bytes = incoming_bytes;
        self
    }

    /// Sets the bytes to clients a second.
    #[must_use]
    pub fn outgoing_bytes(mut self, outgoing_bytes: u64) -> Self {
        self.outgoing_bytes = outgoing_bytes;
        self
    }
}

/// How wide the kernel reported counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatsWidth {
    /// 64 bits (`IPVS_SVC_ATTR_STATS64`, since Linux 4.1).
    #[default]
    Bits64,
    /// 32 bits, but for bytes (`IPVS_SVC_ATTR_STATS`): connections and packets start again at 0
    /// after 4,294,967,295.
    Bits32,
}
