//! The kernel's IPVS: getting at it, and changing it.

use std::process::Command as Process;

use ipvs::{Batch, Change, Client, Error, ErrorKind, Info, KernelSocket, Transport};
use rustix::net::{AddressFamily, SocketType, ipproto};

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

    /// Puts a change behind those that wait.
    pub(crate) fn put_off(&mut self, change: &Change) {
        self.waiting.push(change);
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
