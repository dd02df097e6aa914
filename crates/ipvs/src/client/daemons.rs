//! Sync daemons.

use ipvs_sys::Command;

use crate::change::Change;
use crate::client::Client;
use crate::client::edit::TRIES;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;
use crate::model::sync_daemon::{SyncDaemon, SyncRole};
use crate::proto::request::{Request, RequestKind};
use crate::reconcile::ensured::Ensured;
use crate::transport::Transport;
use crate::wire;
use crate::wire::MalformedReply;

impl<T: Transport> Client<T> {
    /// The sync daemons that run: none, one, or one of each role (`IPVS_CMD_GET_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        let request = Request::new(Command::GetDaemon, RequestKind::Dump);
        self.list(Operation::SyncDaemons, None, &request, |message| {
            let daemon = message.daemon.as_ref().ok_or(MalformedReply::Missing("sync daemon"))?;
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

    /// Makes a sync daemon run as wanted: starts it, starts it again if it runs otherwise, or leaves
    /// it alone, and tells which. What the kernel makes of a value counts as that value: the least
    /// length of a backup is 1024, and what is `None` is the kernel's default. That of a backup's
    /// length goes by the MTU of its interface, so there any length that may come of an MTU counts.
    ///
    /// A daemon can only be changed by stopping it first. If the kernel then refuses to start the
    /// new one, the one that ran before is started again.
    ///
    /// # Errors
    ///
    /// As [`start_sync_daemon`](Self::start_sync_daemon). Its [`ErrorKind::SyncDaemonRunning`] comes
    /// out only if somebody else starts and stops daemons all the time.
    pub fn ensure_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<Ensured, Error> {
        let mut tries = TRIES;
        loop {
            let running = self.sync_daemons()?.into_iter().find(|it| it.role == daemon.role);
            let done = match &running {
                Some(running) if daemon.is_met_by(running) => return Ok(Ensured::Unchanged),
                Some(_) => {
                    self.remove_sync_daemon(daemon.role)?;
                    Ensured::Changed
                }
                None => Ensured::Added,
            };
            tries -= 1;
            match self.start_sync_daemon(daemon) {
                Ok(()) => return Ok(done),
                Err(error) if error.kind() == ErrorKind::SyncDaemonRunning && tries > 0 => {}
                Err(error) => {
                    if let Some(before) = running {
                        // What went wrong first is what the caller has to know.
                        let _ = self.start_sync_daemon(&before);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Stops the sync daemon of a role if it runs. Returns whether it did.
    ///
    /// # Errors
    ///
    /// As [`stop_sync_daemon`](Self::stop_sync_daemon), except
    /// [`ErrorKind::SyncDaemonNotRunning`].
    pub fn remove_sync_daemon(&mut self, role: SyncRole) -> Result<bool, Error> {
        match self.stop_sync_daemon(role) {
            Err(error) if error.kind() == ErrorKind::SyncDaemonNotRunning => Ok(false),
            other => other.map(|()| true),
        }
    }
}
