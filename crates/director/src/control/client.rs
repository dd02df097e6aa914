//! The other end of the control socket: blocking, for commands.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::control::reply::{self, ErrorKind, PoolState, Pools, Refusal, Reloaded, Text};
use crate::control::request::{Order, Request, Tagged};
use crate::run::Decided;
use crate::status::Status;

/// The longest reply in bytes: more than a status of 100,000 real servers.
const REPLY_MAX: usize = 128 * 1024 * 1024;

/// How many bytes are read at a time.
const CHUNK: usize = 64 * 1024;

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
    stream: UnixStream,
    path: PathBuf,
    /// What has been read after the last reply.
    bytes: Vec<u8>,
    id: u64,
    limit: Option<Duration>,
}

/// A failed request.
#[derive(Debug)]
#[non_exhaustive]
pub enum ClientError {
    /// Nothing serves that socket.
    NotRunning(PathBuf),
    /// Connecting, sending or receiving failed.
    Io {
        /// What was attempted.
        doing: &'static str,
        /// The path of the socket.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// There was no complete reply in this time. What was asked for may still be done.
    Timeout {
        /// The path of the socket.
        path: PathBuf,
        /// The time.
        after: Duration,
    },
    /// The daemon ended the connection without a reply.
    Closed(PathBuf),
    /// The reply is none.
    Malformed {
        /// The path of the socket.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The daemon refused.
    Refused(Refusal),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRunning(path) => write!(f, "{}: no daemon serves this socket", path.display()),
            Self::Io { doing, path, source } => {
                write!(f, "{}: {doing}: {source}", path.display())
            }
            Self::Timeout { path, after } => {
                write!(f, "{}: no reply from the daemon within {after:?}", path.display())
            }
            Self::Closed(path) => {
                write!(f, "{}: the daemon closed the connection", path.display())
            }
            Self::Malformed { path, reason } => {
                write!(f, "{}: the daemon's reply is malformed: {reason}", path.display())
            }
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl ClientError {
    /// The kind of refusal, if it is one.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Refused(refusal) => Some(refusal.kind),
            _ => None,
        }
    }
}

impl Client {
    /// Connects to the instance that serves this socket.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] if there is no socket or nobody listens, or another failure to
    /// connect: no permission, say.
    pub fn connect(path: impl AsRef<Path>) -> Result<Self, ClientError> {
        let path = path.as_ref().to_owned();
        match connect(&path, SHORT) {
            Ok(stream) => Ok(Self { stream, path, bytes: Vec::new(), id: 0, limit: None }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(path)
                }
                // Its queue stayed full.
                io::ErrorKind::WouldBlock => ClientError::Timeout { path, after: SHORT },
                _ => ClientError::Io { doing: "connecting", path, source: error },
            }),
        }
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
        let Text { length } = self.receive(deadline)?;
        self.text(length, deadline)
    }

    /// Drains, disables or enables a real server. [`Decided`] says whether a restart keeps that.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ErrorKind::NotFound`] if no virtual service has it, [`ErrorKind::Denied`]
    /// for users who may only look.
    pub fn decide(&mut self, order: Order) -> Result<Decided, ClientError> {
        self.call(Request::Decide(order), SHORT)
    }

    /// Makes the daemon read its configuration again, and waits for the outcome.
    ///
    /// # Errors
    ///
    /// [`ClientError`]; [`ErrorKind::Failed`] if the former configuration stays in force.
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
        self.receive(deadline)
    }

    fn send(&mut self, request: Request, deadline: Deadline) -> Result<(), ClientError> {
        self.id += 1;
        let line = Tagged { id: self.id, request }.to_line();
        let time = self.left(deadline)?;
        let written = self
            .stream
            .set_write_timeout(Some(time))
            .and_then(|()| self.stream.write_all(line.as_bytes()));
        match written {
            Ok(()) => Ok(()),
            // A daemon that has no place for this client says so before it closes.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(self.failed("sending the request", error, deadline)),
        }
    }

    fn receive<T: DeserializeOwned>(&mut self, deadline: Deadline) -> Result<T, ClientError> {
        let line = self.line(deadline)?;
        match reply::parse(&line, self.id) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refusal)) => Err(ClientError::Refused(refusal)),
            Err(reason) => Err(self.malformed(reason)),
        }
    }

    /// The next line, without its line feed.
    fn line(&mut self, deadline: Deadline) -> Result<Vec<u8>, ClientError> {
        let mut searched = 0;
        loop {
            let end = self.bytes[searched..].iter().position(|it| *it == b'\n');
            if let Some(end) = end.map(|it| it + searched) {
                let rest = self.bytes.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.bytes, rest);
                line.pop();
                return Ok(line);
            }
            searched = self.bytes.len();
            if searched > REPLY_MAX {
                return Err(self.malformed(format!("it has more than {REPLY_MAX} bytes")));
            }
            self.read(deadline)?;
        }
    }

    /// The next bytes, which are a text.
    fn text(&mut self, length: usize, deadline: Deadline) -> Result<String, ClientError> {
        if length > REPLY_MAX {
            return Err(self.malformed(format!("its text has more than {REPLY_MAX} bytes")));
        }
        while self.bytes.len() < length {
            self.read(deadline)?;
        }
        let rest = self.bytes.split_off(length);
        let text = std::mem::replace(&mut self.bytes, rest);
        String::from_utf8(text).map_err(|error| self.malformed(error.to_string()))
    }

    /// Reads more.
    fn read(&mut self, deadline: Deadline) -> Result<(), ClientError> {
        let time = self.left(deadline)?;
        let filled = self.bytes.len();
        self.bytes.resize(filled + CHUNK, 0);
        let read = self
            .stream
            .set_read_timeout(Some(time))
            .and_then(|()| self.stream.read(&mut self.bytes[filled..]));
        self.bytes.truncate(filled + read.as_ref().copied().unwrap_or(0));
        match read {
            Ok(0) => Err(ClientError::Closed(self.path.clone())),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(ClientError::Closed(self.path.clone()))
            }
            Err(error) => Err(self.failed("reading the reply", error, deadline)),
        }
    }

    fn malformed(&self, reason: String) -> ClientError {
        ClientError::Malformed { path: self.path.clone(), reason }
    }

    fn left(&self, deadline: Deadline) -> Result<Duration, ClientError> {
        let left = deadline.at.saturating_duration_since(Instant::now());
        // A timeout of 0 would mean none.
        (!left.is_zero()).then_some(left).ok_or_else(|| self.timed_out(deadline))
    }

    fn timed_out(&self, deadline: Deadline) -> ClientError {
        ClientError::Timeout { path: self.path.clone(), after: deadline.after }
    }

    fn failed(&self, doing: &'static str, source: io::Error, deadline: Deadline) -> ClientError {
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.timed_out(deadline),
            _ => ClientError::Io { doing, path: self.path.clone(), source },
        }
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
        let pools = self.client.receive::<Pools>(Deadline::after(self.silence));
        self.is_over = pools.is_err();
        Some(pools.map(|it| it.pools))
    }
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// A deadline in the future, however large `after` is.
    fn after(after: Duration) -> Self {
        let after = after.min(Duration::from_secs(366 * 86_400));
        Self { at: Instant::now() + after, after }
    }
}

/// Connects to a Unix socket, and waits at most this long for a place in its queue. The error is
/// `WouldBlock` if there is none.
pub(crate) fn connect(path: &Path, time: Duration) -> io::Result<UnixStream> {
    let socket =
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // unix_stream_connect() waits as long as a send may.
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(time))?;
    let address = SocketAddrUnix::new(path)?;
    rustix::io::retry_on_intr(|| net::connect(&socket, &address))?;
    Ok(UnixStream::from(socket))
}
