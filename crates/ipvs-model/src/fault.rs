//! Faults: requests that fail because a test wants it.

use ipvs::proto::{Call, Refusal};
use ipvs::{ErrorKind, Object, Operation, SyncRole};
use ipvs_sys as sys;
use ipvs_sys::Command;
use rustix::io::Errno;
use thiserror::Error;

use crate::request::{DestId, DestRequest, ServiceId};

/// The highest error number (`include/uapi/asm-generic/errno.h`).
const LAST_ERRNO: i32 = 133;

/// A fault: which requests fail, how, and how many of them. Passed to [`Kernel::fail`].
///
/// By default the next matching request is refused because the kernel is out of memory.
///
/// ```
/// use ipvs::{Client, Destination, ErrorKind, Object, Operation, Service, ServiceKey};
/// use ipvs_model::{Fault, Kernel};
///
/// let kernel = Kernel::new();
/// let mut client = Client::with_transport(kernel.clone())?;
/// let vip: ServiceKey = "tcp/10.10.10.53:80".parse()?;
/// client.add_service(&Service::new(vip))?;
///
/// let fault = Fault::on(Operation::AddDestination).object(Object::Service(vip));
/// kernel.fail(fault.kind(ErrorKind::InvalidArgument).times(2))?;
/// let server = Destination::new("10.10.10.102:80".parse()?);
/// for kind in [ErrorKind::InvalidArgument, ErrorKind::InvalidArgument] {
///     assert_eq!(client.add_destination(&vip, &server).unwrap_err().kind(), kind);
/// }
/// client.add_destination(&vip, &server)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Kernel::fail`]: crate::Kernel::fail
#[derive(Clone, Debug)]
#[must_use = "Kernel::fail makes it happen"]
pub struct Fault {
    /// `None` for any request to IPVS.
    operation: Option<Operation>,
    object: Option<Object>,
    effect: Effect,
    /// The number of matching requests that still succeed.
    after: usize,
    /// The number that then fail.
    times: usize,
}

#[derive(Clone, Debug)]
enum Effect {
    /// Refused with an error number of this kind.
    Kind(ErrorKind),
    Refusal(Refusal),
    LostAnswer,
}

/// Why a [`Fault`] is impossible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FaultError {
    /// A client does this without a request, or with several, each of which can fail.
    #[error("no request of a client is made to {0}")]
    Operation(Operation),
    /// The kernel has no reply that a client would report as this kind.
    #[error("the kernel has no answer that means {0:?} there; give an error number instead")]
    Kind(ErrorKind),
}

impl Fault {
    /// Fails requests of one operation.
    ///
    /// [`Operation::Destination`] reads a list, and fails like [`Operation::Destinations`]. Reading
    /// and setting sysctls, and opening the list of connections, can only be refused.
    pub fn on(operation: Operation) -> Self {
        let operation = match operation {
            Operation::Destination => Operation::Destinations,
            other => other,
        };
        Self { operation: Some(operation), ..Self::any() }
    }

    /// Fails any request to IPVS, but not reads and writes of files under `/proc`.
    pub fn any() -> Self {
        let effect = Effect::Kind(ErrorKind::OutOfMemory);
        Self { operation: None, object: None, effect, after: 0, times: 1 }
    }

    /// Fails only requests about this object; those about a virtual service include its real
    /// servers.
    pub fn object(mut self, object: Object) -> Self {
        self.object = Some(object);
        self
    }

    /// Refuses the request so that the client reports this kind of error.
    pub fn kind(mut self, kind: ErrorKind) -> Self {
        self.effect = Effect::Kind(kind);
        self
    }

    /// Refuses the request with this error number (errno(3)). A request refused with EINTR gets no
    /// reply.
    pub fn errno(self, errno: i32) -> Self {
        self.refusal(Refusal::new(errno))
    }

    /// Refuses the request with this refusal.
    pub fn refusal(mut self, refusal: impl Into<Refusal>) -> Self {
        self.effect = Effect::Refusal(refusal.into());
        self
    }

    /// Executes the request and loses its reply, together with all replies to requests in the same
    /// datagram. To the client, its deadline passes at once.
    pub fn lost_answer(mut self) -> Self {
        self.effect = Effect::LostAnswer;
        self
    }

    /// Lets the first `count` matching requests succeed; 0 by default.
    pub fn after(mut self, count: usize) -> Self {
        self.after = count;
        self
    }

    /// Fails `count` requests; 1 by default. Replies that are lost together count once.
    pub fn times(mut self, count: usize) -> Self {
        self.times = count;
        self
    }

