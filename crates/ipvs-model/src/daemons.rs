//! Sync daemons (`start_sync_thread` and `stop_sync_thread` in `ip_vs_sync.c`).

use std::net::Ipv4Addr;

use ipvs_sys as sys;
use rustix::io::Errno;

use crate::Builder;

const DEFAULT_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 81);
const DEFAULT_PORT: u16 = 8848;
const DEFAULT_TTL: u8 = 1;
const MTU: u16 = 1500;
const UDP_HEADER: u16 = 8;

/// The running daemons: at most one of each role.
#[derive(Clone, Debug, Default)]
pub(crate) struct Daemons {
    master: Option<sys::Daemon>,
    backup: Option<sys::Daemon>,
}

impl Daemons {
    pub(crate) fn any_runs(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    pub(crate) fn backup_runs(&self) -> bool {
        self.backup.is_some()
    }

    /// In the order of a dump.
    pub(crate) fn running(&self) -> impl Iterator<Item = &sys::Daemon> {
        self.master.iter().chain(&self.backup)
    }

    pub(crate) fn start(
        &mut self,
        daemon: Option<&sys::Daemon>,
        mixed_families: bool,
        settings: &Builder,
    ) -> Result<(), Errno> {
        let daemon = daemon.ok_or(Errno::INVAL)?;
        let (Some(state), Some(interface), Some(_)) =
            (daemon.state, daemon.mcast_ifn, daemon.sync_id)
        else {
            return Err(Errno::INVAL);
        };
        let is_multicast = match (daemon.mcast_group, daemon.mcast_group6) {
            (Some(group), _) => group.is_multicast(),
            (None, Some(group)) => group.is_multicast(),
            (None, None) => true,
        };
        if !is_multicast || mixed_families {
            return Err(Errno::INVAL);
        }
        let known = |name: &ipvs::InterfaceName| name.as_bytes() == interface.as_bytes();
        if !settings.interfaces.iter().any(known) {
            return Err(Errno::NODEV);
        }
        let slot = self.slot(state)?;
        if slot.is_some() {
            return Err(Errno::EXIST);
        }
        *slot = Some(completed(*daemon, state));
        Ok(())
    }

    pub(crate) fn stop(&mut self, daemon: Option<&sys::Daemon>) -> Result<(), Errno> {
        let state = daemon.and_then(|daemon| daemon.state).ok_or(Errno::INVAL)?;
        self.slot(state)?.take().map(|_| ()).ok_or(Errno::SRCH)
    }

    fn slot(&mut self, state: sys::DaemonState) -> Result<&mut Option<sys::Daemon>, Errno> {
        match state {
            sys::DaemonState::MASTER => Ok(&mut self.master),
            sys::DaemonState::BACKUP => Ok(&mut self.backup),
            _ => Err(Errno::INVAL),
        }
    }
}

/// A daemon, with the kernel's defaults for options missing in its request.
fn completed(daemon: sys::Daemon, state: sys::DaemonState) -> sys::Daemon {
    // If both are given, the IPv4 group wins.
    let group6 = daemon.mcast_group6.filter(|_| daemon.mcast_group.is_none());
    let ip_header = if group6.is_some() { 40 } else { 20 };
    let headers = ip_header + UDP_HEADER;
    let least = if state == sys::DaemonState::BACKUP { 1024 } else { 1 };
    let maxlen = match daemon.sync_maxlen {
        None | Some(0) => MTU - headers,
        Some(length) => length.clamp(least, u16::MAX - headers),
    };
    sys::Daemon {
        sync_maxlen: Some(maxlen),
        mcast_port: Some(daemon.mcast_port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT)),
        mcast_ttl: Some(daemon.mcast_ttl.filter(|ttl| *ttl != 0).unwrap_or(DEFAULT_TTL)),
        mcast_group: match group6 {
            Some(_) => None,
            None => Some(daemon.mcast_group.unwrap_or(DEFAULT_GROUP)),
        },
        mcast_group6: group6,
        ..daemon
    }
}
