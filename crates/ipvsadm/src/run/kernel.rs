//! The kernel's IPVS: connecting to it and changing it.

use std::ffi::OsStr;
use std::fmt;

use ipvs::{Batch, Change, Client, Error, ErrorKind, Info, Transport};

use crate::cli::keep::Update;
use crate::run::host::Host;
use crate::text::messages::{self, UsageError};

/// A connection to the kernel's IPVS.
#[derive(Debug)]
pub(crate) struct Kernel<T> {
    pub(crate) client: Client<T>,
    pub(crate) info: Info,
    /// Changes of a restore, which go to the kernel together.
    pending: Batch,
    /// A change that follows them, alone: it depends on their result.
    pending_update: Option<Update>,
}

/// Why a change wasn't made.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The kernel refused it, or didn't reply.
    Kernel(Error),
    /// It doesn't fit the object that it was meant to change.
    Mismatch(UsageError),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Kernel(error)
    }
}

impl Refusal {
    /// The C program's message for it, with a newline.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Kernel(error) => messages::kernel_error(error),
            Self::Mismatch(_) => format!("{self}\n"),
        }
    }
}

/// The alternate form (`{:#}`) has the hint of the library's error.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kernel(error) => error.fmt(f),
            Self::Mismatch(error) => {
                let message = error.message(OsStr::new("ipvsadm"));
                f.write_str(String::from_utf8_lossy(&message).trim_end())
            }
        }
    }
}

impl<T: Transport> Kernel<T> {
    /// Connects, and checks that this user may administer IPVS. The kernel loads its module by
    /// itself; where that is disabled, modprobe may still succeed.
    pub(crate) fn connect(host: &mut impl Host<Transport = T>) -> Result<Self, Error> {
        match host.connect().and_then(Self::new) {
            Err(error) if error.kind() == ErrorKind::NotAvailable && host.load_module() => {
                host.connect().and_then(Self::new)
            }
            result => result,
        }
    }

    pub(crate) fn new(mut client: Client<T>) -> Result<Self, Error> {
        let info = client.info()?;
        Ok(Self { client, info, pending: Batch::new(), pending_update: None })
    }

    /// Queues a change behind the pending ones, unless these are to be
    /// [flushed](Self::must_flush).
    pub(crate) fn queue(&mut self, change: &Change) {
        self.pending.push(change);
    }

    /// Queues an update, which has to be the last before a flush.
    pub(crate) fn queue_update(&mut self, update: Update) {
        self.pending_update = Some(update);
    }

    /// Whether the pending changes have to be flushed before another is queued.
    pub(crate) fn must_flush(&self) -> bool {
        self.pending.is_full() || self.pending_update.is_some()
    }

    /// Executes the pending changes, and reports the outcome of each.
    pub(crate) fn flush(&mut self, mut on_result: impl FnMut(Result<(), Refusal>)) {
        self.client.run_each(&self.pending, |_, result| on_result(result.map_err(Refusal::Kernel)));
        self.pending.clear();
        if let Some(update) = self.pending_update.take() {
            on_result(self.update(&update));
        }
    }

    /// Reads an object, and writes it back with its changes unless it already is as wanted.
    pub(crate) fn update(&mut self, update: &Update) -> Result<(), Refusal> {
        let mut applied = Ok(());
        match update {
            Update::Service(update) => {
                self.client.edit_service(&update.key, |service| {
                    let mut new = service.clone();
                    applied = update.apply(&mut new);
                    if applied.is_ok() {
                        *service = new;
                    }
                })?;
            }
            Update::Server(update) => {
                self.client.edit_destination(&update.service, &update.server, |server| {
                    let mut new = *server;
                    applied = update.apply(&mut new);
                    if applied.is_ok() {
                        *server = new;
                    }
                })?;
            }
        }
        applied.map_err(Refusal::Mismatch)
    }
}
