//! The daemon's end of the control socket, on a tokio runtime of one thread.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use daemon_kit::control::reply::{around_ok, refusal_line};
use daemon_kit::control::{ErrorKind, Refusal};
use rustix::net::sockopt::set_socket_send_buffer_size_force;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Notify, watch};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

use crate::control::limits::Limits;
use crate::control::reply::{Done, PoolState, Pools, Reloaded, Text};
use crate::control::request::{Decoder, Order, Request, Tagged};
use crate::metrics::Page;
use crate::pieces::{Document, PIECE, Pieces, new_piece};
use crate::run::Decided;
use crate::status::Status;
use crate::status::json::Json;

/// How much is read at a time, and so held for each client beside an incomplete request.
const CHUNK: usize = 4096;

/// How much is written at once to the first privileged client, in bytes, and twice as much waits in its
/// socket: each time one side waits for the other, somebody else may have the processor. Others get
/// [pieces](PIECE), so that they cost little.
const BURST: usize = 1 << 20;

/// Lines to one subscriber are at least this far apart: changes that come together are one line.
const SPACING: Duration = Duration::from_millis(20);

/// What the daemon does for clients.
///
/// The server awaits one call for each client at a time, whether the client is still there or not.
/// It drops a call that takes longer than [`Limits`] allow and replies with a timeout. So a call
/// should pass a message to the engine and wait for the reply: dropping it then only loses the
/// reply.
pub trait Handler {
    /// Brings a status up to date, whatever it says. [`Handle::describe`](crate::Handle::describe) uses its
    /// memory again.
    fn status(&self, status: &mut Status) -> impl Future<Output = Result<(), Refusal>>;

    /// Applies an operator's decision, and returns when pools know it and it is saved, if it can be.
    fn decide(&self, order: Order) -> impl Future<Output = Result<Decided, Refusal>>;

    /// Reads the configuration again, and returns when it is in force or refused.
    fn reload(&self) -> impl Future<Output = Result<Reloaded, Refusal>>;

    /// Leaves the table as it is, or cleans it up, and writes to it no more. When the reply has
    /// been sent, [`Server::run`] returns.
    fn stop(&self, keep_table: bool) -> impl Future<Output = Result<(), Refusal>>;
}

/// A client has asked the daemon to stop, and the handler has agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The virtual services stay in the kernel.
    pub keep_table: bool,
}

/// The daemon's end of the control socket.
///
/// Whoever can connect may ask for the status, metrics and a subscription. Everything else is for
/// root and the user as which this process runs, by the peer credentials of the socket.
///
/// No client delays another or the daemon: their number, their requests and what waits for them
/// are bounded, and each step has a deadline ([`Limits`]).
#[derive(Debug)]
pub struct Server<H> {
    shared: Rc<Shared<H>>,
}

#[derive(Debug)]
struct Shared<H> {
    handler: H,
    changes: watch::Receiver<u64>,
    limits: Limits,
    own_uid: u32,
    /// The last value of each kind that was made for clients.
    made: Mutex<[Option<Made>; 3]>,
    /// What the last reply was made in, while clients are connected.
    spare: RefCell<Option<Memory>>,
    /// Clients by whether they are privileged.
    clients: [Cell<usize>; 2],
    unread: Cell<usize>,
    stopped: RefCell<Option<Stopped>>,
    wake: Notify,
}

/// What is made from a status.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Status,
    Metrics,
    Pools,
}

/// What was made of a status.
#[derive(Debug)]
struct Made {
    at: Instant,
    /// Its version is that of the value.
    changes: watch::Receiver<u64>,
    reply: Rc<Reply>,
}

/// What a reply is made in.
#[derive(Debug)]
struct Memory {
    status: Status,
    piece: String,
}

impl Default for Memory {
    fn default() -> Self {
        Self { status: Status::new(""), piece: new_piece() }
    }
}

/// A reply that isn't a refusal, in pieces.
#[derive(Debug, Default)]
struct Reply {
    /// The JSON of `ok`.
    ok: Vec<String>,
    /// What follows the line.
    text: Vec<String>,
}

