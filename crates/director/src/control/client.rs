//! The other end of the control socket: blocking, for commands.

use std::path::Path;
use std::time::Duration;

use daemon_kit::control::{ClientError, Connection, Deadline};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::control::reply::{PoolState, Pools, Reloaded, Text};
use crate::control::request::{Order, Request, Tagged};
use crate::run::Decided;
use crate::status::Status;

/// How long to wait for what the daemon does at once.
const SHORT: Duration = Duration::from_secs(15);

/// How long to wait for a reload or the end: longer than the daemon's own limit.
const LONG: Duration = Duration::from_secs(150);

/// A connection to a running instance.
///
/// Each call blocks until the reply is there, an error, or its deadline: 15 seconds, or 150 for
/// [`reload`](Self::reload) and [`stop`](Self::stop). After an error other than
/// [`ClientError::Refused`], connect again.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    limit: Option<Duration>,
}

impl Client {
    /// Connects to the instance that serves this socket.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] if there is no socket or nobody listens, or another failure to
    /// connect: no permission, say.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        Ok(Self { connection: Connection::open(path, SHORT)?, limit: None })
    }

    /// Sets the deadline of every call, instead of the two usual ones.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The status.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn status(&mut self) -> Result<Status, ClientError> {
        self.call(Request::Status, SHORT)
    }

    /// The status as [metrics](crate::metrics).
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn metrics(&mut self) -> Result<String, ClientError> {
        let deadline = Deadline::after(self.limit.unwrap_or(SHORT));
        self.send(Request::Metrics, deadline)?;
        let Text { length } = self.connection.receive(deadline)?;
        self.connection.text(length, deadline)
    }

    /// Drains, disables or enables a real server. [`Decided`] says whether a restart keeps that.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ErrorKind::NotFound`] if no virtual service has it, [`ErrorKind::Denied`]
    /// for users who may only look.
    ///
    /// [`ErrorKind::NotFound`]: super::ErrorKind::NotFound
    /// [`ErrorKind::Denied`]: super::ErrorKind::Denied
    pub fn decide(&mut self, order: Order) -> Result<Decided, ClientError> {
        self.call(Request::Decide(order), SHORT)
    }

    /// Makes the daemon read its configuration again, and waits for the outcome.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ErrorKind::Failed`] if the former configuration stays in force.
    ///
    /// [`ErrorKind::Failed`]: super::ErrorKind::Failed
    pub fn reload(&mut self) -> Result<Reloaded, ClientError> {
        self.call(Request::Reload, LONG)
    }

    /// Makes the daemon end, with its virtual services left in the kernel or not. When this
    /// returns, it writes to the table no more; its process may still be there for a moment.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn stop(&mut self, keep_table: bool) -> Result<(), ClientError> {
        self.call::<IgnoredAny>(Request::Stop { keep_table }, LONG).map(drop)
    }

    /// The states of the pools, now, after each change, and at least once a second.
    ///
    /// The iterator returns an error when nothing has come for `silence`, or the connection fails,
    /// and ends after it. A `silence` of less than 2 seconds is too short.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the request can't be sent.
    pub fn subscribe(mut self, silence: Duration) -> Result<Subscription, ClientError> {
        self.send(Request::Subscribe, Deadline::after(silence))?;
        Ok(Subscription { client: self, silence, is_over: false })
    }

    fn call<T: DeserializeOwned>(
        &mut self,
        request: Request,
        limit: Duration,
    ) -> Result<T, ClientError> {
        let deadline = Deadline::after(self.limit.unwrap_or(limit));
        self.send(request, deadline)?;
        self.connection.receive(deadline)
    }

    fn send(&mut self, request: Request, deadline: Deadline) -> Result<(), ClientError> {
        self.connection.send(|id| Tagged { id, request }.to_line(), deadline)
    }
}

/// The states of the pools as they change: see [`Client::subscribe`].
#[derive(Debug)]
pub struct Subscription {
    client: Client,
    silence: Duration,
    is_over: bool,
}

impl Iterator for Subscription {
    type Item = Result<Vec<PoolState>, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        let pools = self.client.connection.receive::<Pools>(Deadline::after(self.silence));
        self.is_over = pools.is_err();
        Some(pools.map(|it| it.pools))
    }
}
