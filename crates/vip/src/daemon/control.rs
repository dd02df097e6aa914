//! Clients of the control socket, as events of the loop.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon_kit::control::{BindError, Listening, SocketFile, bind};
use rustix::event::{PollFd, PollFlags};
use rustix::net::sockopt::socket_peercred;

use super::source::Source;
use crate::control::{Limits, Refusal, Reply, Request, Session};

/// How much is read at a time.
const CHUNK: usize = 4096;

/// How many clients are accepted at a time.
const ACCEPTED: usize = 16;

/// How many replies to the same request clients without privileges may hold.
const HELD: usize = 2;

/// How long nobody is accepted after a failure: no descriptor is left, say.
const PAUSE: Duration = Duration::from_millis(100);

/// A request of a client. [`Server::reply`] has to be called for each.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Who asks.
    client: u64,
    /// What for.
    pub(crate) request: Request,
}

/// The daemon's end of the control socket.
#[derive(Debug)]
pub(crate) struct Server {
    listener: UnixListener,
    file: Option<SocketFile>,
    limits: Limits,
    own_uid: u32,
    clients: Vec<Client>,
    /// The number of the next client.
    next: u64,
    /// Nobody is accepted before this.
    paused_until: Option<Instant>,
    /// A client's next request may be there already.
    due: Option<Instant>,
    /// What clients without privileges have got for these requests, and until when others get it.
    shared: Vec<Shared>,
}

/// A reply that clients share.
#[derive(Debug)]
struct Shared {
    request: Request,
    reply: Reply,
    /// When it is too old. None if it is.
    until: Option<Instant>,
}

impl Shared {
    /// Whether a client hasn't read all of it.
    fn is_held(&self) -> bool {
        [&self.reply.ok, &self.reply.text].into_iter().any(|it| Arc::strong_count(it) > 1)
    }
}

/// The reply that a client without privileges gets to this request, if it needn't be made: the
/// newest one, if it isn't too old, or if too many are held by clients that don't read.
fn reusable<'s>(shared: &'s [Shared], request: &Request) -> Option<&'s Reply> {
    let mut same = shared.iter().filter(|it| it.request == *request).rev();
    let newest = same.next()?;
    (newest.until.is_some() || same.count() + 1 >= HELD).then_some(&newest.reply)
}

#[derive(Debug)]
struct Client {
    number: u64,
    stream: UnixStream,
    session: Session,
    is_privileged: bool,
}

impl Server {
    /// Listens at `path`, whose file belongs to `group` if that can be done. The error of that is
    /// the second value.
    ///
    /// # Errors
    ///
    /// [`BindError`].
    pub(crate) fn open(
        path: &Path,
        group: Option<u32>,
    ) -> Result<(Self, Option<io::Error>), BindError> {
        let Listening { listener, file, group_error, .. } = bind(path, group)?;
        let server = Self {
            listener,
            file: Some(file),
            limits: Limits::default(),
            own_uid: rustix::process::geteuid().as_raw(),
            clients: Vec::new(),
            next: 0,
            paused_until: None,
            due: None,
            shared: Vec::new(),
        };
        Ok((server, group_error))
    }

    /// From now on the process's own user is this one, and may ask for everything.
    pub(crate) const fn set_own_uid(&mut self, uid: u32) {
        self.own_uid = uid;
    }

    /// Replies to a request.
    pub(crate) fn reply(&mut self, to: &Asked, reply: &Result<Reply, Refusal>, now: Instant) {
        let Some(client) = self.clients.iter_mut().find(|it| it.number == to.client) else {
            return;
        };
        let mut reply = reply.clone();
        if !client.is_privileged && to.request.is_read_only() {
            if let Ok(made) = &mut reply {
                // Another client may have asked at the same time.
                match reusable(&self.shared, &to.request) {
                    Some(shared) => *made = shared.clone(),
                    None => self.shared.push(Shared {
                        request: to.request.clone(),
                        reply: made.clone(),
                        until: Some(now + self.limits.reuse),
                    }),
                }
            }
        }
        client.session.reply(&reply, now);
        client.write(now);
        // It may have sent more than one.
        self.due = Some(now);
    }

