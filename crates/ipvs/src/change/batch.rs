//! Many changes in few system calls.

use ipvs_sys as sys;

use crate::change::Change;
use crate::error::Error;
use crate::error::invalid_input::InvalidInput;
use crate::error::kind::ErrorKind;
use crate::model::config::TimeoutsChange;
use crate::model::destination::Destination;
use crate::model::key::{DestinationKey, ServiceKey};
use crate::model::service::Service;
use crate::model::sync_daemon::{SyncDaemon, SyncRole};
use crate::proto::engine::{WINDOW_BYTES, WINDOW_REQUESTS};
use crate::proto::request::RequestKind;

/// Changes that go to the kernel together. A batch is **not atomic**: each change is executed or
/// refused by itself, regardless of the others, and other programs can see and change the table in
/// between.
///
/// The kernel executes them in the order in which they were queued. Up to 128 of them, or 64 KiB,
/// take one system call to send and one to receive the results, and each has a result of its own:
/// see [`Client::run`](crate::Client::run). A value that the kernel can't represent makes that one
/// change fail with [`ErrorKind::InvalidInput`], unsent.
///
/// ```
/// use ipvs::{Batch, Destination, Service, ServiceKey};
///
/// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
/// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
/// let mut batch = Batch::new();
/// batch.add_service(&Service::new(vip));
/// for server in ["10.10.10.102:80", "10.10.10.103:80"] {
///     batch.add_destination(&vip, &Destination::new(server.parse()?));
/// }
/// for result in client.run(&batch) {
///     result?;
/// }
/// # assert_eq!(client.destinations(&vip)?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A batch takes about 300 bytes for each change, and keeps its memory when it is
/// [cleared](Self::clear), so queuing a change allocates nothing once the batch has been that long.
/// A batch that is run and cleared whenever it [is full](Self::is_full) does work of any length in
/// constant memory:
///
/// ```
/// # use ipvs::{Batch, Destination, DestinationKey, Service, ServiceKey};
/// # fn servers() -> impl Iterator<Item = DestinationKey> {
/// #     (1..=3000).map(|port| ([10, 10, 10, 102], port).into())
/// # }
/// # let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
/// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
/// # client.add_service(&Service::new(vip))?;
/// let mut batch = Batch::new();
/// let mut failed = 0;
/// for server in servers() {
///     batch.add_destination(&vip, &Destination::new(server));
///     if batch.is_full() {
///         client.run_each(&batch, |_, result| failed += usize::from(result.is_err()));
///         batch.clear();
///     }
/// }
/// client.run_each(&batch, |_, result| failed += usize::from(result.is_err()));
/// # assert_eq!((failed, client.destinations(&vip)?.len()), (0, 3000));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// All requests, one after the other, as they are sent except type, flags and sequence number.
    messages: Vec<u8>,
    items: Vec<Item>,
}

/// A change, and what is known about its request.
#[derive(Clone, Debug)]
struct Item {
    change: Change,
    kind: RequestKind,
    /// Where its request ends, and that of the next starts.
    end: usize,
    /// Whether it succeeds if there was nothing to delete.
    may_be_absent: bool,
    invalid: Option<InvalidInput>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of changes in it.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it has no changes.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Whether it holds as much as goes to the kernel at once: 128 changes, or 64 KiB. It can hold
    /// more; that only takes more memory.
    pub fn is_full(&self) -> bool {
        self.items.len() >= WINDOW_REQUESTS || self.messages.len() >= WINDOW_BYTES
    }

    /// Removes all changes, and keeps the memory for the next ones.
    pub fn clear(&mut self) {
        self.messages.clear();
        self.items.clear();
    }

    /// The queued changes, in the order of the results of [`Client::run`](crate::Client::run).
    pub fn changes(&self) -> impl ExactSizeIterator<Item = &Change> {
        self.items.iter().map(|item| &item.change)
    }

    /// Queues a [`Client::add_service`](crate::Client::add_service).
    pub fn add_service(&mut self, service: &Service) -> &mut Self {
        self.push_change(Change::AddService(service.clone()))
    }

    /// Queues a [`Client::set_service`](crate::Client::set_service).
    pub fn set_service(&mut self, service: &Service) -> &mut Self {
        self.push_change(Change::SetService(service.clone()))
    }

    /// Queues a [`Client::delete_service`](crate::Client::delete_service).
    pub fn delete_service(&mut self, key: &ServiceKey) -> &mut Self {
        self.push_change(Change::DeleteService(*key))
    }

    /// Queues a [`Client::add_destination`](crate::Client::add_destination).
    pub fn add_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> &mut Self {
        self.push_change(Change::AddDestination { service: *service, destination: *destination })
    }

    /// Queues a [`Client::set_destination`](crate::Client::set_destination).
    pub fn set_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> &mut Self {
        self.push_change(Change::SetDestination { service: *service, destination: *destination })
    }