impl Reply {
    fn of<T: Serialize>(value: &T) -> Result<Rc<Self>, Refusal> {
        Ok(Rc::new(Self { ok: vec![json(value)?], text: Vec::new() }))
    }

    fn len(&self) -> usize {
        self.ok.iter().chain(&self.text).map(String::len).sum()
    }
}

/// A client, and whether it may change something.
struct Peer<S> {
    stream: S,
    is_privileged: bool,
    /// How much is written to it at once.
    burst: usize,
}

/// The connection is over: the client is gone, or too slow, or has been told so.
struct Over;

impl From<io::Error> for Over {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl<H: Handler + 'static> Server<H> {
    /// A server for this handler. `changes` changes whenever a pool's state has: when a real
    /// server starts or stops taking traffic, say. [`Handle::changes`](crate::Handle::changes) does.
    pub fn new(handler: H, changes: watch::Receiver<u64>) -> Self {
        let shared = Shared {
            handler,
            changes,
            limits: Limits::default(),
            own_uid: rustix::process::geteuid().as_raw(),
            made: Mutex::default(),
            spare: RefCell::default(),
            clients: Default::default(),
            unread: Cell::default(),
            stopped: RefCell::default(),
            wake: Notify::new(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Sets other limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        if let Some(shared) = Rc::get_mut(&mut self.shared) {
            shared.limits = limits;
        }
        self
    }

    /// Serves clients until one has made the daemon stop. Dropping it ends all connections.
    ///
    /// # Panics
    ///
    /// Outside of a [`LocalSet`](tokio::task::LocalSet).
    pub async fn run(self, listener: UnixListener) -> Stopped {
        let shared = self.shared;
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            match either(shared.wake.notified(), listener.accept()).await {
                Either::Left(()) => {}
                Either::Right(Ok((stream, _))) => {
                    let Ok(peer) = stream.peer_cred() else { continue };
                    if let Some(place) = Place::take(&shared, peer.uid()) {
                        if place.burst > PIECE {
                            // Without the right, it writes more often.
                            let _ = set_socket_send_buffer_size_force(&stream, place.burst);
                        }
                        tasks.spawn_local(async move { place.serve(stream).await });
                    } else {
                        turn_away(stream);
                    }
                }
                // No descriptor is left, say: clients wait in the queue of the socket meanwhile.
                Either::Right(Err(_)) => sleep(Duration::from_millis(100)).await,
            }
            if let Some(stopped) = *shared.stopped.borrow() {
                return stopped;
            }
        }
    }
}

/// Tells a client that there is no place, if that can be done at once.
fn turn_away(stream: UnixStream) {
    let refusal = Refusal::new(ErrorKind::Busy, "too many clients are connected");
    // tokio's would first wait for the runtime to see that it is writable. This one doesn't block.
    let _ = stream.into_std().and_then(|mut stream| {
        io::Write::write(&mut stream, refusal_line(None, &refusal).as_bytes())
    });
}

/// One of the limited places for clients. It is free again when this is dropped.
struct Place<H> {
    shared: Rc<Shared<H>>,
    is_privileged: bool,
    burst: usize,
}

impl<H: Handler> Place<H> {
    fn take(shared: &Rc<Shared<H>>, uid: u32) -> Option<Self> {
        let is_privileged = uid == 0 || uid == shared.own_uid;
        let [others, privileged] = [&shared.clients[0], &shared.clients[1]].map(Cell::get);
        let is_full = others + privileged >= shared.limits.clients;
        let is_kept = others >= shared.limits.clients.saturating_sub(shared.limits.reserved);
        if is_full || (is_kept && !is_privileged) {
            return None;
        }
        let count = &shared.clients[usize::from(is_privileged)];
        count.set(count.get() + 1);
        let burst = if is_privileged && privileged == 0 { BURST } else { PIECE };
        Some(Self { shared: Rc::clone(shared), is_privileged, burst })
    }

    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let mut peer = Peer { stream, is_privileged: self.is_privileged, burst: self.burst };
        let Err(Over) = self.shared.converse(&mut peer).await;
    }
}

