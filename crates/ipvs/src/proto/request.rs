//! One request, as the engine takes it.

use ipvs_sys as sys;

/// What answer a request asks for, and so what ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// A change: nothing comes back but whether it worked. It shares a window with others, and
    /// needs no acknowledgement of its own: each request of a window is carried out in order, so
    /// the answer to a later one says that this one is done.
    Change,
    /// A change whose acknowledgement the kernel may leave out although it was asked for
    /// (`DEL_DAEMON` ended by EINTR). It is always acknowledged on its own, so that a missing
    /// acknowledgement is told from success: [`Failure::Unacknowledged`](super::Failure).
    AcknowledgedChange,
    /// A question with one reply.
    Get,
    /// A question whose reply is a list. It has a window to itself, because the kernel refuses a
    /// second list on a socket while one is under way.
    Dump,
}

/// One request: a command and what it is about.
///
/// ```
/// use ipvs::proto::{Request, RequestKind};
/// use ipvs_sys::Command;
///
/// let request = Request::new(Command::GetService, RequestKind::Dump);
/// assert_eq!(request.service, None);
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Request<'a> {
    /// What to do.
    pub command: sys::Command,
    /// What answer it asks for.
    pub kind: RequestKind,
    /// The virtual service it is about.
    pub service: Option<&'a sys::Service>,
    /// The real server it is about.
    pub dest: Option<&'a sys::Dest>,
    /// The sync daemon it is about.
    pub daemon: Option<&'a sys::Daemon>,
    /// The timeouts to set.
    pub timeouts: Option<&'a sys::Timeouts>,
}

impl<'a> Request<'a> {
    /// A request about nothing in particular.
    pub fn new(command: sys::Command, kind: RequestKind) -> Self {
        Self { command, kind, service: None, dest: None, daemon: None, timeouts: None }
    }

    /// Sets the virtual service it is about.
    #[must_use]
    pub fn service(mut self, service: &'a sys::Service) -> Self {
        self.service = Some(service);
        self
    }

    /// Sets the real server it is about.
    #[must_use]
    pub fn dest(mut self, dest: &'a sys::Dest) -> Self {
        self.dest = Some(dest);
        self
    }

    /// Sets the sync daemon it is about.
    #[must_use]
    pub fn daemon(mut self, daemon: &'a sys::Daemon) -> Self {
        self.daemon = Some(daemon);
        self
    }

    /// Sets the timeouts to set.
    #[must_use]
    pub fn timeouts(mut self, timeouts: &'a sys::Timeouts) -> Self {
        self.timeouts = Some(timeouts);
        self
    }

    /// Appends it as a message of the IPVS family.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>, header: &sys::Header) {
        let mut message = sys::Writer::message(bytes, header, self.command);
        if let Some(service) = self.service {
            message = message.service(service);
        }
        if let Some(dest) = self.dest {
            message = message.dest(dest);
        }
        if let Some(daemon) = self.daemon {
            message = message.daemon(daemon);
        }
        if let Some(timeouts) = self.timeouts {
            message = message.timeouts(timeouts);
        }
        message.finish();
    }
}
