//! The client: one call per operation.

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

/// How long a [`Client`] waits for a reply by default. The kernel works inside `send`, so a reply
/// that comes at all is there at once.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to the IPVS of one network namespace.
///
/// Every call waits for the kernel and ends with its reply, with an error, or at a deadline
/// ([`set_timeout`](Self::set_timeout)); none can hang. The client stays usable after an error. It
/// never runs a program: the kernel itself loads the modules it needs.
///
/// Every operation, including reads, needs CAP_NET_ADMIN: in the initial user namespace, or in the
/// one that owns the network namespace. In the latter case the client is limited to what IPVS's
/// [socket options](crate::SocketOptions) can express
/// ([`kernel_interface`](Client::kernel_interface)).
///
/// Calls name the command line that they equal (`ipvsadm -A`), and the search of this documentation
/// finds them by the kernel's names (`IPVS_CMD_NEW_SERVICE`).
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
    /// Whether rates are returned even if the kernel doesn't estimate them.
    stale_rates: bool,
    /// Holds the change of a single call, so that it needs no memory of its own.
    single: Batch,
}

impl Client {
    /// Opens a client in the calling thread's network namespace, where it stays even if the thread
    /// moves. The kernel loads the module `ip_vs` if necessary.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotAvailable`] if the kernel has no IPVS, [`ErrorKind::Io`] if no socket can be
    /// opened.
    pub fn connect() -> Result<Self, Error> {
        let socket = KernelSocket::open()
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        Self::with_transport(socket)
    }

    /// Opens a client in a network namespace. The calling thread stays where it is, and can use the
    /// client from any namespace.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] if the namespace can't be entered; otherwise as
    /// [`connect`](Self::connect).
    pub fn connect_in(namespace: &Namespace) -> Result<Self, Error> {
        Self::with_transport(KernelSocket::open_in(namespace)?)
    }

    /// The kernel interface in use: generic netlink, or socket options where only those accept the
    /// caller. `None` until one has accepted a request.
    pub fn kernel_interface(&self) -> Option<KernelInterface> {
        self.transport.kernel_interface()
    }
}

impl<T: Transport> Client<T> {
    /// Creates a client that talks to the other end of `transport`.
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

    /// Sets how long to wait for each reply: 10 seconds by default. A whole list may take longer,
    /// as long as it keeps coming. More than a year counts as a year.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.engine.set_timeout(timeout);
    }

    /// Sets whether [`Stats::rates`] are returned even if the kernel doesn't estimate any, as the C
    /// `ipvsadm` shows them: they then keep the last estimated values. False by default.
    pub fn set_stale_rates(&mut self, all: bool) {
        self.stale_rates = all;
    }
}
