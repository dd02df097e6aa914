//! Connections to instances of `ldirectord`, as events of the loop.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::source::Source;
use crate::track::{Feed, Wanted};

/// Where instances listen.
pub(crate) const FOLDER: &str = "/run/ldirectord";

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;

/// How often it is read before everything else has its turn.
const READS: usize = 16;

/// The subscription to one instance, over its socket.
#[derive(Debug)]
pub(crate) struct Subscription {
    path: PathBuf,
    stream: Option<UnixStream>,
    feed: Feed,
}

impl Subscription {
    /// The services of the instance with this name, which are numbered from 0 on.
    pub(crate) fn new(
        folder: &Path,
        instance: &str,
        services: impl IntoIterator<Item = Wanted>,
        now: Instant,
    ) -> Self {
        let path = folder.join(format!("{instance}.sock"));
        Self { path, stream: None, feed: Feed::new(services, now) }
    }

    /// Whether a service is up. None before anything is known about it.
    pub(crate) fn is_up(&self, number: usize) -> Option<bool> {
        self.feed.is_up(number)
    }

    /// Whether it isn't connected.
    #[cfg(test)]
    pub(crate) const fn is_silent(&self) -> bool {
        self.stream.is_none()
    }

    /// Reads what is there. False if the connection has ended.
    fn read(&mut self, now: Instant) -> bool {
        let Some(stream) = &mut self.stream else { return true };
        let mut chunk = [0; CHUNK];
        for _ in 0..READS {
            match stream.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) if self.feed.handle_bytes(&chunk[..count], now) => {}
                Ok(_) => return false,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Source for Subscription {
    /// The number of a service, and whether it is up now.
    type Event = (usize, bool);

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        to.extend(self.stream.iter().map(|it| PollFd::new(it, PollFlags::IN)));
    }

    fn deadline(&self) -> Option<Instant> {
        self.feed.deadline()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<(usize, bool)> {
        if ready.iter().any(|it| !it.is_empty()) && !self.read(now) {
            self.stream = None;
            self.feed.handle_end(now);
        }
        if self.feed.is_due(now) {
            match subscribe(&self.path) {
                Ok(stream) => self.stream = Some(stream),
                Err(_) => self.feed.handle_end(now),
            }
        }
        self.feed.handle_timeout(now);
        std::iter::from_fn(|| self.feed.poll()).collect()
    }
}

/// Connects and asks. Neither waits: a Unix socket is connected at once or not at all, and the request
/// fits into the buffer of a new one.
fn subscribe(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    let mut stream = UnixStream::from(socket);
    stream.write_all(Feed::request().as_bytes())?;
    Ok(stream)
}
