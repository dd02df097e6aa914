//! Counters and rates of a virtual service or a real server.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// The traffic of a virtual service or a real server.
///
/// "Incoming" is from clients. With direct routing and tunnels the replies bypass the director,
/// so the outgoing counters stay 0.
///
/// Before Linux 6.2 the counters lag by up to 2 seconds: they are as of the kernel's last
/// estimation.
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
    /// The rates from the kernel's estimator. `None` if the kernel reports none, or if the
    /// estimator doesn't run ([`sysctl::RUN_ESTIMATION`](crate::sysctl::RUN_ESTIMATION),
    /// [`sysctl::EST_CPULIST`](crate::sysctl::EST_CPULIST)), because they would mean nothing then;
    /// see [`Client::set_stale_rates`](crate::Client::set_stale_rates).
    pub rates: Option<Rates>,
    /// The width in which the kernel reported the counters.
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

    /// Sets the width in which the kernel reported the counters.
    #[must_use]
    pub fn width(mut self, width: StatsWidth) -> Self {
        self.width = width;
        self
    }
}

impl Stats {
    /// The traffic since `earlier`, of the same virtual service or real server, with the current
    /// rates. Counters that have decreased, because they were zeroed or are 32 bits wide and
    /// overflowed, count from 0.
    ///
    /// ```
    /// use ipvs::Stats;
    ///
    /// let (earlier, now) = (Stats::default().connections(3), Stats::default().connections(5));
    /// assert_eq!(now.since(&earlier).connections, 2);
    /// assert_eq!((earlier + now).connections, 8);
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let since = |now: u64, earlier: u64| now.checked_sub(earlier).unwrap_or(now);
        Self {
            connections: since(self.connections, earlier.connections),
            incoming_packets: since(self.incoming_packets, earlier.incoming_packets),
            outgoing_packets: since(self.outgoing_packets, earlier.outgoing_packets),
            incoming_bytes: since(self.incoming_bytes, earlier.incoming_bytes),
            outgoing_bytes: since(self.outgoing_bytes, earlier.outgoing_bytes),
            rates: self.rates,
            width: self.width,
        }
    }

    /// Whether there was no traffic, regardless of the rates.
    pub fn is_zero(&self) -> bool {
        *self == Self { rates: self.rates, width: self.width, ..Self::default() }
    }
}

/// The traffic of several virtual services or real servers together. Missing rates count as 0, and
/// the sum is as wide as the narrowest.
impl Add for Stats {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let rates = match (self.rates, other.rates) {
            (Some(ours), Some(theirs)) => Some(ours + theirs),
            (ours, theirs) => ours.or(theirs),
        };
        let narrow = StatsWidth::Bits32;
        Self {
            connections: self.connections.saturating_add(other.connections),
            incoming_packets: self.incoming_packets.saturating_add(other.incoming_packets),
            outgoing_packets: self.outgoing_packets.saturating_add(other.outgoing_packets),
            incoming_bytes: self.incoming_bytes.saturating_add(other.incoming_bytes),
            outgoing_bytes: self.outgoing_bytes.saturating_add(other.outgoing_bytes),
            rates,
            width: if self.width == narrow { narrow } else { other.width },
        }
    }
}

impl Add for Rates {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            connections: self.connections.saturating_add(other.connections),
            incoming_packets: self.incoming_packets.saturating_add(other.incoming_packets),
            outgoing_packets: self.outgoing_packets.saturating_add(other.outgoing_packets),
            incoming_bytes: self.incoming_bytes.saturating_add(other.incoming_bytes),
            outgoing_bytes: self.outgoing_bytes.saturating_add(other.outgoing_bytes),
        }
    }
}

macro_rules! sums {
    ($($type:ty),*) => {
        $(impl AddAssign for $type {
            fn add_assign(&mut self, other: Self) {
                *self = *self + other;
            }
        }

        impl Sum for $type {
            fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
                all.fold(Self::default(), Add::add)
            }
        })*
    };
}

sums!(Stats, Rates);

/// The current rates of a virtual service or a real server: a moving average that the kernel
/// updates every 2 seconds.
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

/// The width in which the kernel reported counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatsWidth {
    /// 64 bits (`IPVS_SVC_ATTR_STATS64`, since Linux 4.1).
    #[default]
    Bits64,
    /// 32 bits, except for bytes (`IPVS_SVC_ATTR_STATS`): connections and packets wrap to 0 after
    /// 4,294,967,295.
    Bits32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_add_up_and_rates_that_are_missing_count_as_none() {
        let rates = |number| Rates::default().connections(number);
        let one = Stats::default().connections(1).incoming_bytes(u64::MAX).rates(rates(3));
        let two = Stats::default().connections(2).incoming_bytes(5).width(StatsWidth::Bits32);
        let sum: Stats = [one, two].into_iter().sum();
        let expected = Stats::default().connections(3).incoming_bytes(u64::MAX).rates(rates(3));
        assert_eq!(sum, expected.width(StatsWidth::Bits32));
        let mut twice = one;
        twice += one;
        assert_eq!(twice.rates, Some(rates(6)));
    }

    #[test]
    fn a_counter_that_has_gone_back_counts_from_0() {
        let earlier = Stats::default().connections(7).incoming_packets(100);
        let now = Stats::default().connections(3).incoming_packets(140);
        let carried = Stats::default().connections(3).incoming_packets(40);
        assert_eq!(now.since(&earlier), carried);
        assert!(now.since(&now).is_zero() && !carried.is_zero());
    }
}
