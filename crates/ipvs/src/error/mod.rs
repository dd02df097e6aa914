//! Errors that say what was attempted, on which object, what the kernel said, and what to do.

mod hint;
pub(crate) mod invalid_input;
pub(crate) mod kind;
pub(crate) mod operation;

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use rustix::io::Errno;

use crate::error::kind::{ErrorKind, kind_of};
use crate::error::operation::{Object, Operation};
use crate::model::config::TimeoutsChange;
use crate::model::name::{PersistenceEngine, Scheduler};

/// A failed operation: what was attempted, on which object, what the kernel said.
///
/// Its text says all of this, down to the last cause; with `{:#}`,
/// [what to do about it](Error::hint) follows. `{:?}` is the same text as `{:#}`, so that
/// `fn main() -> Result<(), ipvs::Error>` ends with a sentence.
///
/// As with [`io::Error`], [`source`](StdError::source) leads to what the text doesn't say already,
/// and [`get_ref`](Self::get_ref) returns the cause itself. A clone shares its causes.
///
/// ```
/// use ipvs::{ErrorKind, Service, ServiceKey};
///
/// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
/// let service = Service::new(ServiceKey::tcp("10.10.10.53:80".parse().unwrap()));
/// match client.add_service(&service) {
///     Err(error) if error.kind() == ErrorKind::ServiceExists => client.set_service(&service)?,
///     other => other?,
/// }
/// # Ok::<(), ipvs::Error>(())
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    operation: Operation,
    object: Option<Object>,
    /// In words, an object that is no [`Object`], because it isn't `Copy`.
    object_name: Option<String>,
    kind: ErrorKind,
    errno: Option<Errno>,
    kernel_message: Option<String>,
    modules: Modules,
    timeouts: TimeoutsChange,
    /// The errors that this one sums up, which give it its hint and say whether it is transient.
    parts: Option<Parts>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The modules that a request names, which the kernel may lack.
#[derive(Clone, Copy, Default)]
struct Modules {
    scheduler: Option<Scheduler>,
    persistence_engine: Option<PersistenceEngine>,
}

/// The errors of several requests that one error sums up.
#[derive(Clone, Copy)]
struct Parts {
    hint: Option<&'static str>,
    all_transient: bool,
}

impl Error {
    pub(crate) fn new(operation: Operation, object: Option<Object>, kind: ErrorKind) -> Self {
        Self(Box::new(Inner {
            operation,
            object,
            object_name: None,
            kind,
            errno: None,
            kernel_message: None,
            modules: Modules::default(),
            timeouts: TimeoutsChange::default(),
            parts: None,
            cause: None,
        }))
    }

    /// An error number in the kernel's reply to a request.
    pub(crate) fn from_kernel(
        operation: Operation,
        object: Option<Object>,
        errno: i32,
        kernel_message: Option<String>,
    ) -> Self {
        let errno = Errno::from_raw_os_error(errno);
        let mut error = Self::new(operation, object, kind_of(operation, errno));
        error.0.errno = Some(errno);
        error.0.kernel_message = kernel_message;
        error
    }

