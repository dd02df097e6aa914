//! Virtual services: the desired configuration, and what the kernel reports.

use std::net::Ipv4Addr;
use std::time::Duration;

use thiserror::Error;

use crate::model::key::ServiceKey;
use crate::model::name::{PersistenceEngine, Scheduler};
use crate::model::scheduler_flags::SchedulerFlags;
use crate::model::stats::Stats;

/// A virtual service, as a user wants it.
///
/// Two services are equal exactly if replacing one with the other would change nothing.
///
/// ```
/// use std::time::Duration;
/// use ipvs::{Persistence, Scheduler, Service, ServiceKey};
///
/// let service = Service::new(ServiceKey::tcp("10.10.10.53:80".parse()?))
///     .scheduler(Scheduler::RR)
///     .persistent(Persistence::new(Duration::from_secs(100)));
/// assert_eq!(service.scheduler, Some(Scheduler::RR));
/// # Ok::<(), ipvs::ParseKeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Service {
    /// The key that identifies it.
    pub key: ServiceKey,
    /// How it picks a real server. With `None` it picks none and drops new connections (the kernel
    /// calls that `none`).
    pub scheduler: Option<Scheduler>,
    /// Flags that change how the scheduler works.
    pub scheduler_flags: SchedulerFlags,
    /// One-packet scheduling: each UDP packet is scheduled on its own, no connection is kept
    /// (`IP_VS_SVC_F_ONEPACKET`).
    pub one_packet: bool,
    /// Whether connections of one client stay on one real server, and for how long.
    pub persistence: Option<Persistence>,
    /// What groups connections besides the client's address. The kernel stores it for any service,
    /// but only uses it with persistence.
    pub persistence_engine: Option<PersistenceEngine>,
}

impl Service {
    /// A service without persistence, scheduled by [`Scheduler::WLC`], as `ipvsadm -A` adds it.
    pub fn new(key: ServiceKey) -> Self {
        Self {
            key,
            scheduler: Some(Scheduler::WLC),
            scheduler_flags: SchedulerFlags::empty(),
            one_packet: false,
            persistence: None,
            persistence_engine: None,
        }
    }

    /// Sets the scheduler; `None` for none.
    #[must_use]
    pub fn scheduler(mut self, scheduler: impl Into<Option<Scheduler>>) -> Self {
        self.scheduler = scheduler.into();
        self
    }

    /// Sets the scheduler's flags.
    #[must_use]
    pub fn scheduler_flags(mut self, flags: SchedulerFlags) -> Self {
        self.scheduler_flags = flags;
        self
    }

    /// Turns one-packet scheduling on or off.
    #[must_use]
    pub fn one_packet(mut self, on: bool) -> Self {
        self.one_packet = on;
        self
    }

    /// Makes the connections of a client stay on one real server; `None` turns that off.
    #[must_use]
    pub fn persistent(mut self, persistence: impl Into<Option<Persistence>>) -> Self {
        self.persistence = persistence.into();
        self
    }

    /// Sets the persistence engine; `None` for none.
    #[must_use]
    pub fn persistence_engine(
        mut self,
        persistence_engine: impl Into<Option<PersistenceEngine>>,
    ) -> Self {
        self.persistence_engine = persistence_engine.into();
        self
    }
}

/// Keeps connections of a client, or of a network of clients, on one real server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Persistence {
    /// How long after its last connection a client is remembered: whole seconds, from 1 to
    /// [`Persistence::MAX_TIMEOUT`]. Anything else is refused before it is sent, with
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
    ///
    /// A service of another program may be reported with 0 or a longer timeout. A plan, an edit or
    /// an `ensure_service` that leaves such a service as it is writes nothing; one that changes it
    /// has to give a timeout in range.
    pub timeout: Duration,
    /// Which clients count as one.
    pub mask: PersistenceMask,
}

