//! The kernel as a transport, with controls for tests.

use std::fmt;
use std::io::{self, Cursor, Read};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipvs::proto::{Call, Refusal, Replies, Responder};
use ipvs::{DestinationKey, Operation, ProcFiles, ServiceKey, Stats, Transport};
use ipvs_sys as sys;
use rustix::io::Errno;
use thiserror::Error;

use crate::Builder;
use crate::counters::Counters;
use crate::fault::{Fault, FaultError, Faults};
use crate::files::{self, Files};
use crate::request::{DestId, ServiceId};
use crate::table::{Destination, Table};

/// The family's first id. Any id that generic netlink could assign would do; this one is typical.
const FAMILY: u16 = 0x1c;
/// Families have ids from here on; lower ones are netlink's own.
const FIRST_FAMILY: u16 = sys::nl::NLMSG_MIN_TYPE + 1;

type Hook = Box<dyn FnMut(&sys::Message) -> Result<(), Refusal> + Send>;

/// A model of the kernel's IPVS in one network namespace: the [`Transport`] of a
/// [`Client`](ipvs::Client) in tests.
///
/// A clone is another socket to the same IPVS, so several clients can share one, and a test can
/// keep a clone to inspect or change the table that its program sees.
///
/// ```
/// use ipvs::{Client, Service};
/// use ipvs_model::Kernel;
///
/// let kernel = Kernel::new();
/// let mut controller = Client::with_transport(kernel.clone())?;
/// let mut operator = Client::with_transport(kernel.clone())?;
/// operator.add_service(&Service::new("tcp/10.10.10.53:80".parse().unwrap()))?;
/// assert_eq!(controller.services()?.len(), 1);
/// # Ok::<(), ipvs::Error>(())
/// ```
pub struct Kernel {
    shared: Arc<Shared>,
    responder: Responder,
}

struct Shared {
    /// The id of IPVS's generic-netlink family.
    family: AtomicU16,
    table: Mutex<Table>,
    files: Mutex<Files>,
    faults: Mutex<Faults>,
    /// Has its own lock, because the hook may use the kernel while it runs.
    hook: Mutex<Option<Hook>>,
}

/// The connections of a real server: see [`Kernel::set_connections`].
///
/// ```
/// use ipvs_model::ConnectionCounts;
///
/// let counts = ConnectionCounts::default().active(3);
/// assert_eq!((counts.active, counts.inactive, counts.persistent), (3, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionCounts {
    /// Connections in a state that counts as active.
    pub active: u32,
    /// All other connections.
    pub inactive: u32,
    /// Persistence templates: remembered clients.
    pub persistent: u32,
}

impl ConnectionCounts {
    /// Sets the number of connections in a state that counts as active.
    #[must_use]
    pub fn active(mut self, active: u32) -> Self {
        self.active = active;
        self
    }

    /// Sets the number of all other connections.
    #[must_use]
    pub fn inactive(mut self, inactive: u32) -> Self {
        self.inactive = inactive;
        self
    }

    /// Sets the number of persistence templates.
    #[must_use]
    pub fn persistent(mut self, persistent: u32) -> Self {
        self.persistent = persistent;
        self
    }
}

/// The kernel has no such virtual service, or the service has no such real server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the kernel has no real server {destination} of a virtual service {service}")]
pub struct NotFound {
    /// The virtual service.
    pub service: ServiceKey,
    /// The real server.
    pub destination: DestinationKey,
}