impl<H> Drop for Place<H> {
    fn drop(&mut self) {
        let count = &self.shared.clients[usize::from(self.is_privileged)];
        count.set(count.get() - 1);
        if self.shared.clients.iter().all(|count| count.get() == 0) {
            self.shared.spare.take();
        }
    }
}

enum Never {}

impl<H: Handler> Shared<H> {
    /// Reads requests and replies to each, one at a time.
    async fn converse<S>(&self, peer: &mut Peer<S>) -> Result<Never, Over>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut decoder = Decoder::new();
        let mut chunk = [0; CHUNK];
        loop {
            let since = Instant::now();
            while let Some(request) = decoder.poll() {
                match request {
                    Ok(request) => self.reply(peer, request).await?,
                    Err(malformed) => {
                        self.refuse(peer, malformed.id, &malformed.refusal).await?;
                        if malformed.is_final {
                            return Err(Over);
                        }
                    }
                }
            }
            let is_unfinished = decoder.is_unfinished();
            let time = if is_unfinished { self.limits.request } else { self.limits.idle };
            // An incomplete request has until then, however many pieces it comes in.
            let deadline = since + time;
            loop {
                let Ok(read) = timeout_at(deadline, peer.stream.read(&mut chunk)).await else {
                    if is_unfinished {
                        let message = format!("the request wasn't complete after {time:?}");
                        let refusal = Refusal::new(ErrorKind::Timeout, message);
                        self.refuse(peer, None, &refusal).await?;
                    }
                    return Err(Over);
                };
                let count = read?;
                if count == 0 {
                    return Err(Over);
                }
                decoder.push(&chunk[..count]);
                if !is_unfinished || chunk[..count].contains(&b'\n') || decoder.is_too_long() {
                    break;
                }
            }
        }
    }

    async fn reply<S>(&self, peer: &mut Peer<S>, request: Tagged) -> Result<(), Over>
    where
        S: AsyncWrite + Unpin,
    {
        let Tagged { id, request } = request;
        if !request.is_read_only() && !peer.is_privileged {
            let message = format!("{} is for root and the daemon's own user", request.name());
            return self.refuse(peer, Some(id), &Refusal::new(ErrorKind::Denied, message)).await;
        }
        let (call, long) = (self.limits.call, self.limits.reload);
        match request {
            Request::Status => self.tell(peer, id, Kind::Status).await,
            Request::Metrics => self.tell(peer, id, Kind::Metrics).await,
            Request::Subscribe => self.stream_pools(peer, id).await,
            Request::Decide(order) => {
                let done = in_time(call, self.handler.decide(order)).await;
                self.send(peer, id, done.and_then(|it| Reply::of(&it))).await
            }
            Request::Reload => {
                let done = in_time(long, self.handler.reload()).await;
                self.send(peer, id, done.and_then(|it| Reply::of(&it))).await
            }
            Request::Stop { keep_table } => {
                let done = in_time(long, self.handler.stop(keep_table)).await;
                let is_done = done.is_ok();
                // The client may be gone, but it was done all the same.
                let sent = self.send(peer, id, done.and_then(|()| Reply::of(&Done {}))).await;
                if is_done {
                    *self.stopped.borrow_mut() = Some(Stopped { keep_table });
                    self.wake.notify_one();
                }
                sent
            }
        }
    }

    /// Sends the states of all pools at once, after each change, and at least once in a beat. This
    /// goes on until the client is gone or doesn't read.
    async fn stream_pools<S>(&self, peer: &mut Peer<S>, id: u64) -> Result<(), Over>
    where
        S: AsyncWrite + Unpin,
    {
        let mut changes = self.changes.clone();
        loop {
            changes.mark_unchanged();
            let made = self.made(Kind::Pools).await;
            let is_over = made.is_err();
            self.send(peer, id, made).await?;
            if is_over {
                return Err(Over);
            }
            let sent = Instant::now();
            let change = timeout_at(sent + self.limits.beat, changes.changed()).await;
            // The sender is gone when the daemon ends: then there are no more changes.
            let next = if matches!(change, Ok(Err(_))) { self.limits.beat } else { SPACING };
            sleep_until(sent + next).await;
        }
    }

    /// Replies with a status or what is made from it. A client who is privileged gets the newest one.
    async fn tell<S>(&self, peer: &mut Peer<S>, id: u64, kind: Kind) -> Result<(), Over>
    where
        S: AsyncWrite + Unpin,
    {
        if !peer.is_privileged {
            let reply = self.made(kind).await;
            return self.send(peer, id, reply).await;
        }
        let Memory { mut status, mut piece } = self.spare.take().unwrap_or_default();
        if let Err(refusal) = in_time(self.limits.call, self.handler.status(&mut status)).await {
            return self.refuse(peer, Some(id), &refusal).await;
        }
        let (stream, burst) = (&mut peer.stream, peer.burst);
        let (before, after) = around_ok(id);
        // Nobody else gets this one, so it is written while it is made. Fresh memory for all of it would
        // cost more than making metrics a second time, for their length.
        let write = async {
            match kind {
                Kind::Metrics => {
                    let mut page = Page::new(&status);
                    let length = Pieces::new(&mut page).length(&mut piece);
                    piece.push_str(&before);
                    piece.push_str(&json(&Text { length }).unwrap_or_default());
                    piece.push_str(after);
                    self.write_all(stream, &mut piece, burst, page.again()).await?;
                }
                Kind::Status | Kind::Pools => {
                    piece.push_str(&before);
                    self.write_all(stream, &mut piece, burst, Json::new(&status)).await?;
                    piece.push_str(after);
                }
            }
            stream.write_all(piece.as_bytes()).await?;
            stream.flush().await
        };
        timeout(self.limits.write, write).await.map_err(|_| Over)??;
        piece.clear();
        self.spare.replace(Some(Memory { status, piece }));
        Ok(())
    }

    /// Writes what is in `piece` and a document after it. The end of that is in `piece` afterwards.
    async fn write_all<S: AsyncWrite + Unpin>(
        &self,
        stream: &mut S,
        piece: &mut String,
        burst: usize,
        document: impl Document,
    ) -> io::Result<()> {
        let (mut pieces, mut begin) = (Pieces::new(document), Instant::now());
        while pieces.fill(piece, burst) {
            stream.write_all(piece.as_bytes()).await?;
            piece.clear();
            if begin.elapsed() >= self.limits.slice {
                yield_now().await;
                begin = Instant::now();
            }
        }
        Ok(())
    }

    /// A reply made from a status, which those who aren't privileged share for a while, as do
    /// subscribers.
    async fn made(&self, kind: Kind) -> Result<Rc<Reply>, Refusal> {
        in_time(self.limits.call, async {
            let mut all = self.made.lock().await;
            let slot = &mut all[kind as usize];
            if let Some(made) = slot {
                let is_new = made.at.elapsed() < self.limits.reuse;
                if is_new && !made.changes.has_changed().unwrap_or(false) {
                    return Ok(Rc::clone(&made.reply));
                }
            }
            let made = self.make(kind).await?;
            let reply = Rc::clone(&made.reply);
            *slot = Some(made);
            Ok(reply)
        })
        .await
    }

    async fn make(&self, kind: Kind) -> Result<Made, Refusal> {
        let at = Instant::now();
        let mut changes = self.changes.clone();
        changes.mark_unchanged();
        let Memory { mut status, piece } = self.spare.take().unwrap_or_default();
        self.handler.status(&mut status).await?;
        let reply = match kind {
            Kind::Status => {
                let ok = Pieces::new(Json::new(&status)).make(self.limits.slice).await;
                Rc::new(Reply { ok, text: Vec::new() })
            }
            Kind::Metrics => {
                let text = Pieces::new(Page::new(&status)).make(self.limits.slice).await;
                let length = text.iter().map(String::len).sum();
                Rc::new(Reply { ok: vec![json(&Text { length })?], text })
            }
            Kind::Pools => Reply::of(&Pools { pools: PoolState::all(&status) })?,
        };
        self.spare.replace(Some(Memory { status, piece }));
        Ok(Made { at, changes, reply })
    }

    async fn send<S>(
        &self,
        peer: &mut Peer<S>,
        id: u64,
        reply: Result<Rc<Reply>, Refusal>,
    ) -> Result<(), Over>
    where
        S: AsyncWrite + Unpin,
    {
        let reply = match reply {
            Ok(reply) => reply,
            Err(refusal) => return self.refuse(peer, Some(id), &refusal).await,
        };
        let Some(_unread) = Unread::add(self, reply.len(), peer.is_privileged) else {
            let message = "too many replies wait for clients that don't read them";
            return self.refuse(peer, Some(id), &Refusal::new(ErrorKind::Busy, message)).await;
        };
        let (before, after) = around_ok(id);
        let ok = reply.ok.iter().map(String::as_str);
        let text = reply.text.iter().map(String::as_str);
        self.write(peer, [&*before].into_iter().chain(ok).chain([after]).chain(text)).await
    }

    async fn refuse<S>(
        &self,
        peer: &mut Peer<S>,
        id: Option<u64>,
        refusal: &Refusal,
    ) -> Result<(), Over>
    where
        S: AsyncWrite + Unpin,
    {
        self.write(peer, [&*refusal_line(id, refusal)]).await
    }

    /// Writes a reply. A client that doesn't read it in time is disconnected.
    async fn write<'a, S>(
        &self,
        peer: &mut Peer<S>,
        pieces: impl IntoIterator<Item = &'a str>,
    ) -> Result<(), Over>
    where
        S: AsyncWrite + Unpin,
    {
        let stream = &mut peer.stream;
        let write = async {
            for piece in pieces {
                stream.write_all(piece.as_bytes()).await?;
            }
            stream.flush().await
        };
        Ok(timeout(self.limits.write, write).await.map_err(|_| Over)??)
    }
}

