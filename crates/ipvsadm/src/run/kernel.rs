//! The kernel's IPVS: getting at it, and changing it.

use std::ffi::OsStr;
use std::fmt;
use std::process::Command as Process;

use ipvs::{Batch, Change, Client, Error, ErrorKind, Info, KernelSocket, Transport};
use rustix::net::{AddressFamily, SocketType, ipproto};

use crate::cli::keep::Update;
use crate::text::messages::{self, UsageError};

/// A connection to the kernel's IPVS.
#[derive(Debug)]
pub(crate) struct Kernel<T = KernelSocket> {
    pub(crate) client: Client<T>,
    pub(crate) info: Info,
    /// Changes of a restore that go to the kernel together.
    waiting: Batch,
    /// One that comes after them, and by itself: it depends on what they lead to.
    waiting_update: Option<Update>,
}

/// Why a change wasn't made.
#[derive(Debug)]
pub enum Refusal {
    /// The kernel refused it, or nobody knows.
    Kernel(Error),
    /// It doesn't fit what the kernel has.
    Unfit(Unfit),
}

/// What doesn't fit the object that it was to change.
#[derive(Debug)]
pub struct Unfit(pub(crate) UsageError);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl Refusal {
    /// What the C tool says of it, with a newline.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Kernel(error) => messages::kernel_error(error),
            Self::Unfit(_) => format!("{self}\n"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // With what to do about it, if that is asked for.
            Self::Kernel(error) => error.fmt(f),
            Self::Unfit(Unfit(error)) => {
                let message = error.message(OsStr::new("ipvsadm"));
                f.write_str(String::from_utf8_lossy(&message).trim_end())
            }
        }
    }
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
        Ok(Self { client, info, waiting: Batch::new(), waiting_update: None })
    }

    /// Puts a change behind those that wait, of which there are not
    /// [enough](Self::has_put_off_enough).
    pub(crate) fn put_off(&mut self, change: &Change) {
        self.waiting.push(change);
    }

    /// Puts an update behind the changes that wait: it goes last of them.
    pub(crate) fn put_off_update(&mut self, update: Update) {
        self.waiting_update = Some(update);
    }

    /// Whether as many changes wait as go to the kernel at once.
    pub(crate) fn has_put_off_enough(&self) -> bool {
        self.waiting.is_full() || self.waiting_update.is_some()
    }

    /// Carries out the changes that wait, and tells of each how it ended.
    pub(crate) fn catch_up(&mut self, mut on_result: impl FnMut(Result<(), Refusal>)) {
        self.client.run_each(&self.waiting, |_, result| on_result(result.map_err(Refusal::Kernel)));
        self.waiting.clear();
        if let Some(update) = self.waiting_update.take() {
            on_result(self.update(&update));
        }
    }

    /// Reads an object, and writes it as it is wanted unless it is that already.
    pub(crate) fn update(&mut self, update: &Update) -> Result<(), Refusal> {
        let mut unfit = Ok(());
        match update {
            Update::Service(update) => {
                self.client.edit_service(&update.key, |service| {
                    let mut new = service.clone();
                    unfit = update.apply(&mut new);
                    if unfit.is_ok() {
                        *service = new;
                    }
                })?;
            }
            Update::Server(update) => {
                self.client.edit_destination(&update.service, &update.server, |server| {
                    let mut new = *server;
                    unfit = update.apply(&mut new);
                    if unfit.is_ok() {
                        *server = new;
                    }
                })?;
            }
        }
        unfit.map_err(|error| Refusal::Unfit(Unfit(error)))
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
