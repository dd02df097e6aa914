//! One request to IPVS.

use ipvs_sys as sys;

/// What a request asks for, which determines what completes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// A change, whose only reply is whether it worked. It shares a window with others and needs no
    /// acknowledgement of its own: the requests of a window are executed in order, so a reply to a
    /// later one shows that this one has been executed.
    Change,
    /// A change whose acknowledgement the kernel may omit although it was requested (`DEL_DAEMON`
    /// ended by EINTR). It always gets an acknowledgement of its own, so that a missing one differs
    /// from success: [`Failure::Unacknowledged`](super::Failure).
    AcknowledgedChange,
    /// A question with one reply.
    Get,
    /// A question whose reply is a list (`NLM_F_DUMP`). It has a window to itself, because the
    /// kernel refuses a second list on a socket while one is in progress.
    Dump,
}

/// One request: a command and its object.
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
    /// What it asks for.
    pub kind: RequestKind,
    /// The virtual service, if it names one.
    pub service: Option<&'a sys::Service>,
    /// The real server, if it names one.
    pub dest: Option<&'a sys::Dest>,
    /// The sync daemon, if it names one.
    pub daemon: Option<&'a sys::Daemon>,
    /// The timeouts to set, if any.
    pub timeouts: Option<&'a sys::Timeouts>,
}

impl<'a> Request<'a> {
    /// A request without an object.
    pub fn new(command: sys::Command, kind: RequestKind) -> Self {
        Self { command, kind, service: None, dest: None, daemon: None, timeouts: None }
    }

    /// Sets the virtual service.
    #[must_use]
    pub fn service(mut self, service: &'a sys::Service) -> Self {
        self.service = Some(service);
        self
    }

    /// Sets the real server.
    #[must_use]
    pub fn dest(mut self, dest: &'a sys::Dest) -> Self {
        self.dest = Some(dest);
        self
    }

    /// Sets the sync daemon.
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

    /// Appends the request as a message of IPVS's family.
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
