//! The client: one call an operation.

use std::io;
use std::time::{Duration, Instant};

use ipvs_sys as sys;
use ipvs_sys::Command;
use rustix::io::Errno;

use crate::connections::{self, Connections};
use crate::error::{Error, ErrorKind, Object, Operation};
use crate::proto::{Engine, Event, Failure, PushError, Request, RequestId, Shape};
use crate::transport::{NetlinkSocket, Transport};
use crate::wire::{self, Implausible};
use crate::{
    Destination, DestinationEntry, DestinationKey, Info, InvalidInput, Service, ServiceEntry,
    ServiceKey, SyncDaemon, SyncRole, Timeouts, TimeoutsChange,
};

/// How long a [`Client`] waits for an answer if not told otherwise. The kernel works before it
/// answers, so an answer that is to come at all is there at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to the IPVS of one network namespace.
///
/// Every call waits for the kernel and ends with its answer, with an error, or at a deadline
/// ([`set_timeout`](Self::set_timeout)); none can hang. A client whose call failed can be used
/// on. It never executes a program: the kernel itself loads the modules it needs.
///
/// Every operation needs CAP_NET_ADMIN in the initial user namespace, reads included.
///
/// ```no_run
/// use ipvs::{Client, Destination, Scheduler, Service, ServiceKey};
///
/// let mut client = Client::connect()?;
/// let vip = ServiceKey::tcp("10.10.10.53:80".parse()?);
/// client.add_service(&Service::new(vip).scheduler(Scheduler::RR))?;
/// for server in ["10.10.10.102:80", "10.10.10.103:80"] {
///     let server: std::net::SocketAddr = server.parse()?;
///     client.add_destination(&vip, &Destination::new(server))?;
/// }
/// assert_eq!(client.destinations(&vip)?.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client<T = NetlinkSocket> {
    transport: T,
    engine: Engine,
    family: u16,
    buffer: Vec<u8>,
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
        let socket = NetlinkSocket::open()
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        Self::with_transport(socket)
    }
}

impl<T: Transport> Client<T> {
    /// Speaks to whatever is at the other end of `transport`.
    ///
    /// # Errors
    ///
    /// As [`connect`](Client::connect).
    pub fn with_transport(transport: T) -> Result<Self, Error> {
        let mut client =
            Self { transport, engine: Engine::new(PATIENCE), family: 0, buffer: Vec::new() };
        client.resolve_family().map_err(|trouble| trouble.into_error(Operation::Connect, None))?;
        Ok(client)
    }

