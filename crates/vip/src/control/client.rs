//! The other end of the control socket: blocking, for commands.

use std::path::Path;
use std::time::Duration;

use daemon_kit::control::{ClientError, Connection, Deadline};
use serde::de::DeserializeOwned;

use crate::control::reply::{Decided, Reloaded, Text};
use crate::control::request::{Request, Tagged};
use crate::router::Decision;
use crate::status::Status;

/// How long to wait for what the daemon does at once.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a running daemon.
///
/// Each call blocks until the reply is there, an error, or 10 seconds have passed. After an error
/// other than [`ClientError::Refused`], connect again.
#[derive(Debug)]
pub struct Client(Connection);

impl Client {
    /// Connects to the daemon that serves this socket: [`SOCKET`](super::SOCKET).
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] if there is no socket or nobody listens, or another failure to
    /// connect: no permission, say.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        Connection::open(path, TIMEOUT).map(Self)
    }

    /// The status.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        self.call(Request::Status)
    }

    /// The status as [metrics](Status::metrics).
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn metrics(&mut self) -> Result<String, ClientError> {
        let deadline = Deadline::after(TIMEOUT);
        self.send(Request::Metrics, deadline)?;
        let Text { length } = self.0.receive(deadline)?;
        self.0.text(length, deadline)
    }

    /// Decides about a table `[[vip]]`, or about all of them.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ErrorKind::NotFound`](super::ErrorKind::NotFound) if no table has this name,
    /// [`ErrorKind::Denied`](super::ErrorKind::Denied) for users who may only look.
    pub fn decide(
        &mut self,
        decision: Decision,
        name: Option<String>,
    ) -> Result<Decided, ClientError> {
        self.call(Request::Decide { decision, name })
    }

    /// Makes the daemon read its file again, and returns when the outcome is known.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ErrorKind::Failed`](super::ErrorKind::Failed) if the former configuration
    /// stays in force.
    pub fn reload(&mut self) -> Result<Reloaded, ClientError> {
        self.call(Request::Reload)
    }

    fn call<T: DeserializeOwned>(&mut self, request: Request) -> Result<T, ClientError> {
        let deadline = Deadline::after(TIMEOUT);
        self.send(request, deadline)?;
        self.0.receive(deadline)
    }

    fn send(&mut self, request: Request, deadline: Deadline) -> Result<(), ClientError> {
        self.0.send(|id| Tagged { id, request }.to_line(), deadline)
    }
}
