//! Connection synchronisation between directors.

use std::fmt;
use std::net::IpAddr;

use crate::InterfaceName;

/// Which side of the synchronisation a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncRole {
    /// Sends its connections (`IP_VS_STATE_MASTER`).
    Master,
    /// Takes connections in (`IP_VS_STATE_BACKUP`).
    Backup,
}

impl fmt::Display for SyncRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Master => "master",
            Self::Backup => "backup",
        })
    }
}

/// A sync daemon: a kernel thread that sends this director's connections to others by
/// multicast, or takes theirs in. One of each role can run in a network namespace.
///
/// Fields that are `None` are left to the kernel when starting, and were not reported when
/// listing.
///
/// ```
/// use ipvs::{InterfaceName, SyncDaemon, SyncRole};
///
/// let daemon = SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth1")?).sync_id(3);
/// assert_eq!(daemon.sync_id, 3);
/// # Ok::<(), ipvs::NameError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct SyncDaemon {
    /// Which side it is.
    pub role: SyncRole,
    /// The interface whose network the multicast goes through.
    pub interface: InterfaceName,
    /// Tells clusters on one network apart, 0 to 255. A backup of id 0 takes every cluster's
    /// connections in.
    pub sync_id: u8,
    /// The most bytes of UDP payload a message may have, 1 to 65507 (kernel default: 1472, or
    /// what the interface's MTU leaves).
    pub max_length: Option<u16>,
    /// The multicast group (kernel default: 224.0.0.81).
    pub group: Option<IpAddr>,
    /// The UDP port (kernel default: 8848).
    pub port: Option<u16>,
    /// The time to live, or hop limit (kernel default: 1).
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// A daemon of sync id 0, all else left to the kernel.
    pub fn new(role: SyncRole, interface: InterfaceName) -> Self {
        Self { role, interface, sync_id: 0, max_length: None, group: None, port: None, ttl: None }
    }

    /// Sets the sync id.
    #[must_use]
    pub fn sync_id(mut self, id: u8) -> Self {
        self.sync_id = id;
        self
    }

    /// Sets the most bytes of UDP payload a message may have; `None` for the kernel's default.
    #[must_use]
    pub fn max_length(mut self, bytes: impl Into<Option<u16>>) -> Self {
        self.max_length = bytes.into();
        self
    }

    /// Sets the multicast group; `None` for the kernel's default.
    #[must_use]
    pub fn group(mut self, group: impl Into<Option<IpAddr>>) -> Self {
        self.group = group.into();
        self
    }

    /// Sets the UDP port; `None` for the kernel's default.
    #[must_use]
    pub fn port(mut self, port: impl Into<Option<u16>>) -> Self {
        self.port = port.into();
        self
    }

    /// Sets the time to live; `None` for the kernel's default.
    #[must_use]
    pub fn ttl(mut self, ttl: impl Into<Option<u8>>) -> Self {
        self.ttl = ttl.into();
        self
    }
}