    pub(crate) fn from_io(operation: Operation, object: Option<Object>, cause: io::Error) -> Self {
        let kind = match cause.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Io,
        };
        let mut error = Self::new(operation, object, kind);
        error.0.errno = Errno::from_io_error(&cause);
        error.with_source(cause)
    }

    /// The error of a system call whose numbers mean what they mean in a reply.
    pub(crate) fn from_os(operation: Operation, cause: io::Error) -> Self {
        match Errno::from_io_error(&cause) {
            Some(errno) => {
                Self::from_kernel(operation, None, errno.raw_os_error(), None).with_source(cause)
            }
            None => Self::from_io(operation, None, cause),
        }
    }

    pub(crate) fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    pub(crate) fn with_object(mut self, object: Object) -> Self {
        self.0.object = Some(object);
        self
    }

    pub(crate) fn with_object_name(mut self, object_name: String) -> Self {
        self.0.object_name = Some(object_name);
        self
    }

    pub(crate) fn with_source(
        mut self,
        source: impl Into<Box<dyn StdError + Send + Sync>>,
    ) -> Self {
        self.0.cause = Some(Arc::from(source.into()));
        self
    }

    /// Adds the modules that the request named: the kernel may lack one.
    pub(crate) fn with_modules(
        mut self,
        scheduler: Option<Scheduler>,
        persistence_engine: Option<PersistenceEngine>,
    ) -> Self {
        self.0.modules = Modules { scheduler, persistence_engine };
        self
    }

    /// Adds the timeouts that the request asked for: the kernel may have refused one.
    pub(crate) fn with_timeouts(mut self, timeouts: TimeoutsChange) -> Self {
        self.0.timeouts = timeouts;
        self
    }

    /// Takes the kernel's words, and the hint, from the first of the errors that this one sums up.
    pub(crate) fn with_parts(mut self, first: Option<&Self>, all_transient: bool) -> Self {
        if let Some(first) = first {
            self.0.errno = first.0.errno;
            self.0.kernel_message.clone_from(&first.0.kernel_message);
        }
        self.0.parts = Some(Parts { hint: first.and_then(Self::hint), all_transient });
        self
    }

    /// What was attempted.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The object of the operation, if there is one.
    pub fn object(&self) -> Option<&Object> {
        self.0.object.as_ref()
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The kernel's error number (errno(3)), if it gave one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.0.errno.map(Errno::raw_os_error)
    }

    /// What the kernel said in words (`NLMSGERR_ATTR_MSG`), if it did.
    pub fn kernel_message(&self) -> Option<&str> {
        self.0.kernel_message.as_deref()
    }

    /// Whether the same call may succeed if simply repeated later: see [`ErrorKind::is_transient`].
    /// The error of a plan is transient if all errors of its steps are.
    pub fn is_transient(&self) -> bool {
        self.0.parts.map_or(self.0.kind.is_transient(), |parts| parts.all_transient)
    }

    /// The cause, if there is one below IPVS: an [`InvalidInput`](crate::InvalidInput), an
    /// [`io::Error`], or the [`ApplyError`](crate::plan::ApplyError) that this error was made from.
    ///
    /// ```
    /// use std::time::Duration;
    /// use ipvs::{ErrorKind, InvalidInput, Timeouts};
    ///
    /// # let mut client = ipvs::Client::with_transport(ipvs_model::Kernel::new())?;
    /// let error = client.set_timeouts(Timeouts::default().udp(Duration::ZERO)).unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "cannot set the connection timeouts: \
    ///      the UDP timeout is 0, which the kernel takes for \"keep as it is\""
    /// );
    /// let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    /// assert_eq!(cause, Some(&InvalidInput::ZeroTimeout { what: "UDP timeout" }));
    /// # Ok::<(), ipvs::Error>(())
    /// ```
    pub fn get_ref(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// What to do about it, if there is more to say than the error's own text.
    pub fn hint(&self) -> Option<&'static str> {
        match self.0.parts {
            Some(parts) => parts.hint,
            None => hint::hint(self.0.kind, self.0.operation),
        }
    }

    /// What the kernel refused. It doesn't say which timeout, but it takes any up to 2147483647
    /// ticks, of which a second has at most 1000.
    fn refused(&self) -> String {
        let TimeoutsChange { tcp, tcp_fin, udp } = self.0.timeouts;
        let all = [("TCP", tcp), ("TCP FIN", tcp_fin), ("UDP", udp)];
        let asked = all.iter().filter_map(|(what, time)| time.map(|time| (*what, time)));
        let always_taken = Duration::from_secs(i32::MAX as u64 / 1000);
        let (mut long, mut others): (Vec<_>, Vec<_>) =
            asked.partition(|(_, time)| *time > always_taken);
        if long.is_empty() {
            mem::swap(&mut long, &mut others);
        }
        if long.is_empty() {
            return "the kernel refused the values".to_owned();
        }
        let texts: Vec<_> = long
            .iter()
            .map(|(what, time)| format!("the {what} timeout of {} s", time.as_secs()))
            .collect();
        format!("the kernel refused {}", texts.join(" or "))
    }

    fn reason(&self) -> Cow<'static, str> {
        match self.0.kind {
            ErrorKind::ServiceNotFound => "no such virtual service".into(),
            ErrorKind::ServiceExists => "the virtual service already exists".into(),
            ErrorKind::DestinationNotFound => "no such real server".into(),
            ErrorKind::DestinationExists => "the real server already exists".into(),
            ErrorKind::SchedulerOrPersistenceEngineNotFound => self.0.modules.missing(),
            ErrorKind::SyncDaemonRunning => "already running".into(),
            ErrorKind::SyncDaemonNotRunning => "not running".into(),
            ErrorKind::InterfaceNotFound => "no such network interface".into(),
            ErrorKind::NamespaceNotFound => "no such network namespace".into(),
            ErrorKind::NotANamespace => "not a network namespace".into(),
            ErrorKind::SysctlNotFound => {
                "no such setting in this kernel or network namespace".into()
            }
            ErrorKind::PermissionDenied => "permission denied".into(),
            ErrorKind::NotAvailable => "this kernel has no IPVS".into(),
            ErrorKind::Unloading => "IPVS is being unloaded".into(),
            ErrorKind::InvalidArgument => self.refused().into(),
            ErrorKind::OutOfRange => "a value is out of range".into(),
            ErrorKind::NotSupported => "not supported".into(),
            ErrorKind::AddressFamilyNotSupported => {
                "the kernel doesn't support this address family here".into()
            }
            ErrorKind::OutOfMemory => "the kernel is out of memory".into(),
            ErrorKind::InvalidInput => "invalid input".into(),
            ErrorKind::OutcomeUnknown => "the kernel's reply is missing".into(),
            ErrorKind::NotSent => "not sent, because the kernel could not be reached".into(),
            ErrorKind::Inconsistent => "the table kept changing while it was read".into(),
            ErrorKind::Protocol => "the kernel's reply is malformed".into(),
            ErrorKind::Io => "an I/O error".into(),
            ErrorKind::Other => match self.0.errno {
                Some(errno) => io::Error::from(errno).to_string().into(),
                None => "unknown error".into(),
            },
        }
    }
}