impl Persistence {
    /// The longest timeout, 4,294,967 s (49 days).
    ///
    /// The kernel multiplies seconds by its tick rate (`CONFIG_HZ`) in 32 bits (`ip_vs_add_service`
    /// in `ip_vs_ctl.c`), which overflows: at 100 ticks a second, 42,949,673 s become 0. This is
    /// the longest timeout that works with any rate up to 1,000.
    pub const MAX_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64 / 1_000);

    /// Each client address separately, remembered for `timeout`, from 1 s to
    /// [`Persistence::MAX_TIMEOUT`]. A timeout out of range is refused when it is sent.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, mask: PersistenceMask::HOST }
    }

    /// Sets which clients count as one.
    #[must_use]
    pub fn mask(mut self, mask: PersistenceMask) -> Self {
        self.mask = mask;
        self
    }
}

/// Which client addresses count as one client.
///
/// ```
/// use ipvs::PersistenceMask;
///
/// // A full mask is the same as none, in both families.
/// assert_eq!(PersistenceMask::v4("255.255.255.255".parse()?), PersistenceMask::HOST);
/// assert_eq!(PersistenceMask::v6(128)?, PersistenceMask::HOST);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PersistenceMask(Mask);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
enum Mask {
    /// Canonical for the full mask of both families, so that equality means "same effect".
    #[default]
    Host,
    V4(Ipv4Addr),
    V6(u8),
}

/// An IPv6 prefix length outside 1 to 128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("an IPv6 persistence prefix is 1 to 128 bits long, not {0}")]
pub struct PrefixError(pub u32);

impl PersistenceMask {
    /// Each address separately: 255.255.255.255, or /128.
    pub const HOST: Self = Self(Mask::Host);

    /// IPv4 clients that are equal in the bits set in `mask`, which can be any pattern.
    pub fn v4(mask: Ipv4Addr) -> Self {
        if mask == Ipv4Addr::BROADCAST { Self::HOST } else { Self(Mask::V4(mask)) }
    }

    /// IPv6 clients that are equal in the first `prefix` bits, 1 to 128.
    ///
    /// # Errors
    ///
    /// For any other length, which the kernel refuses with EINVAL.
    pub fn v6(prefix: u32) -> Result<Self, PrefixError> {
        match u8::try_from(prefix) {
            Ok(128) => Ok(Self::HOST),
            Ok(bits @ 1..=127) => Ok(Self(Mask::V6(bits))),
            _ => Err(PrefixError(prefix)),
        }
    }

    /// The mask for IPv4 clients; `None` if it was made for IPv6.
    pub fn as_v4(self) -> Option<Ipv4Addr> {
        match self.0 {
            Mask::Host => Some(Ipv4Addr::BROADCAST),
            Mask::V4(mask) => Some(mask),
            Mask::V6(_) => None,
        }
    }

    /// The prefix length for IPv6 clients, 1 to 128; `None` if it was made for IPv4.
    pub fn as_v6(self) -> Option<u8> {
        match self.0 {
            Mask::Host => Some(128),
            Mask::V4(_) => None,
            Mask::V6(bits) => Some(bits),
        }
    }
}

/// A virtual service, as the kernel reports it.
///
/// ```
/// use ipvs::{Service, ServiceEntry, ServiceKey, Stats};
///
/// let service = Service::new(ServiceKey::tcp("10.10.10.53:80".parse()?));
/// let entry = ServiceEntry::new(service).stats(Stats::default().connections(7));
/// assert_eq!(entry.stats.connections, 7);
/// # Ok::<(), ipvs::ParseKeyError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServiceEntry {
    /// How it is configured.
    pub service: Service,
    /// Its traffic.
    pub stats: Stats,
}

impl ServiceEntry {
    /// A service with that configuration, without traffic.
    pub fn new(service: Service) -> Self {
        Self { service, stats: Stats::default() }
    }

    /// The key that identifies the virtual service.
    pub fn key(&self) -> &ServiceKey {
        &self.service.key
    }

    /// Sets its traffic.
    #[must_use]
    pub fn stats(mut self, stats: Stats) -> Self {
        self.stats = stats;
        self
    }
}