impl Kernel {
    /// Creates a kernel without services, of the newest version known to this crate: Linux 7.2.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Starts building a kernel with other properties.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn with(settings: Builder) -> Self {
        Self::of(FAMILY, settings.files.clone(), Table::new(settings))
    }

    fn of(family: u16, files: Files, table: Table) -> Self {
        let shared = Shared {
            family: AtomicU16::new(family),
            files: Mutex::new(files),
            table: Mutex::new(table),
            faults: Mutex::default(),
            hook: Mutex::new(None),
        };
        Self { shared: Arc::new(shared), responder: Responder::new(family) }
    }

    /// An independent copy of this kernel in its current state. Faults and the hook aren't copied.
    ///
    /// ```
    /// use ipvs::Client;
    /// use ipvs_model::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let before = kernel.fork();
    /// let service = ipvs::Service::new("tcp/10.10.10.53:80".parse().unwrap());
    /// Client::with_transport(kernel)?.add_service(&service)?;
    /// assert_eq!(Client::with_transport(before)?.services()?, []);
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    #[must_use]
    pub fn fork(&self) -> Self {
        let shared = &self.shared;
        let family = shared.family.load(Ordering::Relaxed);
        let files = lock(&shared.files).clone();
        Self::of(family, files, lock(&shared.table).clone())
    }

    /// Reloads the module: services, sync daemons and connections are gone, timeouts and
    /// [settings](ipvs::sysctl) return to their initial values, and requests to the family's old id
    /// are refused with ENOENT. Returns the new id; ids are only reused once all have been used.
    ///
    /// ```
    /// use ipvs::{Client, Service};
    /// use ipvs_model::Kernel;
    ///
    /// let kernel = Kernel::new();
    /// let mut client = Client::with_transport(kernel.clone())?;
    /// client.add_service(&Service::new("tcp/10.10.10.53:80".parse().unwrap()))?;
    /// kernel.reload_module();
    /// // The client finds the new id by itself.
    /// assert_eq!(client.services()?, []);
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn reload_module(&self) -> u16 {
        let shared = &self.shared;
        let mut table = lock(&shared.table);
        let settings = table.settings().clone();
        *lock(&shared.files) = settings.files.without_connections();
        *table = Table::new(settings);
        let family = shared.family.load(Ordering::Relaxed);
        let family = family.checked_add(1).unwrap_or(FIRST_FAMILY);
        shared.family.store(family, Ordering::Relaxed);
        family
    }

    /// Adds to the traffic counters of a real server, and so to those of its virtual service. If
    /// `stats` has rates, they replace the real server's; the width of `stats` is ignored.
    ///
    /// # Errors
    ///
    /// If there is no such real server.
    pub fn count(
        &self,
        service: &ServiceKey,
        destination: &DestinationKey,
        stats: &Stats,
    ) -> Result<(), NotFound> {
        self.change(service, destination, |server, whole| {
            server.counters.add(stats);
            whole.add(&stats.rates(None));
        })
    }

    /// Sets how many connections a real server has.
    ///
    /// # Errors
    ///
    /// If there is no such real server.
    pub fn set_connections(
        &self,
        service: &ServiceKey,
        destination: &DestinationKey,
        counts: ConnectionCounts,
    ) -> Result<(), NotFound> {
        self.change(service, destination, |server, _| server.connections = counts)
    }

    fn change(
        &self,
        service: &ServiceKey,
        destination: &DestinationKey,
        change: impl FnOnce(&mut Destination, &mut Counters),
    ) -> Result<(), NotFound> {
        let mut table = lock(&self.shared.table);
        let found =
            table.destination_mut(&ServiceId::of_key(service), &DestId::of_key(destination));
        let (server, whole) =
            found.ok_or(NotFound { service: *service, destination: *destination })?;
        change(server, whole);
        Ok(())
    }

    /// Forgets deleted real servers: one that is added again starts with zero counters and no
    /// connections. Linux does so two to three minutes after the last connection to a deleted real
    /// server has ended; the model only does so here.
    pub fn empty_trash(&self) {
        lock(&self.shared.table).empty_trash();
    }

    /// Makes requests of any client fail, in addition to the faults of earlier calls. If several
    /// faults match a request, the earliest applies.
    ///
    /// # Errors
    ///
    /// If no request can fail like that: see [`FaultError`].
    ///
    /// ```
    /// use ipvs::{Client, ErrorKind, Operation, Service};
    /// use ipvs_model::{Fault, Kernel};
    ///
    /// let kernel = Kernel::new();
    /// let mut client = Client::with_transport(kernel.clone())?;
    /// let service = Service::new("tcp/10.10.10.53:80".parse()?);
    /// // The reply to the second change from here on gets lost.
    /// kernel.fail(Fault::on(Operation::AddService).lost_answer().after(1))?;
    /// client.add_service(&service)?;
    /// let other = Service::new("udp/10.10.10.53:80".parse()?);
    /// let error = client.add_service(&other).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    /// assert!(client.service(&other.key)?.is_some(), "only the answer was lost");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn fail(&self, fault: Fault) -> Result<(), FaultError> {
        lock(&self.shared.faults).add(fault)
    }

    /// Removes all faults set by [`fail`](Self::fail).
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Calls `hook` before each request to IPVS; replaces an earlier hook. The hook may refuse the
    /// request, or use the kernel through a clone, like another writer that comes first. It isn't
    /// called for its own requests.
    ///
    /// ```
    /// use ipvs::{Client, ErrorKind, Service};
    /// use ipvs_model::Kernel;
    /// use ipvs_sys::Command;
    ///
    /// let kernel = Kernel::new();
    /// let service = Service::new("tcp/10.10.10.53:80".parse().unwrap());
    /// let (mut rival, theirs) = (Client::with_transport(kernel.clone())?, service.clone());
    /// kernel.before_each(move |request| {
    ///     if request.command == Command::NewService {
    ///         let _ = rival.add_service(&theirs);
    ///     }
    ///     Ok(())
    /// });
    ///
    /// let mut client = Client::with_transport(kernel)?;
    /// let error = client.add_service(&service).unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ServiceExists);
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn before_each(
        &self,
        hook: impl FnMut(&sys::Message) -> Result<(), Refusal> + Send + 'static,
    ) {
        *lock(&self.shared.hook) = Some(Box::new(hook));
    }
}