    /// Fails all matching requests from then on.
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    fn check(&self) -> Result<(), FaultError> {
        let is_file = self.operation.is_some_and(is_file);
        if let Some(operation) = self.operation {
            if !is_file && !REQUESTS.iter().any(|request| request.1 == operation) {
                return Err(FaultError::Operation(operation));
            }
        }
        match self.effect {
            Effect::LostAnswer if is_file => Err(FaultError::Kind(ErrorKind::OutcomeUnknown)),
            Effect::LostAnswer | Effect::Refusal(_) => Ok(()),
            Effect::Kind(kind) => {
                let mut operations = REQUESTS.iter().map(|request| request.1);
                let possible = match self.operation {
                    Some(operation) => errno_for(operation, kind).is_some(),
                    None => operations.any(|operation| errno_for(operation, kind).is_some()),
                };
                if possible { Ok(()) } else { Err(FaultError::Kind(kind)) }
            }
        }
    }

    fn fits(&self, request: &Request<'_>) -> bool {
        let operation = match self.operation {
            Some(operation) => operation == request.operation,
            None => !is_file(request.operation),
        };
        // A kind that not all requests have only applies to those that have it.
        let possible = match self.effect {
            Effect::Kind(kind) => errno_for(request.operation, kind).is_some(),
            _ => true,
        };
        operation && possible && self.object.is_none_or(|object| request.is_about(&object))
    }
}

/// A request, or an operation on a file.
struct Request<'a> {
    operation: Operation,
    message: Option<&'a sys::Message>,
    setting: Option<&'a str>,
}

impl Request<'_> {
    fn is_about(&self, object: &Object) -> bool {
        let service = self.message.and_then(|it| ServiceId::parse(it.service.as_ref()).ok());
        match object {
            Object::Service(key) => service == Some(ServiceId::of_key(key)),
            Object::Destination(key, destination) => {
                let dest = self.message.and_then(|it| it.dest.as_ref());
                let family = service.map_or(0, |service| service.family);
                let dest = DestRequest::parse(dest, family, false).ok();
                service == Some(ServiceId::of_key(key))
                    && dest.is_some_and(|it| it.id == DestId::of_key(destination))
            }
            Object::SyncDaemon(role) => {
                let state = self.message.and_then(|it| it.daemon).and_then(|it| it.state);
                state
                    == Some(match role {
                        SyncRole::Master => sys::DaemonState::MASTER,
                        SyncRole::Backup => sys::DaemonState::BACKUP,
                    })
            }
            Object::AllServices => {
                self.message.is_some_and(|it| it.service.is_none())
                    && matches!(
                        self.operation,
                        Operation::Services | Operation::Zero | Operation::Flush
                    )
            }
            Object::Sysctl(name) => self.setting == Some(name),
            _ => false,
        }
    }
}

/// All pending faults.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        self.0.push(fault);
        self.0.retain(|fault| fault.times > 0);
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Refuses a request, or loses its reply. `lost` says whether the replies to its datagram are
    /// already lost.
    pub(crate) fn on_request(&mut self, call: &Call<'_>, lost: &mut bool) -> Result<(), Refusal> {
        let known = REQUESTS.iter().find(|it| (it.0, it.2) == (call.message.command, call.dump));
        let Some(&(_, operation, _)) = known else { return Ok(()) };
        let request = Request { operation, message: Some(call.message), setting: None };
        match self.next(&request, *lost) {
            Some(Effect::LostAnswer) => *lost = true,
            Some(effect) => return Err(effect.refusal(operation)),
            None => {}
        }
        Ok(())
    }

    /// Whether opening or writing a file fails; `setting` is the sysctl's name.
    pub(crate) fn on_file(
        &mut self,
        operation: Operation,
        setting: Option<&str>,
    ) -> Result<(), Errno> {
        match self.next(&Request { operation, message: None, setting }, false) {
            Some(effect) => Err(Errno::from_raw_os_error(effect.refusal(operation).errno)),
            None => Ok(()),
        }
    }

    /// The effect of the first fault that is due; uses it up.
    fn next(&mut self, request: &Request<'_>, lost: bool) -> Option<Effect> {
        for at in 0..self.0.len() {
            let fault = &mut self.0[at];
            if !fault.fits(request) || (lost && matches!(fault.effect, Effect::LostAnswer)) {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            let effect = fault.effect.clone();
            if fault.times != usize::MAX {
                fault.times -= 1;
            }
            if fault.times == 0 {
                drop(self.0.remove(at));
            }
            return Some(effect);
        }
        None
    }
}

