//! Counters and rates of a virtual service or a real server.

/// What a virtual service or a real server has carried.
///
/// "Incoming" is from clients. With direct routing and tunnels the replies bypass the director,
/// so the outgoing counters stay 0.
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
    /// What the kernel's estimator makes of them; `None` if it reports no rates.
    pub rates: Option<Rates>,
    /// How wide the kernel reported the counters.
    pub width: StatsWidth,
}

/// How much a virtual service or a real server carries now: a moving average that the kernel
/// brings up to date every 2 seconds. All 0 where `net.ipv4.vs.run_estimation` is 0.
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
