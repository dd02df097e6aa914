//! Sync daemons.

use ipvs_sys as sys;
use ipvs_sys::Command;

use super::Client;
use super::exchange::Trouble;
use crate::error::{Error, ErrorKind, Object, Operation};
use crate::proto::{Failure, Request, Shape};
use crate::transport::Transport;
use crate::wire::{self, Implausible};
use crate::{SyncDaemon, SyncRole};

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
        let wire = wire::daemon_to_wire(daemon);
        let request = Request::new(Command::NewDaemon, Shape::Change).daemon(&wire);
        let object = Object::SyncDaemon(daemon.role);
        self.change(Operation::StartSyncDaemon, Some(object), &request)
    }

    /// Stops the sync daemon of a role (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonNotRunning`].
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), Error> {
        let operation = Operation::StopSyncDaemon;
        let object = Some(Object::SyncDaemon(role));
        let wire = sys::Daemon { state: Some(wire::role_to_wire(role)), ..sys::Daemon::default() };
        // A daemon that is stopped before its thread first ran ends the command with EINTR, and
        // then the kernel sends no acknowledgement at all. A question behind it in the same
        // window gets an answer in any case, and so nobody has to wait for a deadline.
        let stop = Request::new(Command::DelDaemon, Shape::AcknowledgedChange).daemon(&wire);
        let barrier = Request::new(Command::GetConfig, Shape::Get);
        match self.request(&[stop, barrier], |_| Ok(())) {
            Err(Trouble::Failure(Failure::Unacknowledged)) => {
                let still_runs = self.sync_daemons()?.iter().any(|daemon| daemon.role == role);
                if still_runs {
                    return Err(Error::new(operation, object, ErrorKind::OutcomeUnknown));
                }
                Ok(())
            }
            other => other.map_err(|trouble| trouble.into_error(operation, object)),
        }
    }
}