    /// Queues a [`Client::delete_destination`](crate::Client::delete_destination).
    pub fn delete_destination(
        &mut self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> &mut Self {
        let destination = destination.into();
        self.push_change(Change::DeleteDestination { service: *service, destination })
    }

    /// Queues a [`Client::remove_service`](crate::Client::remove_service): the result is also `Ok`
    /// if there was no such service.
    ///
    /// What `ensure_*` and `edit_*` do can't be queued: they read first.
    pub fn remove_service(&mut self, key: &ServiceKey) -> &mut Self {
        self.delete_service(key).last_may_be_absent()
    }

    /// Queues a [`Client::remove_destination`](crate::Client::remove_destination): the result is
    /// also `Ok` if there was no such real server or no such service.
    pub fn remove_destination(
        &mut self,
        service: &ServiceKey,
        destination: impl Into<DestinationKey>,
    ) -> &mut Self {
        self.delete_destination(service, destination).last_may_be_absent()
    }

    fn last_may_be_absent(&mut self) -> &mut Self {
        if let Some(last) = self.items.last_mut() {
            last.may_be_absent = true;
        }
        self
    }

    /// The result of a change, as the call that queued it promised.
    pub(crate) fn result(&self, index: usize, result: Result<(), Error>) -> Result<(), Error> {
        let is_absent = |error: &Error| {
            matches!(error.kind(), ErrorKind::ServiceNotFound | ErrorKind::DestinationNotFound)
        };
        match result {
            Err(error) if self.items[index].may_be_absent && is_absent(&error) => Ok(()),
            other => other,
        }
    }

    /// Queues a [`Client::zero`](crate::Client::zero).
    pub fn zero(&mut self, service: Option<&ServiceKey>) -> &mut Self {
        self.push_change(Change::Zero(service.copied()))
    }

    /// Queues a [`Client::flush`](crate::Client::flush), which deletes all virtual services when
    /// its turn comes. It doesn't send the batch.
    pub fn flush(&mut self) -> &mut Self {
        self.push_change(Change::Flush)
    }

    /// Queues a [`Client::set_timeouts`](crate::Client::set_timeouts).
    pub fn set_timeouts(&mut self, change: impl Into<TimeoutsChange>) -> &mut Self {
        self.push_change(Change::SetTimeouts(change.into()))
    }

    /// Queues a [`Client::start_sync_daemon`](crate::Client::start_sync_daemon).
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> &mut Self {
        self.push_change(Change::StartSyncDaemon(daemon.clone()))
    }

    /// Queues a [`Client::stop_sync_daemon`](crate::Client::stop_sync_daemon).
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> &mut Self {
        self.push_change(Change::StopSyncDaemon(role))
    }

    /// Queues a change, or a [step](crate::plan::Step) of a plan.
    pub fn push(&mut self, change: impl Into<Change>) -> &mut Self {
        self.push_change(change.into())
    }

    fn push_change(&mut self, change: Change) -> &mut Self {
        let messages = &mut self.messages;
        let header = sys::Header { message_type: 0, flags: 0, seq: 0, port_id: 0 };
        let written = change.with_request(|request| {
            request.write(messages, &header);
            request.kind
        });
        let (kind, invalid) = match written {
            Ok(kind) => (kind, None),
            Err(input) => (RequestKind::Change, Some(input)),
        };
        let end = self.messages.len();
        self.items.push(Item { change, kind, end, may_be_absent: false, invalid });
        self
    }

    /// Why a change that was never sent has no result from the kernel.
    pub(crate) fn unsent(&self, index: usize) -> Error {
        self.request(index).err().unwrap_or_else(|| self.error(index, ErrorKind::NotSent))
    }

    /// The request of a change and its kind, or why it has none.
    pub(crate) fn request(&self, index: usize) -> Result<(&[u8], RequestKind), Error> {
        let item = &self.items[index];
        if let Some(input) = &item.invalid {
            return Err(self.error(index, ErrorKind::InvalidInput).with_source(input.clone()));
        }
        let start = index.checked_sub(1).map_or(0, |before| self.items[before].end);
        Ok((&self.messages[start..item.end], item.kind))
    }

    /// The change at that place.
    pub(crate) fn change(&self, index: usize) -> &Change {
        &self.items[index].change
    }

    pub(crate) fn error(&self, index: usize, kind: ErrorKind) -> Error {
        let change = self.change(index);
        Error::new(change.operation(), change.object(), kind)
    }
}

impl<C: Into<Change>> Extend<C> for Batch {
    fn extend<I: IntoIterator<Item = C>>(&mut self, changes: I) {
        for change in changes {
            self.push(change);
        }
    }
}

impl<C: Into<Change>> FromIterator<C> for Batch {
    fn from_iter<I: IntoIterator<Item = C>>(changes: I) -> Self {
        let mut batch = Self::new();
        batch.extend(changes);
        batch
    }
}
