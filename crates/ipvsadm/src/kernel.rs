//! The kernel's IPVS: getting at it, and changing it.

use std::process::Command as Process;

use ipvs::{Client, Error, ErrorKind, Info};
use rustix::net::{AddressFamily, SocketType, ipproto};

use crate::flags::high::Change;

/// A connection to the kernel's IPVS.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) client: Client,
    pub(crate) info: Info,
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
        let mut client = Client::connect()?;
        let info = client.info()?;
        Ok(Self { client, info })
    }

    pub(crate) fn change(&mut self, change: &Change) -> Result<(), Error> {
        let client = &mut self.client;
        match change {
            Change::AddService(service) => client.add_service(service),
            Change::EditService(service) => client.set_service(service),
            Change::DeleteService(key) => client.delete_service(key),
            Change::Flush => client.flush(),
            Change::AddServer(key, server) => client.add_destination(key, server),
            Change::EditServer(key, server) => client.set_destination(key, server),
            Change::DeleteServer(key, server) => client.delete_destination(key, server),
            Change::Zero(key) => client.zero(key.as_ref()),
            Change::SetTimeouts(change) => client.set_timeouts(*change),
            Change::StartDaemon(daemon) => client.start_sync_daemon(daemon),
            Change::StopDaemon(role) => client.stop_sync_daemon(*role),
        }
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