impl Effect {
    fn refusal(self, operation: Operation) -> Refusal {
        match self {
            Self::Refusal(refusal) => refusal,
            Self::Kind(kind) => Refusal::new(errno_for(operation, kind).unwrap_or(0)),
            Self::LostAnswer => Refusal::new(Errno::INTR.raw_os_error()),
        }
    }
}

/// All requests, each with the client's operation and whether it asks for a list.
const REQUESTS: [(Command, Operation, bool); 17] = [
    (Command::GetService, Operation::Services, true),
    (Command::GetService, Operation::Service, false),
    (Command::NewService, Operation::AddService, false),
    (Command::SetService, Operation::SetService, false),
    (Command::DelService, Operation::DeleteService, false),
    (Command::GetDest, Operation::Destinations, true),
    (Command::NewDest, Operation::AddDestination, false),
    (Command::SetDest, Operation::SetDestination, false),
    (Command::DelDest, Operation::DeleteDestination, false),
    (Command::GetDaemon, Operation::SyncDaemons, true),
    (Command::NewDaemon, Operation::StartSyncDaemon, false),
    (Command::DelDaemon, Operation::StopSyncDaemon, false),
    (Command::GetConfig, Operation::Timeouts, false),
    (Command::SetConfig, Operation::SetTimeouts, false),
    (Command::GetInfo, Operation::Info, false),
    (Command::Zero, Operation::Zero, false),
    (Command::Flush, Operation::Flush, false),
];

fn is_file(operation: Operation) -> bool {
    matches!(operation, Operation::Connections | Operation::Sysctl | Operation::SetSysctl)
}

/// The error number that means `kind` in a reply to `operation`.
fn errno_for(operation: Operation, kind: ErrorKind) -> Option<i32> {
    match (operation, kind) {
        // Any number without a meaning of its own would do, so a test has to choose one.
        (_, ErrorKind::Other) => None,
        (Operation::Connections, ErrorKind::PermissionDenied) => Some(Errno::ACCESS.raw_os_error()),
        (Operation::Connections, _) => None,
        _ => (1..=LAST_ERRNO).find(|&errno| ErrorKind::of(operation, errno) == kind),
    }
}

#[cfg(test)]
mod tests {
    use ipvs::{
        Batch, Client, Destination, InterfaceName, Service, ServiceKey, SyncDaemon, sysctl,
    };

    use super::*;
    use crate::Kernel;

    fn key(mark: u32) -> ServiceKey {
        format!("fwmark/{mark}").parse().unwrap()
    }

    fn pair() -> (Kernel, Client<Kernel>) {
        let kernel = Kernel::new();
        let client = Client::with_transport(kernel.clone()).unwrap();
        (kernel, client)
    }

    /// The real client reports every kind that a fault on its operation can have.
    #[test]
    fn the_client_reports_the_kind_that_was_asked_for() {
        use ErrorKind as Kind;
        use Operation as Op;

        let server = || Destination::new("10.0.0.1:80".parse().unwrap());
        let daemon = || SyncDaemon::new(SyncRole::Master, InterfaceName::new("eth0").unwrap());
        let call = |client: &mut Client<Kernel>, operation| match operation {
            Op::Services => client.services().map(drop),
            Op::AddService => client.add_service(&Service::new(key(1))),
            Op::SetService => client.set_service(&Service::new(key(1))),
            Op::DeleteService => client.delete_service(&key(1)),
            Op::Destinations => client.destinations(&key(1)).map(drop),
            Op::AddDestination => client.add_destination(&key(1), &server()),
            Op::SetDestination => client.set_destination(&key(1), &server()),
            Op::DeleteDestination => client.delete_destination(&key(1), &server()),
            Op::StartSyncDaemon => client.start_sync_daemon(&daemon()),
            Op::StopSyncDaemon => client.stop_sync_daemon(SyncRole::Master),
            Op::Flush => client.flush(),
            Op::Connections => client.connections().map(drop),
            Op::Sysctl => client.sysctl(sysctl::CONNTRACK).map(drop),
            Op::SetSysctl => client.set_sysctl(sysctl::CONNTRACK, true),
            other => panic!("{other:?}"),
        };
        for (operation, kinds) in [
            (Op::Services, &[Kind::PermissionDenied, Kind::Unloading][..]),
            (Op::AddService, &[Kind::ServiceExists, Kind::SchedulerOrPersistenceEngineNotFound]),
            (Op::SetService, &[Kind::ServiceNotFound, Kind::AddressFamilyNotSupported]),
            (Op::DeleteService, &[Kind::ServiceNotFound, Kind::InvalidArgument]),
            (Op::Destinations, &[Kind::ServiceNotFound, Kind::OutOfMemory]),
            (Op::AddDestination, &[Kind::DestinationExists, Kind::OutOfRange]),
            (Op::SetDestination, &[Kind::DestinationNotFound, Kind::ServiceNotFound]),
            (Op::DeleteDestination, &[Kind::DestinationNotFound]),
            (Op::StartSyncDaemon, &[Kind::SyncDaemonRunning, Kind::InterfaceNotFound]),
            (Op::StopSyncDaemon, &[Kind::SyncDaemonNotRunning]),
            (Op::Flush, &[Kind::NotSupported]),
            (Op::Connections, &[Kind::PermissionDenied]),
            (Op::Sysctl, &[Kind::PermissionDenied]),
            (Op::SetSysctl, &[Kind::SysctlNotFound, Kind::InvalidArgument]),
        ] {
            for kind in kinds {
                let (kernel, mut client) = pair();
                kernel.fail(Fault::on(operation).kind(*kind)).unwrap();
                let error = call(&mut client, operation).unwrap_err();
                assert_eq!((error.operation(), error.kind()), (operation, *kind));
            }
        }
    }