impl Shared {
    /// `family` is the id that the request was sent to; `lost` says whether the replies to its
    /// datagram are lost.
    fn carry_out(
        &self,
        family: u16,
        call: &Call<'_>,
        replies: &mut Replies<'_>,
        lost: &mut bool,
    ) -> Result<(), Refusal> {
        self.run_hook(call.message)?;
        if family != self.family.load(Ordering::Relaxed) {
            // The module was reloaded since the datagram's first request, by the hook or another
            // thread.
            return Err(Errno::NOENT.into());
        }
        lock(&self.faults).on_request(call, lost)?;
        Ok(lock(&self.table).carry_out(call, |message| replies.push(message))?)
    }

    fn run_hook(&self, request: &sys::Message) -> Result<(), Refusal> {
        // Taken out, so that it isn't called for its own requests.
        let Some(mut hook) = lock(&self.hook).take() else { return Ok(()) };
        let outcome = hook(request);
        // Unless it has installed another hook.
        lock(&self.hook).get_or_insert(hook);
        outcome
    }
}

/// A thread that panicked leaves a valid table: each change is a single step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transport for Kernel {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let shared = &self.shared;
        let family = shared.family.load(Ordering::Relaxed);
        self.responder.set_family(family);
        let mut lost = false;
        self.responder
            .respond(datagram, |call, replies| shared.carry_out(family, call, replies, &mut lost));
        if lost {
            self.responder.discard();
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        // The requests were executed in `send`, so a reply that isn't queued won't come.
        Ok(self.responder.receive(buffer))
    }

    fn reset(&mut self) -> io::Result<()> {
        self.responder.discard();
        Ok(())
    }

    fn files(&mut self) -> Option<&mut dyn ProcFiles> {
        Some(self)
    }
}

impl ProcFiles for Kernel {
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let setting = files::setting_of(path);
        let operation = if setting.is_some() { Operation::Sysctl } else { Operation::Connections };
        lock(&self.shared.faults).on_file(operation, setting)?;
        Ok(Box::new(Cursor::new(lock(&self.shared.files).read(path)?)))
    }

    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        lock(&self.shared.faults).on_file(Operation::SetSysctl, files::setting_of(path))?;
        lock(&self.shared.files).write(path, text)
    }

    /// Faults don't affect what a client reads for its own use.
    fn peek(&mut self, path: &str, buffer: &mut [u8]) -> io::Result<usize> {
        let text = lock(&self.shared.files).read(path)?;
        let length = text.len().min(buffer.len());
        buffer[..length].copy_from_slice(&text.as_bytes()[..length]);
        Ok(length)
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for Kernel {
    /// Another socket to the same IPVS.
    fn clone(&self) -> Self {
        let family = self.shared.family.load(Ordering::Relaxed);
        Self { shared: Arc::clone(&self.shared), responder: Responder::new(family) }
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kernel").field("table", &self.shared.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ipvs::{Batch, Client, Service, sysctl};

    use super::*;

    #[test]
    fn a_module_reloaded_between_two_requests_of_a_datagram_knows_neither() {
        let kernel = Kernel::new();
        let (module, mut requests) = (kernel.clone(), 0);
        kernel.before_each(move |_| {
            requests += 1;
            if requests == 2 {
                module.reload_module();
            }
            Ok(())
        });
        let mut batch = Batch::new();
        let marks = ["fwmark/1", "fwmark/2", "fwmark/3"];
        let keys = marks.map(|mark| mark.parse::<ServiceKey>().unwrap());
        for key in keys {
            batch.add_service(&Service::new(key));
        }
        let mut client = Client::with_transport(kernel).unwrap();
        assert!(client.run(&batch).iter().all(Result::is_ok));
        let left: Vec<_> =
            client.services().unwrap().iter().map(|entry| entry.service.key).collect();
        assert_eq!(left, keys[1..], "the first was there before, and went with the old module");
    }

    #[test]
    fn a_reloaded_module_has_its_initial_settings() {
        let list = "title\nTCP 0A0A0A01 C350 0A0A0A35 0050 0A0A0A66 0050 ESTABLISHED     899\n";
        let kernel =
            Kernel::builder().sysctl(sysctl::CONNTRACK, false).unwrap().connections(list).build();
        let mut client = Client::with_transport(kernel.clone()).unwrap();
        client.set_sysctl(sysctl::CONNTRACK, true).unwrap();
        kernel.reload_module();
        assert_eq!(client.sysctl(sysctl::CONNTRACK).unwrap(), Some(false));
        assert_eq!(client.connections().unwrap().count(), 0);
    }
}
