//! Sync daemons.

use ipvs_sys::Command;

use super::Client;
#[cfg(doc)]
use crate::ErrorKind;
use crate::error::{Error, Operation};
use crate::proto::{Request, Shape};
use crate::transport::Transport;
use crate::wire::{self, Implausible};
use crate::{Change, SyncDaemon, SyncRole};

impl<T: Transport> Client<T> {
    /// The sync daemons that run: none, one, or one of each role (`IPVS_CMD_GET_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        let request = Request::new(Command::GetDaemon, Shape::Dump);
        self.list(Operation::SyncDaemons, None, &request, |message| {
            let daemon = message.daemon.as_ref().ok_or(Implausible::Missing("sync daemon"))?;
            wire::daemon_from_wire(daemon)
        })
    }

    /// Starts a sync daemon (`IPVS_CMD_NEW_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonRunning`] if one of that role runs;
    /// [`ErrorKind::InterfaceNotFound`]; [`ErrorKind::InvalidArgument`] for a group that isn't
    /// multicast, or while a service has real servers of the other address family.
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        self.change(Change::StartSyncDaemon(daemon.clone()))
    }

    /// Stops the sync daemon of a role (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonNotRunning`].
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), Error> {
        self.change(Change::StopSyncDaemon(role))
    }
}
