//! The kernel's IPVS: getting at it, and changing it.

use std::process::Command as Process;

use ipvs::{Batch, Client, Error, ErrorKind, Info, KernelSocket, Transport};
use rustix::net::{AddressFamily, SocketType, ipproto};

use crate::flags::high::Change;

/// A connection to the kernel's IPVS.
#[derive(Debug)]
pub(crate) struct Kernel<T = KernelSocket> {
    pub(crate) client: Client<T>,
    pub(crate) info: Info,
    /// Changes of a restore that go to the kernel together.
    waiting: Batch,
}

impl Kernel {
    /// Connects, and makes sure that this user may. The kernel loads its module by itself; where
    /// that is switched off, modprobe may still be able to.
    pub(crate) fn connect() -> Result<Self, Error> {
        match Self::try_connect() {
            Err(error) if error.kind() == ErrorKind::NotAvailable && load_module() => {
                Self::try_connect()
            }
            result => result,
        }
    }

    fn try_connect() -> Result<Self, Error> {
        Self::reached_by(Client::connect()?)
    }
}

impl<T: Transport> Kernel<T> {
    pub(crate) fn reached_by(mut client: Client<T>) -> Result<Self, Error> {
        let info = client.info()?;
        Ok(Self { client, info, waiting: Batch::new() })
    }

    pub(crate) fn change(&mut self, change: &Change) -> Result<(), Error> {
        let mut outcome = Ok(());
        self.put_off(change);
        self.catch_up(|result| outcome = result);
        outcome
    }

    /// Puts a change behind those that wait.
    pub(crate) fn put_off(&mut self, change: &Change) {
        let batch = &mut self.waiting;
        match change {
            Change::AddService(service) => batch.add_service(service),
            Change::EditService(service) => batch.set_service(service),
            Change::DeleteService(key) => batch.delete_service(key),
            Change::Flush => batch.flush(),
            Change::AddServer(key, server) => batch.add_destination(key, server),
            Change::EditServer(key, server) => batch.set_destination(key, server),
            Change::DeleteServer(key, server) => batch.delete_destination(key, server),
            Change::Zero(key) => batch.zero(key.as_ref()),
            Change::SetTimeouts(change) => batch.set_timeouts(*change),
            Change::StartDaemon(daemon) => batch.start_sync_daemon(daemon),
            Change::StopDaemon(role) => batch.stop_sync_daemon(*role),
        };
    }

    /// Whether as many changes wait as go to the kernel at once.
    pub(crate) fn has_put_off_enough(&self) -> bool {
        self.waiting.is_full()
    }

    /// Carries out the changes that wait, and tells of each how it ended.
    pub(crate) fn catch_up(&mut self, mut on_result: impl FnMut(Result<(), Error>)) {
        self.client.run_each(&self.waiting, |_, result| on_result(result));
        self.waiting.clear();
    }
}

/// Whether this user may open raw sockets. The C tool tries one where there is no IPVS, for the
/// interface of before Linux 2.6.28, and that it may not is all that an ordinary user then hears.
pub(crate) fn may_open_raw_sockets() -> bool {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW));
    !matches!(socket, Err(rustix::io::Errno::PERM))
}

/// Whether modprobe said that it loaded the module. What it has to complain of it says itself.
fn load_module() -> bool {
    let status = Process::new("/sbin/modprobe").args(["--", "ip_vs"]).status();
    status.is_ok_and(|status| status.success())
}
