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
    /// The sync daemons that are running: none, one, or one of each role (`ipvsadm -L --daemon`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    #[doc(alias = "IPVS_CMD_GET_DAEMON")]
    pub fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        let request = Request::new(Command::GetDaemon, RequestKind::Dump);
        self.list(Operation::SyncDaemons, None, &request, |message| {
            let daemon = message.daemon.as_ref().ok_or(MalformedReply::Missing("sync daemon"))?;
            wire::daemon_from_wire(daemon)
        })
    }

    /// Starts a sync daemon: `ipvsadm --start-daemon`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonRunning`] if one of that role is running;
    /// [`ErrorKind::InterfaceNotFound`]; [`ErrorKind::InvalidArgument`] for a group that isn't
    /// multicast, or while a service has real servers of the other address family.
    #[doc(alias = "IPVS_CMD_NEW_DAEMON")]
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        self.change(Change::StartSyncDaemon(daemon.clone()))
    }

    /// Stops the sync daemon of a role: `ipvsadm --stop-daemon`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonNotRunning`].
    #[doc(alias = "IPVS_CMD_DEL_DAEMON")]
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), Error> {
        self.change(Change::StopSyncDaemon(role))
    }

    /// Ensures that a sync daemon runs with this configuration: starts it, restarts it if it is
    /// running with another one, or leaves it alone, and returns what it did. A value that the
    /// kernel replaces counts as equal to its replacement: a backup's length is at least 1024, and
    /// `None` means the kernel's default. A backup's default length depends on the MTU of its
    /// interface, so any length that an MTU can result in counts.
    ///
    /// A daemon can only be changed by stopping it first. If the kernel then refuses to start the
    /// new one, the one that ran before is started again.
    ///
    /// # Errors
    ///
    /// As [`start_sync_daemon`](Self::start_sync_daemon), but [`ErrorKind::SyncDaemonRunning`] only
    /// if another program keeps starting and stopping daemons.
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
                        // The first error is what the caller has to know.
                        let _ = self.start_sync_daemon(&before);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Stops the sync daemon of a role if it is running. Returns whether it was.
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
