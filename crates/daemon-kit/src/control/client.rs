//! The other end of the control socket: blocking, for commands.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{self, Timeout};
use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use serde::de::DeserializeOwned;

use crate::control::reply::{self, ErrorKind, Refusal};

/// The longest reply in bytes: more than a status of 100,000 real servers.
const REPLY_MAX: usize = 128 * 1024 * 1024;

/// How many bytes are read at a time.
const CHUNK: usize = 64 * 1024;

/// A connection to a running daemon.
///
/// Each call blocks until it is done, or until its deadline. After an error other than
/// [`ClientError::Refused`], connect again.
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    path: PathBuf,
    /// What has been read after the last reply.
    bytes: Vec<u8>,
    id: u64,
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

impl Connection {
    /// Connects to the daemon that serves this socket, and waits at most `limit` for a place in its
    /// queue.
    ///
    /// # Errors
    ///
    /// [`ClientError::NotRunning`] if there is no socket or nobody listens, or another failure to
    /// connect: no permission, say.
    pub fn open(path: impl AsRef<Path>, limit: Duration) -> Result<Self, ClientError> {
        let path = path.as_ref().to_owned();
        match connect(&path, limit) {
            Ok(stream) => Ok(Self { stream, path, bytes: Vec::new(), id: 0 }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    ClientError::NotRunning(path)
                }
                // Its queue stayed full.
                io::ErrorKind::WouldBlock => ClientError::Timeout { path, after: limit },
                _ => ClientError::Io { doing: "connecting", path, source: error },
            }),
        }
    }

    /// Sends the request that `line` makes of its number.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn send(
        &mut self,
        line: impl FnOnce(u64) -> String,
        deadline: Deadline,
    ) -> Result<(), ClientError> {
        self.id += 1;
        let line = line(self.id);
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

    /// The value of the next reply to the last request.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn receive<T: DeserializeOwned>(&mut self, deadline: Deadline) -> Result<T, ClientError> {
        let line = self.line(deadline)?;
        match reply::parse(&line, self.id) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(refusal)) => Err(ClientError::Refused(refusal)),
            Err(reason) => Err(self.malformed(reason)),
        }
    }

    /// The text of `length` bytes that follows a reply.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub fn text(&mut self, length: usize, deadline: Deadline) -> Result<String, ClientError> {
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

/// Until when a call waits.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    at: Instant,
    after: Duration,
}

impl Deadline {
    /// A deadline in the future, however large `after` is.
    pub fn after(after: Duration) -> Self {
        let after = after.min(Duration::from_secs(366 * 86_400));
        Self { at: Instant::now() + after, after }
    }
}

/// Connects to a Unix socket, and waits at most this long for a place in its queue. The error is
/// `WouldBlock` if there is none.
///
/// # Errors
///
/// Those of socket(2) and connect(2).
pub fn connect(path: &Path, time: Duration) -> io::Result<UnixStream> {
    let socket =
        net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // unix_stream_connect() waits as long as a send may.
    sockopt::set_socket_timeout(&socket, Timeout::Send, Some(time))?;
    let address = SocketAddrUnix::new(path)?;
    rustix::io::retry_on_intr(|| net::connect(&socket, &address))?;
    Ok(UnixStream::from(socket))
}
