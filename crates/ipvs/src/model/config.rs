//! Timeouts for all services of a network namespace, and the kernel's version of IPVS.

use std::fmt;
use std::time::Duration;

/// How long idle connections of all services of the network namespace are kept.
///
/// The default is the kernel's.
///
/// ```
/// use std::time::Duration;
/// use ipvs::Timeouts;
///
/// let timeouts = Timeouts::default().udp(Duration::from_secs(60));
/// assert_eq!(timeouts.tcp, Duration::from_secs(900));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Timeouts {
    /// TCP connections (kernel default: 900 s).
    pub tcp: Duration,
    /// TCP connections after a FIN (kernel default: 120 s).
    pub tcp_fin: Duration,
    /// UDP "connections" (kernel default: 300 s).
    pub udp: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(900),
            tcp_fin: Duration::from_secs(120),
            udp: Duration::from_secs(300),
        }
    }
}

impl Timeouts {
    /// Sets how long idle TCP connections are kept.
    #[must_use]
    pub fn tcp(mut self, tcp: Duration) -> Self {
        self.tcp = tcp;
        self
    }

    /// Sets how long TCP connections are kept after a FIN.
    #[must_use]
    pub fn tcp_fin(mut self, tcp_fin: Duration) -> Self {
        self.tcp_fin = tcp_fin;
        self
    }

    /// Sets how long idle UDP "connections" are kept.
    #[must_use]
    pub fn udp(mut self, udp: Duration) -> Self {
        self.udp = udp;
        self
    }
}

/// A change of [`Timeouts`]: those that are `None` stay as they are.
///
/// The kernel counts whole seconds, and 0 means "keep" to it. So 0, fractions of a second, and more
/// than 2,147,483,647 ticks (100 to 1,000 ticks a second) are refused.
///
/// ```
/// use std::time::Duration;
/// use ipvs::TimeoutsChange;
///
/// let change = TimeoutsChange { udp: Some(Duration::from_secs(60)), ..Default::default() };
/// assert_eq!(change.tcp, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct TimeoutsChange {
    /// For TCP connections.
    pub tcp: Option<Duration>,
    /// For TCP connections after a FIN.
    pub tcp_fin: Option<Duration>,
    /// For UDP "connections".
    pub udp: Option<Duration>,
}

impl From<Timeouts> for TimeoutsChange {
    fn from(all: Timeouts) -> Self {
        Self { tcp: Some(all.tcp), tcp_fin: Some(all.tcp_fin), udp: Some(all.udp) }
    }
}

/// General information about the kernel's IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Info {
    /// The version of IPVS: 1.2.1 in every kernel since 2.6.
    pub version: Version,
    /// Buckets of the connection table. Up to Linux 7.0 it is fixed when the module is loaded;
    /// since 7.1 it is the current size, 0 before first use.
    pub connection_table_size: u32,
}

impl Info {
    /// The info of a kernel with that version and that many buckets in its connection table.
    pub fn new(version: Version, connection_table_size: u32) -> Self {
        Self { version, connection_table_size }
    }
}

/// A version of IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// The first number.
    pub major: u8,
    /// The second number.
    pub minor: u8,
    /// The third number.
    pub patch: u8,
}

impl Version {
    /// Decodes the kernel's `IP_VS_VERSION_CODE`: `0x010201` is 1.2.1.
    pub(crate) fn from_code(code: u32) -> Self {
        let [_, major, minor, patch] = code.to_be_bytes();
        Self { major, minor, patch }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
