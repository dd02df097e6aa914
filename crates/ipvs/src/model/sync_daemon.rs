//! Connection synchronisation between directors.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::model::name::InterfaceName;

/// `IP_VS_SYNC_GROUP` in `ip_vs_sync.c`.
const DEFAULT_GROUP: IpAddr = IpAddr::V4(Ipv4Addr::new(224, 0, 0, 81));
/// `IP_VS_SYNC_PORT` in `ip_vs_sync.c`.
const DEFAULT_PORT: u16 = 8848;
/// The MTU that a master assumes by default.
const ETHERNET_MTU: u16 = 1500;
/// The headers of IPv4 and UDP.
const IPV4_HEADERS: u16 = 20 + 8;
/// The headers of IPv6 and UDP.
const IPV6_HEADERS: u16 = 40 + 8;

/// Which side of the synchronisation a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SyncRole {
    /// Sends its connections (`IP_VS_STATE_MASTER`).
    Master,
    /// Receives connections (`IP_VS_STATE_BACKUP`).
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

/// A sync daemon: a kernel thread that sends this director's connections to others by multicast, or
/// receives theirs. One of each role can run in a network namespace.
///
/// A field that is `None` is left to the kernel when starting, and was not reported when listing.
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
    /// Master or backup.
    pub role: SyncRole,
    /// The interface that multicast packets are sent and received on.
    pub interface: InterfaceName,
    /// Distinguishes clusters on one network, 0 to 255. A backup with id 0 receives every cluster's
    /// connections.
    pub sync_id: u8,
    /// The maximum UDP payload of a message, in bytes: 1 to 65507, or 65487 with an IPv6 group. The
    /// kernel takes the nearest of these for any other number, and for a backup at least 1024;
    /// [`SyncDaemon::reported`] returns the result.
    ///
    /// The kernel's default is 1472 (1452 with an IPv6 group) for a master. For a backup it depends
    /// on the MTU of its interface, and is at least that much.
    pub max_length: Option<u16>,
    /// The multicast group (kernel default: 224.0.0.81).
    pub group: Option<IpAddr>,
    /// The UDP port (kernel default: 8848, which 0 also means).
    pub port: Option<u16>,
    /// The time to live, or hop limit (kernel default: 1, which 0 also means).
    pub ttl: Option<u8>,
}

impl SyncDaemon {
    /// A daemon with sync id 0; everything else is left to the kernel.
    pub fn new(role: SyncRole, interface: InterfaceName) -> Self {
        Self { role, interface, sync_id: 0, max_length: None, group: None, port: None, ttl: None }
    }

    /// Sets the sync id.
    #[must_use]
    pub fn sync_id(mut self, id: u8) -> Self {
        self.sync_id = id;
        self
    }

    /// Sets the maximum UDP payload of a message, in bytes; `None` for the kernel's default.
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

    /// How the kernel reports a daemon that was started like this: with the kernel's defaults for
    /// `None` or 0, and a [`max_length`](Self::max_length) in its range (`start_sync_thread` in
    /// `ip_vs_sync.c`).
    ///
    /// A backup's default length stays `None`: it depends on the MTU of the interface, which only
    /// the kernel knows.
    ///
    /// ```
    /// use ipvs::{InterfaceName, SyncDaemon, SyncRole};
    ///
    /// let backup = SyncDaemon::new(SyncRole::Backup, InterfaceName::new("eth1")?).max_length(1000);
    /// assert_eq!(backup.reported().max_length, Some(1024));
    /// assert_eq!(backup.reported().port, Some(8848));
    /// # Ok::<(), ipvs::NameError>(())
    /// ```
    #[must_use]
    pub fn reported(&self) -> Self {
        let group = self.group.unwrap_or(DEFAULT_GROUP);
        let headers = headers(Some(group));
        let least = match self.role {
            SyncRole::Master => 1,
            SyncRole::Backup => 1024,
        };
        let max_length = match (self.max_length.filter(|length| *length != 0), self.role) {
            (Some(length), _) => Some(length.clamp(least, u16::MAX - headers)),
            (None, SyncRole::Master) => Some(ETHERNET_MTU - headers),
            (None, SyncRole::Backup) => None,
        };
        Self {
            max_length,
            group: Some(group),
            port: Some(self.port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT)),
            ttl: Some(self.ttl.filter(|ttl| *ttl != 0).unwrap_or(1)),
            ..self.clone()
        }
    }

    /// Whether `running`, as reported by the kernel, is the result of starting this one. Values
    /// that aren't reported, as with the [socket options](crate::SocketOptions), aren't compared.
    pub(crate) fn is_met_by(&self, running: &Self) -> bool {
        let Self { role, interface, sync_id, max_length, group, port, ttl } = self.reported();
        let has = |length: u16| match max_length {
            Some(wanted) => length == wanted,
            // The interface's MTU, but at least that of Ethernet, less the headers.
            None => length >= ETHERNET_MTU - headers(group),
        };
        (role, interface, sync_id) == (running.role, running.interface, running.sync_id)
            && running.max_length.is_none_or(has)
            && (running.group.is_none() || running.group == group)
            && (running.port.is_none() || running.port == port)
            && (running.ttl.is_none() || running.ttl == ttl)
    }
}

/// What the headers of a message to a group take.
fn headers(group: Option<IpAddr>) -> u16 {
    if group.is_some_and(|group| group.is_ipv6()) { IPV6_HEADERS } else { IPV4_HEADERS }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `ip_vs_sync.c` has it: 1500 bytes less the headers, at least 1024 for a backup.
    #[test]
    fn what_the_kernel_makes_of_a_daemon_is_the_daemon() {
        let daemon = |role| SyncDaemon::new(role, InterfaceName::new("eth0").unwrap());
        let running = |role, length| {
            daemon(role).max_length(length).group(IpAddr::from([224, 0, 0, 81])).port(8848).ttl(1)
        };
        let v6: IpAddr = "ff02::81".parse().unwrap();
        let (master, backup) = (SyncRole::Master, SyncRole::Backup);
        for (wanted, running, is_met) in [
            (daemon(master), running(master, 1472), true),
            (daemon(master), running(master, 1400), false),
            (daemon(master).max_length(1400), running(master, 1400), true),
            (daemon(master).max_length(u16::MAX), running(master, 65507), true),
            (daemon(master).group(v6), running(master, 1452).group(v6), true),
            (daemon(master).group(v6), running(master, 1472).group(v6), false),
            (daemon(backup), running(backup, 1472), true),
            (daemon(backup), running(backup, 8972), true),
            (daemon(backup), running(backup, 1024), false),
            (daemon(backup), running(backup, 1471), false),
            (daemon(backup).group(v6), running(backup, 1452).group(v6), true),
            (daemon(backup).max_length(1000), running(backup, 1024), true),
            (daemon(backup).max_length(1000), running(backup, 1000), false),
            (daemon(master), running(backup, 1472), false),
            (daemon(master).sync_id(1), running(master, 1472), false),
            (daemon(master).port(8849), running(master, 1472), false),
            (daemon(master), running(master, 1472).port(8849), false),
            (daemon(master).ttl(2), running(master, 1472), false),
            (daemon(master).ttl(2), daemon(master), true),
        ] {
            assert_eq!(wanted.is_met_by(&running), is_met, "{wanted:?}, {running:?}");
        }
        let other = SyncDaemon::new(master, InterfaceName::new("eth1").unwrap());
        assert!(!other.is_met_by(&running(master, 1472)));
    }
}