    /// Sets how long to wait for each answer: 10 seconds if never set. A list may take longer as
    /// a whole, as long as it keeps coming.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.engine.set_patience(timeout);
    }

    /// The version of IPVS and the size of its connection table (`IPVS_CMD_GET_INFO`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn info(&mut self) -> Result<Info, Error> {
        let operation = Operation::Info;
        let request = Request::new(Command::GetInfo, Shape::Get);
        self.get(operation, None, &request, |message| wire::info_from_wire(&message.info))
    }

    /// How long idle connections are kept (`IPVS_CMD_GET_CONFIG`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn timeouts(&mut self) -> Result<Timeouts, Error> {
        let operation = Operation::Timeouts;
        let request = Request::new(Command::GetConfig, Shape::Get);
        self.get(operation, None, &request, |message| wire::timeouts_from_wire(&message.timeouts))
    }

    /// Sets how long idle connections are kept (`IPVS_CMD_SET_CONFIG`); takes a
    /// [`TimeoutsChange`], or [`Timeouts`] for all of them. What is `None` stays as it is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`] for 0 and for fractions of a second,
    /// [`ErrorKind::InvalidArgument`] for more than the kernel can count.
    pub fn set_timeouts(&mut self, change: impl Into<TimeoutsChange>) -> Result<(), Error> {
        let operation = Operation::SetTimeouts;
        let timeouts = wire::timeouts_to_wire(&change.into()).map_err(invalid(operation, None))?;
        let request = Request::new(Command::SetConfig, Shape::Change).timeouts(&timeouts);
        self.change(operation, None, &request)
    }

    /// All virtual services, in the kernel's order (`IPVS_CMD_GET_SERVICE`, as a dump). An empty
    /// table is an empty list.
    ///
    /// The kernel cuts the list into parts: if others delete services meanwhile, it may lack
    /// some that nobody touched.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn services(&mut self) -> Result<Vec<ServiceEntry>, Error> {
        let request = Request::new(Command::GetService, Shape::Dump);
        self.list(Operation::Services, None, &request, decode_service)
    }

    /// The virtual service of that key, if there is one (`IPVS_CMD_GET_SERVICE`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn service(&mut self, key: &ServiceKey) -> Result<Option<ServiceEntry>, Error> {
        match self.existing_service(Operation::Service, key) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind() == ErrorKind::ServiceNotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn existing_service(
        &mut self,
        operation: Operation,
        key: &ServiceKey,
    ) -> Result<ServiceEntry, Error> {
        let wire = wire::key_to_wire(key);
        let request = Request::new(Command::GetService, Shape::Get).service(&wire);
        self.get(operation, Some(Object::Service(*key)), &request, decode_service)
    }

    /// Adds a virtual service (`IPVS_CMD_NEW_SERVICE`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceExists`]; [`ErrorKind::SchedulerOrEngineNotFound`];
    /// [`ErrorKind::InvalidInput`] for what the kernel has no place for.
    pub fn add_service(&mut self, service: &Service) -> Result<(), Error> {
        self.write_service(Operation::AddService, Command::NewService, service)
    }

    /// Replaces the configuration of a virtual service as a whole, and leaves its real servers
    /// and counters alone (`IPVS_CMD_SET_SERVICE`). A change of the scheduler costs the kernel
    /// some milliseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; else as [`add_service`](Self::add_service).
    pub fn set_service(&mut self, service: &Service) -> Result<(), Error> {
        self.write_service(Operation::SetService, Command::SetService, service)
    }

    fn write_service(
        &mut self,
        operation: Operation,
        command: Command,
        service: &Service,
    ) -> Result<(), Error> {
        let object = Some(Object::Service(service.key));
        let wire = wire::service_to_wire(service).map_err(invalid(operation, object))?;
        let request = Request::new(command, Shape::Change).service(&wire);
        self.change(operation, object, &request)
    }

    /// Deletes a virtual service and its real servers (`IPVS_CMD_DEL_SERVICE`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<(), Error> {
        let wire = wire::key_to_wire(key);
        let request = Request::new(Command::DelService, Shape::Change).service(&wire);
        self.change(Operation::DeleteService, Some(Object::Service(*key)), &request)
    }

    /// The real servers of a virtual service, in the kernel's order (`IPVS_CMD_GET_DEST`, as a
    /// dump). A service without any gives an empty list.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]: the kernel itself answers with an empty list there, so an
    /// empty one is checked.
    pub fn destinations(&mut self, service: &ServiceKey) -> Result<Vec<DestinationEntry>, Error> {
        let operation = Operation::Destinations;
        let object = Some(Object::Service(*service));
        let wire = wire::key_to_wire(service);
        let family = service.family();
        let request = Request::new(Command::GetDest, Shape::Dump).service(&wire);
        let entries = self.list(operation, object, &request, |message| {
            let dest = message.dest.as_ref().ok_or(Implausible::Missing("destination"))?;
            wire::destination_from_wire(dest, family)
        })?;
        if entries.is_empty() {
            self.existing_service(operation, service)?;
        }
        Ok(entries)
    }

    /// Adds a real server to a virtual service (`IPVS_CMD_NEW_DEST`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationExists`];
    /// [`ErrorKind::OutOfRange`] for a weight above 2,147,483,647 or a lower threshold above the
    /// upper one; [`ErrorKind::InvalidArgument`] for an address that isn't unicast, a GUE port 0,
    /// another address family without a tunnel, or, since Linux 7.2, an upper threshold above
    /// 2,147,483,647, which earlier kernels store.
    pub fn add_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        self.write_destination(Operation::AddDestination, Command::NewDest, service, destination)
    }

    /// Replaces the configuration of a real server as a whole, and leaves its connections and
    /// counters alone (`IPVS_CMD_SET_DEST`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::DestinationNotFound`]; else as [`add_destination`](Self::add_destination).
    pub fn set_destination(
        &mut self,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        self.write_destination(Operation::SetDestination, Command::SetDest, service, destination)
    }

    fn write_destination(
        &mut self,
        operation: Operation,
        command: Command,
        service: &ServiceKey,
        destination: &Destination,
    ) -> Result<(), Error> {
        let (key, wire) = (wire::key_to_wire(service), wire::destination_to_wire(destination));
        let request = Request::new(command, Shape::Change).service(&key).dest(&wire);
        self.change(operation, Some(Object::Destination(*service, destination.key())), &request)
    }

    /// Takes a real server out of a virtual service (`IPVS_CMD_DEL_DEST`). Its connections end
    /// as their packets come, unless it is added again soon.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`]; [`ErrorKind::DestinationNotFound`].
    pub fn delete_destination(
        &mut self,
        service: &ServiceKey,
        destination: &DestinationKey,
    ) -> Result<(), Error> {
        let (key, wire) = (wire::key_to_wire(service), wire::destination_key_to_wire(destination));
        let request = Request::new(Command::DelDest, Shape::Change).service(&key).dest(&wire);
        let object = Object::Destination(*service, *destination);
        self.change(Operation::DeleteDestination, Some(object), &request)
    }

    /// Starts the counters of one virtual service and its real servers at 0 again, or those of
    /// all (`IPVS_CMD_ZERO`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::ServiceNotFound`].
    pub fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), Error> {
        let wire = service.map(wire::key_to_wire);
        let mut request = Request::new(Command::Zero, Shape::Change);
        request.service = wire.as_ref();
        let object = service.map_or(Object::AllServices, |key| Object::Service(*key));
        self.change(Operation::Zero, Some(object), &request)
    }

    /// Deletes all virtual services of the network namespace (`IPVS_CMD_FLUSH`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn flush(&mut self) -> Result<(), Error> {
        self.change(Operation::Flush, None, &Request::new(Command::Flush, Shape::Change))
    }

    /// The sync daemons that run: none, one, or one of each role (`IPVS_CMD_GET_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PermissionDenied`] without CAP_NET_ADMIN.
    pub fn sync_daemons(&mut self) -> Result<Vec<SyncDaemon>, Error> {
        let request = Request::new(Command::GetDaemon, Shape::Dump);
        self.list(Operation::SyncDaemons, None, &request, |message| {
            let daemon = message.daemon.as_ref().ok_or(Implausible::Missing("sync daemon"))?;
            wire::daemon_from_wire(daemon)
        })
    }

    /// Starts a sync daemon (`IPVS_CMD_NEW_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonRunning`] if one of that role runs;
    /// [`ErrorKind::InterfaceNotFound`]; [`ErrorKind::InvalidArgument`] for a group that isn't
    /// multicast, or while a service has real servers of the other address family.
    pub fn start_sync_daemon(&mut self, daemon: &SyncDaemon) -> Result<(), Error> {
        let wire = wire::daemon_to_wire(daemon);
        let request = Request::new(Command::NewDaemon, Shape::Change).daemon(&wire);
        let object = Object::SyncDaemon(daemon.role);
        self.change(Operation::StartSyncDaemon, Some(object), &request)
    }

    /// Stops the sync daemon of a role (`IPVS_CMD_DEL_DAEMON`).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::SyncDaemonNotRunning`].
    pub fn stop_sync_daemon(&mut self, role: SyncRole) -> Result<(), Error> {
        let operation = Operation::StopSyncDaemon;
        let object = Some(Object::SyncDaemon(role));
        let wire = sys::Daemon { state: Some(wire::role_to_wire(role)), ..sys::Daemon::default() };
        // A daemon that is stopped before its thread first ran ends the command with EINTR, and
        // then the kernel sends no acknowledgement at all. A question behind it in the same
        // window gets an answer in any case, and so nobody has to wait for a deadline.
        let stop = Request::new(Command::DelDaemon, Shape::AcknowledgedChange).daemon(&wire);
        let barrier = Request::new(Command::GetConfig, Shape::Get);
        match self.request(&[stop, barrier], |_| Ok(())) {
            Err(Trouble::Failure(Failure::Unacknowledged)) => {
                let still_runs = self.sync_daemons()?.iter().any(|daemon| daemon.role == role);
                if still_runs {
                    return Err(Error::new(operation, object, ErrorKind::OutcomeUnknown));
                }
                Ok(())
            }
            other => other.map_err(|trouble| trouble.into_error(operation, object)),
        }
    }

    /// The connections of the calling thread's network namespace, persistence templates
    /// included, one after the other from `/proc/net/ip_vs_conn`. Memory doesn't grow with their
    /// number.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] if the file can't be opened.
    pub fn connections(&mut self) -> Result<Connections, Error> {
        connections::open().map_err(|cause| Error::from_io(Operation::Connections, None, cause))
    }

    fn change(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
    ) -> Result<(), Error> {
        self.request(&[*request], |_| Ok(()))
            .map_err(|trouble| trouble.into_error(operation, object))
    }

    fn get<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&sys::Message) -> Result<R, Implausible>,
    ) -> Result<R, Error> {
        let mut entries = self.list(operation, object, request, decode)?;
        entries.pop().ok_or_else(|| {
            Trouble::Implausible(Implausible::Missing("message")).into_error(operation, object)
        })
    }

    fn list<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&sys::Message) -> Result<R, Implausible>,
    ) -> Result<Vec<R>, Error> {
        let mut entries = Vec::new();
        self.request(&[*request], |payload| {
            entries.push(decode(&sys::Message::decode(payload)?)?);
            Ok(())
        })
        .map_err(|trouble| trouble.into_error(operation, object))?;
        Ok(entries)
    }

    /// Sends requests in one window, and returns how the first of them ended.
    ///
    /// ENOENT may mean that the family's id is no longer IPVS', because the module was loaded
    /// anew: then the id is resolved again, and the requests sent once more.
    fn request(
        &mut self,
        requests: &[Request<'_>],
        mut on_reply: impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let outcome = self.request_once(requests, &mut on_reply);
        match outcome {
            Err(Trouble::Failure(Failure::Kernel { errno, .. }))
                if errno == Errno::NOENT.raw_os_error() =>
            {
                let before = self.family;
                self.resolve_family()?;
                if self.family == before {
                    return outcome;
                }
                self.request_once(requests, &mut on_reply)
            }
            other => other,
        }
    }

    fn request_once(
        &mut self,
        requests: &[Request<'_>],
        on_reply: &mut impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut first = None;
        for request in requests {
            let id = self.engine.push(request)?;
            first.get_or_insert(id);
        }
        self.finish(first, on_reply)
    }

    fn resolve_family(&mut self) -> Result<(), Trouble> {
        let mut found = None;
        let id = self.engine.push_get_family()?;
        let outcome = self.finish(Some(id), &mut |payload: &[u8]| {
            found = Some(sys::Family::decode(payload)?.id);
            Ok(())
        });
        match outcome {
            Err(Trouble::Failure(Failure::Kernel { errno, .. }))
                if errno == Errno::NOENT.raw_os_error() =>
            {
                return Err(Trouble::NoFamily);
            }
            other => other?,
        }
        self.family = found.ok_or(Trouble::Implausible(Implausible::Missing("family id")))?;
        self.engine.set_family(self.family);
        Ok(())
    }

    /// Sends what was pushed, and receives until all of it has ended. Returns how `first` ended,
    /// or else what went wrong with its replies or below the protocol.
    fn finish(
        &mut self,
        first: Option<RequestId>,
        on_reply: &mut impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut outcome = Ok(());
        let mut bad_reply = None;
        let mut on_event = |event: Event<'_>| match event {
            Event::Reply { id, payload } if Some(id) == first && bad_reply.is_none() => {
                bad_reply = on_reply(payload).err();
            }
            Event::Settled { id, outcome: settled } if Some(id) == first => outcome = settled,
            _ => {}
        };
        while !self.engine.is_idle() {
            if let Err(trouble) = self.step(&mut on_event) {
                self.engine.abandon(&mut on_event);
                // If it fails, so will the next call, and say why; here the first cause counts.
                let _ = self.transport.reset();
                return Err(trouble);
            }
        }
        match bad_reply {
            Some(trouble) => Err(trouble),
            None => Ok(outcome?),
        }
    }

    fn step(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> Result<(), Trouble> {
        if let Some(datagram) = self.engine.poll_transmit(Instant::now()) {
            self.transport.send(datagram)?;
        }
        let Some(deadline) = self.engine.deadline() else { return Ok(()) };
        if !self.transport.receive(&mut self.buffer, deadline)? {
            return Err(Trouble::Failure(Failure::Unknown));
        }
        Ok(self.engine.feed(Instant::now(), &self.buffer, on_event)?)
    }
}

fn invalid(operation: Operation, object: Option<Object>) -> impl Fn(InvalidInput) -> Error {
    move |input| Error::new(operation, object, ErrorKind::InvalidInput).with_source(input)
}

fn decode_service(message: &sys::Message) -> Result<ServiceEntry, Implausible> {
    wire::service_from_wire(message.service.as_ref().ok_or(Implausible::Missing("service"))?)
}

/// What can go wrong with a request, before it is known what it was about.
#[derive(Debug)]
enum Trouble {
    Failure(Failure),
    NoFamily,
    Io(io::Error),
    Decode(sys::DecodeError),
    Implausible(Implausible),
    /// The engine took less than a window; only a caller that pushes more than fits meets this.
    Push(PushError),
}

impl Trouble {
    fn into_error(self, operation: Operation, object: Option<Object>) -> Error {
        let error = |kind| Error::new(operation, object, kind);
        match self {
            Self::Failure(Failure::Kernel { errno, message }) => {
                Error::from_kernel(operation, object, errno, message)
            }
            Self::Failure(Failure::Unacknowledged | Failure::Unknown) => {
                error(ErrorKind::OutcomeUnknown)
            }
            Self::NoFamily => error(ErrorKind::NotAvailable),
            Self::Io(cause) if Errno::from_io_error(&cause) == Some(Errno::NOBUFS) => {
                error(ErrorKind::OutcomeUnknown).with_source(cause)
            }
            Self::Io(cause) => Error::from_io(operation, object, cause),
            Self::Decode(cause) => error(ErrorKind::Protocol).with_source(cause),
            Self::Implausible(cause) => error(ErrorKind::Protocol).with_source(cause),
            Self::Push(cause) => error(ErrorKind::Other).with_source(cause),
        }
    }
}

macro_rules! trouble_from {
    ($($variant:ident($type:ty)),*) => {
        $(impl From<$type> for Trouble {
            fn from(cause: $type) -> Self {
                Self::$variant(cause)
            }
        })*
    };
}

trouble_from!(
    Failure(Failure),
    Io(io::Error),
    Decode(sys::DecodeError),
    Implausible(Implausible),
    Push(PushError)
);