    #[test]
    fn what_cannot_happen_is_refused() {
        let kernel = Kernel::new();
        for (fault, error) in [
            (Fault::on(Operation::Snapshot), FaultError::Operation(Operation::Snapshot)),
            (
                Fault::on(Operation::AddService).kind(ErrorKind::DestinationNotFound),
                FaultError::Kind(ErrorKind::DestinationNotFound),
            ),
            (
                Fault::any().kind(ErrorKind::OutcomeUnknown),
                FaultError::Kind(ErrorKind::OutcomeUnknown),
            ),
            (
                Fault::on(Operation::Sysctl).lost_answer(),
                FaultError::Kind(ErrorKind::OutcomeUnknown),
            ),
        ] {
            assert_eq!(kernel.fail(fault), Err(error));
        }
    }

    #[test]
    fn only_requests_about_the_object_fail() {
        let (kernel, mut client) = pair();
        let servers = ["10.0.0.1:80", "10.0.0.2:80"].map(|text| text.parse().unwrap());
        client.add_service(&Service::new(key(1))).unwrap();
        client.add_service(&Service::new(key(2))).unwrap();
        let fault = Fault::on(Operation::AddDestination).always();
        kernel.fail(fault.object(Object::Destination(key(1), servers[0]))).unwrap();
        let mut failed = |service, server| {
            client.add_destination(&key(service), &Destination::new(server)).is_err()
        };
        assert!(failed(1, servers[0]) && failed(1, servers[0]));
        assert!(!failed(1, servers[1]) && !failed(2, servers[0]));
        kernel.fail(Fault::any().object(Object::Service(key(2)))).unwrap();
        assert!(failed(2, servers[1]), "a real server belongs to its service");
        kernel.clear_faults();
        assert!(!failed(1, servers[0]) && !failed(2, servers[1]));
    }

    #[test]
    fn the_nth_request_fails_and_as_many_as_were_asked_for() {
        let (kernel, mut client) = pair();
        kernel.fail(Fault::on(Operation::AddService).after(2).times(2)).unwrap();
        let mut batch = Batch::new();
        for mark in 1..=6 {
            batch.add_service(&Service::new(key(mark)));
        }
        let failed: Vec<bool> = client.run(&batch).iter().map(Result::is_err).collect();
        assert_eq!(failed, [false, false, true, true, false, false]);
    }

    /// Two windows: only the replies to the second are lost, which counts as one loss.
    #[test]
    fn answers_are_lost_with_those_of_their_datagram() {
        let (kernel, mut client) = pair();
        kernel.fail(Fault::on(Operation::AddService).lost_answer().after(128).times(1)).unwrap();
        let mut batch = Batch::new();
        for mark in 1..=200 {
            batch.add_service(&Service::new(key(mark)));
        }
        let results = client.run(&batch);
        let unknown = |result: &Result<(), ipvs::Error>| {
            result.as_ref().is_err_and(|error| error.kind() == ErrorKind::OutcomeUnknown)
        };
        assert!(results[..128].iter().all(Result::is_ok));
        assert!(results[128..].iter().all(unknown));
        assert_eq!(client.services().unwrap().len(), 200, "all were executed");
    }

    #[test]
    fn what_a_client_reads_for_itself_is_left_alone() {
        let (kernel, mut client) = pair();
        client.add_service(&Service::new(key(1))).unwrap();
        kernel.fail(Fault::on(Operation::Sysctl).times(1)).unwrap();
        assert!(client.services().unwrap()[0].stats.rates.is_some());
        assert!(client.sysctl(sysctl::CONNTRACK).is_err());
    }
}