    /// Deletes the socket's file, unless another daemon's is there.
    ///
    /// # Errors
    ///
    /// That of unlink(2).
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.file.take().map_or(Ok(()), SocketFile::remove)
    }

    /// Accepts whoever has connected.
    fn accept(&mut self, now: Instant) {
        self.paused_until = None;
        for _ in 0..ACCEPTED {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream, now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Clients wait in the queue of the socket meanwhile.
                Err(_) => {
                    self.paused_until = Some(now + PAUSE);
                    return;
                }
            }
        }
    }

    fn add(&mut self, mut stream: UnixStream, now: Instant) {
        let Ok(peer) = socket_peercred(&stream) else { return };
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let uid = peer.uid.as_raw();
        let is_privileged = uid == 0 || uid == self.own_uid;
        let others = self.clients.iter().filter(|it| !it.is_privileged).count();
        let is_full = self.clients.len() >= self.limits.clients;
        let is_kept = others >= self.limits.clients.saturating_sub(self.limits.reserved);
        if is_full || (is_kept && !is_privileged) {
            // A socket that nobody has written to yet takes a line at once.
            let _ = stream.write(Session::turned_away(self.limits, now).to_write());
            return;
        }
        let session = Session::new(is_privileged, self.limits, now);
        self.clients.push(Client { number: self.next, stream, session, is_privileged });
        self.next += 1;
    }
}

impl Client {
    /// Reads what is there, at most a piece of it.
    fn read(&mut self, now: Instant) {
        if !self.session.wants_bytes() {
            return;
        }
        let mut chunk = [0; CHUNK];
        match self.stream.read(&mut chunk) {
            Ok(count) => self.session.handle_bytes(&chunk[..count], now),
            Err(error) if is_temporary(&error) => {}
            Err(_) => self.session.end(),
        }
    }

    /// Writes what can be written.
    fn write(&mut self, now: Instant) {
        while !self.session.to_write().is_empty() && !self.session.is_over() {
            match self.stream.write(self.session.to_write()) {
                Ok(count) => self.session.handle_written(count, now),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.session.end(),
            }
        }
    }

    /// The next request, if it is there. What is refused is refused here.
    fn ask(&mut self, now: Instant) -> Option<Asked> {
        loop {
            if let Some(request) = self.session.poll(now) {
                return Some(Asked { client: self.number, request });
            }
            // A refusal makes room for the next one once it is written.
            self.write(now);
            if !self.session.has_more() {
                return None;
            }
        }
    }
}

impl Source for Server {
    type Event = Asked;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        let wanted = if self.paused_until.is_some() { PollFlags::empty() } else { PollFlags::IN };
        to.push(PollFd::new(&self.listener, wanted));
        for client in &self.clients {
            let mut wanted = PollFlags::empty();
            wanted.set(PollFlags::IN, client.session.wants_bytes());
            wanted.set(PollFlags::OUT, !client.session.to_write().is_empty());
            to.push(PollFd::new(&client.stream, wanted));
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let sessions = self.clients.iter().filter_map(|it| it.session.deadline());
        let shared = self.shared.iter().filter_map(|it| it.until);
        sessions.chain(self.paused_until).chain(self.due).chain(shared).min()
    }

    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<Asked> {
        self.due = None;
        for shared in &mut self.shared {
            shared.until = shared.until.filter(|until| *until > now);
        }
        self.shared.retain(|it| it.until.is_some() || it.is_held());
        let mut asked = Vec::new();
        for (client, ready) in self.clients.iter_mut().zip(ready.iter().skip(1)) {
            if !ready.is_empty() {
                client.read(now);
                client.write(now);
            }
            if let Some(it) = client.ask(now) {
                match reusable(&self.shared, &it.request).filter(|_| !client.is_privileged) {
                    Some(reply) => {
                        client.session.reply(&Ok(reply.clone()), now);
                        client.write(now);
                        self.due = Some(now);
                    }
                    None => asked.push(it),
                }
            }
            client.session.handle_timeout(now);
            client.write(now);
        }
        self.clients.retain(|it| !it.session.is_over());
        let is_over = self.paused_until.is_some_and(|until| until <= now);
        if is_over || ready.first().is_some_and(|it| !it.is_empty()) {
            self.accept(now);
        }
        asked
    }
}

fn is_temporary(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests;
