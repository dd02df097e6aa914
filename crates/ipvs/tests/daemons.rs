//! How a client handles the end of a sync daemon: the kernel doesn't acknowledge it if the daemon's
//! thread is stopped before it first ran (EINTR of `kthread_stop`), and the client can tell whether
//! the daemon has stopped.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use ipvs::{Client, ErrorKind, InterfaceName, SyncDaemon, SyncRole};
use ipvs_model::Kernel;
use ipvs_sys::Command;
use rustix::io::Errno;

/// A kernel with a daemon, and a client of it.
fn with_daemon(role: SyncRole) -> (Kernel, Client<Kernel>) {
    let kernel = Kernel::new();
    let mut client = Client::with_transport(kernel.clone()).unwrap();
    let daemon = SyncDaemon::new(role, InterfaceName::new("eth0").unwrap());
    client.start_sync_daemon(&daemon).unwrap();
    (kernel, client)
}

const ROLES: [SyncRole; 2] = [SyncRole::Master, SyncRole::Backup];

#[test]
fn a_daemon_that_ran_is_stopped_with_an_acknowledgement() {
    for role in ROLES {
        let (_, mut client) = with_daemon(role);
        client.stop_sync_daemon(role).unwrap();
        assert_eq!(client.sync_daemons().unwrap(), []);
    }
}

#[test]
fn a_daemon_that_never_ran_is_stopped_without_one() {
    for role in ROLES {
        let (kernel, mut client) = with_daemon(role);
        let mut stopper = Client::with_transport(kernel.clone()).unwrap();
        kernel.before_each(move |request| {
            if request.command != Command::DelDaemon {
                return Ok(());
            }
            stopper.stop_sync_daemon(role).unwrap();
            Err(Errno::INTR.into())
        });
        client.stop_sync_daemon(role).unwrap();
        assert_eq!(client.sync_daemons().unwrap(), []);
    }
}

#[test]
fn a_daemon_that_runs_on_without_an_answer_is_an_unknown_outcome() {
    for role in ROLES {
        let (kernel, mut client) = with_daemon(role);
        kernel.before_each(|request| match request.command {
            Command::DelDaemon => Err(Errno::INTR.into()),
            _ => Ok(()),
        });
        let error = client.stop_sync_daemon(role).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
        assert_eq!(client.sync_daemons().unwrap().len(), 1);
    }
}
