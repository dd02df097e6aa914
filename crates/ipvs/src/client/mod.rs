//! The client: one call an operation.

mod apply;
mod config;
mod daemons;
mod destinations;
mod director;
pub(crate) mod drain;
mod edit;
mod exchange;
mod files;
mod lists;
mod overview;
mod reconcile;
mod run;
mod services;
mod snapshot;
mod watch;
mod window;

use std::time::Duration;

use crate::change::batch::Batch;
use crate::error::Error;
#[cfg(doc)]
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;
#[cfg(doc)]
use crate::model::stats::Stats;
use crate::proto::engine::Engine;
use crate::transport::Transport;
use crate::transport::kernel_socket::{KernelInterface, KernelSocket};
use crate::transport::netns::Namespace;

/// How long a [`Client`] waits for an answer if not told otherwise. The kernel works before it
/// answers, so an answer that is to come at all is there at once.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the IPVS of one network namespace.
///
/// Every call waits for the kernel and ends with its answer, with an error, or at a deadline
/// ([`set_timeout`](Self::set_timeout)); none can hang. A client whose call failed can be used
/// on. It never executes a program: the kernel itself loads the modules it needs.
///
/// Every operation needs CAP_NET_ADMIN, reads included: in the initial user namespace; or in the
/// one that owns the network namespace, and then it is limited to what IPVS'
/// [socket options](crate::SocketOptions) have a place for ([`kernel_interface`](Client::kernel_interface)).
///
/// ```no_run
/// use ipvs::{Client, Destination, Scheduler, Service, ServiceKey};
///
/// let mut client = Client::connect()?;
/// let vip = ServiceKey::tcp("10.10.10.53:80".parse()?);
/// client.add_service(&Service::new(vip).scheduler(Scheduler::RR))?;
/// for server in ["10.10.10.102:80", "10.10.10.103:80"] {
///     client.add_destination(&vip, &Destination::new(server.parse()?))?;
/// }
/// assert_eq!(client.destinations(&vip)?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client<T = KernelSocket> {
    transport: T,
    engine: Engine,
    family: u16,
    buffer: Vec<u8>,
    /// Whether rates are passed on even where the kernel doesn't estimate them.
    stale_rates: bool,
    /// Holds the change of a single call, so that it needs no memory of its own.
    single: Batch,
}

impl Client {
    /// Opens a client in the calling thread's network namespace; it stays there whatever becomes
    /// of the thread. The kernel loads the module `ip_vs` if it has to and can.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotAvailable`] if the kernel has no IPVS, [`ErrorKind::Io`] if no socket can
    /// be had.
    pub fn connect() -> Result<Self, Error> {
        let socket = KernelSocket::open()
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        Self::with_transport(socket)
    }

    /// Opens a client in a network namespace. The calling thread stays where it is, and may use
    /// the client from wherever it goes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] if the namespace can't be entered, else as
    /// [`connect`](Self::connect).
    pub fn connect_in(namespace: &Namespace) -> Result<Self, Error> {
        Self::with_transport(KernelSocket::open_in(namespace)?)
    }

    /// Which of the kernel's interfaces to IPVS is used: generic netlink, or socket options where
    /// only those accept the caller. `None` until one has accepted a request.
    pub fn kernel_interface(&self) -> Option<KernelInterface> {
        self.transport.kernel_interface()
    }
}

impl<T: Transport> Client<T> {
    /// Speaks to whatever is at the other end of `transport`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Client::connect).
    pub fn with_transport(transport: T) -> Result<Self, Error> {
        let mut client = Self {
            transport,
            engine: Engine::new(DEFAULT_TIMEOUT),
            family: 0,
            buffer: Vec::new(),
            stale_rates: false,
            single: Batch::new(),
        };
        client.resolve_family().map_err(|error| error.into_error(Operation::Connect, None))?;
        Ok(client)
    }

    /// Sets how long to wait for each answer: 10 seconds if never set. A list may take longer as
    /// a whole, as long as it keeps coming. More than a year counts as a year.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.engine.set_timeout(timeout);
    }

    /// Sets whether [`Stats::rates`] are passed on as the kernel reports them even where it doesn't
    /// estimate any, as the C `ipvsadm` shows them: then they are those of the moment when it last
    /// did, for ever. False if never set.
    pub fn set_stale_rates(&mut self, all: bool) {
        self.stale_rates = all;
    }
}