impl Modules {
    /// The kernel gives the same error for both.
    fn missing(self) -> Cow<'static, str> {
        match (self.scheduler, self.persistence_engine) {
            (None, None) => "the kernel has no such scheduler or persistence engine".into(),
            (Some(scheduler), None) => {
                format!("the kernel has no scheduler {scheduler} (module ip_vs_{scheduler})").into()
            }
            (None, Some(engine)) => {
                format!("the kernel has no persistence engine {engine} (module ip_vs_pe_{engine})")
                    .into()
            }
            (Some(scheduler), Some(engine)) => format!(
                "the kernel has no scheduler {scheduler} (module ip_vs_{scheduler}) or no \
                 persistence engine {engine} (module ip_vs_pe_{engine})"
            )
            .into(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.0.operation)?;
        if let Some(object) = &self.0.object {
            write!(f, " {object}")?;
        }
        if let Some(object_name) = &self.0.object_name {
            write!(f, " {object_name}")?;
        }
        match (self.0.kind, &self.0.cause) {
            // These causes say what went wrong.
            (ErrorKind::InvalidInput | ErrorKind::Io, Some(cause)) => write!(f, ": {cause}")?,
            (_, Some(cause)) if self.0.operation == Operation::Apply => write!(f, ": {cause}")?,
            (_, cause) => {
                write!(f, ": {}", self.reason())?;
                self.write_kernels_words(f)?;
                match cause {
                    Some(cause) if self.words_the_cause() || !self.has_number_of(&**cause) => {
                        write!(f, ": {cause}")?;
                    }
                    _ => {}
                }
            }
        }
        if f.alternate() {
            if let Some(hint) = self.hint() {
                write!(f, "; {hint}")?;
            }
        }
        Ok(())
    }
}

impl Error {
    fn write_kernels_words(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kernel_message {
            // Our own words: the kernel has none there.
            Some(message) if self.0.kind == ErrorKind::NotSupported => write!(f, ": {message}")?,
            Some(message) => write!(f, " (kernel: {message})")?,
            None => {}
        }
        match self.0.errno {
            // In these cases the text already ends with the number.
            Some(errno) if self.0.kind != ErrorKind::Other && !self.words_the_cause() => {
                write!(f, " (os error {})", errno.raw_os_error())
            }
            _ => Ok(()),
        }
    }

    /// Whether the cause is an error number that the text has anyway.
    fn has_number_of(&self, cause: &(dyn StdError + Send + Sync + 'static)) -> bool {
        let number = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        number.is_some() && number == self.raw_os_error()
    }

    /// Whether the cause says more than the kind, even if it is only a number: why there is no
    /// reply.
    fn words_the_cause(&self) -> bool {
        self.0.kind == ErrorKind::OutcomeUnknown && self.0.cause.is_some()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}")
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.cause.as_ref().and_then(|cause| cause.source())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::key::ServiceKey;
    use crate::model::sync_daemon::SyncRole;

    fn service() -> ServiceKey {
        ServiceKey::tcp("10.10.10.53:80".parse().unwrap())
    }

    #[test]
    fn an_error_says_what_failed_on_which_object_and_why() {
        let error = Error::from_kernel(
            Operation::AddService,
            Some(Object::Service(service())),
            Errno::NOENT.raw_os_error(),
            None,
        );
        assert_eq!(
            error.to_string(),
            "cannot add virtual service tcp/10.10.10.53:80: the kernel has no such scheduler or \
             persistence engine (os error 2)"
        );
        assert!(format!("{error:#}").contains("check the spelling"));
        let scheduler = Some(Scheduler::new("lbrc").unwrap());
        let error = error.with_modules(scheduler, None);
        assert_eq!(
            error.to_string(),
            "cannot add virtual service tcp/10.10.10.53:80: the kernel has no scheduler lbrc \
             (module ip_vs_lbrc) (os error 2)"
        );
    }

    #[test]
    fn the_error_number_appears_once() {
        let role = Some(Object::SyncDaemon(SyncRole::Master));
        let errno = Errno::ADDRNOTAVAIL.raw_os_error();
        let error = Error::from_kernel(Operation::StartSyncDaemon, role, errno, None);
        assert_eq!(
            error.to_string(),
            "cannot start the master sync daemon: Cannot assign requested address (os error 99)"
        );
        assert!(format!("{error:#}").contains("needs an address of the group's family"));
    }
}