/// Bytes of a reply that its client hasn't read yet.
struct Unread<'a> {
    all: &'a Cell<usize>,
    len: usize,
}

impl<'a> Unread<'a> {
    /// Counts a reply, unless there are too many for clients that aren't privileged.
    fn add<H>(shared: &'a Shared<H>, len: usize, is_privileged: bool) -> Option<Self> {
        let all = &shared.unread;
        let sum = all.get().saturating_add(len);
        if sum > shared.limits.unread && all.get() > 0 && !is_privileged {
            return None;
        }
        all.set(sum);
        Some(Self { all, len })
    }
}

impl Drop for Unread<'_> {
    fn drop(&mut self) {
        self.all.set(self.all.get().saturating_sub(self.len));
    }
}

fn json<T: Serialize>(value: &T) -> Result<String, Refusal> {
    let json = serde_json::to_string(value);
    json.map_err(|error| Refusal::from(format!("writing the reply: {error}")))
}

/// The call's result, or a refusal if it takes too long.
async fn in_time<T>(
    time: Duration,
    call: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    timeout(time, call).await.unwrap_or_else(|_| {
        let message = format!("the daemon took longer than {time:?}; it may still do it");
        Err(Refusal::new(ErrorKind::Timeout, message))
    })
}

enum Either<A, B> {
    Left(A),
    Right(B),
}

/// The result of the one that ends first. The other is dropped.
async fn either<A, B>(
    left: impl Future<Output = A>,
    right: impl Future<Output = B>,
) -> Either<A, B> {
    let (mut left, mut right) = (pin!(left), pin!(right));
    poll_fn(|context| match left.as_mut().poll(context) {
        Poll::Ready(it) => Poll::Ready(Either::Left(it)),
        Poll::Pending => right.as_mut().poll(context).map(Either::Right),
    })
    .await
}

#[cfg(test)]
mod tests;
