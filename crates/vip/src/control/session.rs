//! The daemon's end of one connection, without I/O.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use daemon_kit::control::reply::{around_ok, refusal_line};
use daemon_kit::control::{Decoder, ErrorKind, Refusal};

use crate::control::reply::Reply;
use crate::control::request::{Request, Tagged};

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// How many may be connected. Default: 32.
    pub clients: usize,
    /// How many of these places are kept for root and the daemon's own user. Default: 8.
    pub reserved: usize,
    /// How long one may be connected without sending anything. Default: 10 seconds.
    pub idle: Duration,
    /// How long a request may take from its first byte to its last. Default: 5 seconds.
    pub request: Duration,
    /// How long it may take to read a reply. Default: 5 seconds.
    pub write: Duration,
    /// How old a status may be that a client who isn't privileged gets. Clients share it, so they
    /// can't keep the daemon busy, and those that don't read hold one text. Default: 100 milliseconds.
    pub reuse: Duration,
}

/// A reply of up to this many bytes is one part.
const SHORT: usize = 4096;

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients: 32,
            reserved: 8,
            idle: Duration::from_secs(10),
            request: Duration::from_secs(5),
            write: Duration::from_secs(5),
            reuse: Duration::from_millis(100),
        }
    }
}

/// A connection: bytes in, requests out, replies in, bytes out.
///
/// It has one request at a time. The next is read only when the reply to the one before has been
/// written, so a client that doesn't read holds one reply and no more than a request. Calls:
///
/// - what happened: [`handle_bytes`](Self::handle_bytes) if [`wants_bytes`](Self::wants_bytes),
///   [`handle_written`](Self::handle_written), and [`handle_timeout`](Self::handle_timeout) at the
///   [`deadline`](Self::deadline);
/// - then what to do: [`poll`](Self::poll), with a [`reply`](Self::reply) to the request that it
///   returns; and write [`to_write`](Self::to_write);
/// - when it [`is_over`](Self::is_over), close the connection.
///
/// ```
/// use std::time::Instant;
/// use vip::control::{Limits, Reply, Session};
///
/// let now = Instant::now();
/// let mut session = Session::new(true, Limits::default(), now);
/// session.handle_bytes(b"{\"v\":1,\"id\":7,\"request\":\"release\"}\n", now);
/// let request = session.poll(now).ok_or("a request")?;
/// assert_eq!(request.name(), "release");
/// session.reply(&Reply::decided(None, vec!["front".to_owned()]), now);
/// assert_eq!(session.to_write(), b"{\"v\":1,\"id\":7,\"ok\":{\"vips\":[\"front\"]}}\n");
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    is_privileged: bool,
    decoder: Decoder,
    /// The request that has no reply yet.
    asked: Option<u64>,
    /// Parts of a reply, none of them empty. Long ones may be shared with other clients.
    output: VecDeque<Arc<str>>,
    /// How much of the first one is written.
    written: usize,
    deadline: Instant,
    /// Nothing is read any more, and the connection ends when everything is written.
    is_closing: bool,
    is_over: bool,
}

impl Session {
    /// A client has connected: one that may ask for everything, or one that may only look.
    pub fn new(is_privileged: bool, limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            is_privileged,
            decoder: Decoder::new(),
            asked: None,
            output: VecDeque::new(),
            written: 0,
            deadline: now + limits.idle,
            is_closing: false,
            is_over: false,
        }
    }

    /// A client for whom there is no place: it is told so.
    pub fn turned_away(limits: Limits, now: Instant) -> Self {
        let mut session = Self::new(false, limits, now);
        let refusal = Refusal::new(ErrorKind::Busy, "too many clients are connected");
        session.write(refusal_line(None, &refusal), now);
        session.is_closing = true;
        session
    }

    /// Whether to read. Otherwise the kernel keeps what the client sends, and soon the client.
    pub fn wants_bytes(&self) -> bool {
        self.is_free() && !self.decoder.has_line()
    }

    /// The client has sent this; nothing means that it sends no more.
    pub fn handle_bytes(&mut self, bytes: &[u8], now: Instant) {
        if bytes.is_empty() {
            self.end();
            return;
        }
        let was_unfinished = self.decoder.is_unfinished();
        self.decoder.push(bytes);
        // An incomplete request has until then, however many pieces it comes in.
        if !was_unfinished {
            self.deadline = now + self.limits.request;
        }
    }

    /// The first `count` bytes of [`to_write`](Self::to_write) are written.
    pub fn handle_written(&mut self, count: usize, now: Instant) {
        let length = self.to_write().len();
        if count < length || length == 0 {
            self.written += count.min(length);
            return;
        }
        self.output.pop_front();
        self.written = 0;
        if self.output.is_empty() {
            self.is_over |= self.is_closing;
            self.deadline = now + self.limits.idle;
        }
    }

    /// The time is `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_over || now < self.deadline || self.asked.is_some() {
            return;
        }
        if self.to_write().is_empty() && self.decoder.is_unfinished() {
            let message = format!("the request wasn't complete after {:?}", self.limits.request);
            let refusal = Refusal::new(ErrorKind::Timeout, message);
            self.write(refusal_line(None, &refusal), now);
            self.is_closing = true;
        } else {
            self.end();
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). None while a request waits for its
    /// reply.
    pub fn deadline(&self) -> Option<Instant> {
        (!self.is_over && self.asked.is_none()).then_some(self.deadline)
    }

    /// The next request that this client may make. What it may not, and what is no request, is
    /// refused here.
    pub fn poll(&mut self, now: Instant) -> Option<Request> {
        if !self.is_free() {
            return None;
        }
        match self.decoder.poll()?.and_then(Tagged::try_from) {
            Ok(Tagged { id, request }) if request.is_read_only() || self.is_privileged => {
                self.asked = Some(id);
                Some(request)
            }
            Ok(Tagged { id, request }) => {
                let message = format!("{} is for root and the daemon's own user", request.name());
                let refusal = Refusal::new(ErrorKind::Denied, message);
                self.write(refusal_line(Some(id), &refusal), now);
                None
            }
            Err(malformed) => {
                self.write(refusal_line(malformed.id, &malformed.refusal), now);
                self.is_closing = malformed.is_final;
                None
            }
        }
    }

    /// The reply to the last request, or why it isn't done.
    pub fn reply(&mut self, reply: &Result<Reply, Refusal>, now: Instant) {
        let Some(id) = self.asked.take() else { return };
        match reply {
            Ok(Reply { ok, text }) => {
                let (before, after) = around_ok(id);
                // One write is cheaper than several.
                let parts = match ok.len() + text.len() <= SHORT {
                    true => vec![[&before, &**ok, after, &**text].concat().into()],
                    false => vec![before.into(), Arc::clone(ok), after.into(), Arc::clone(text)],
                };
                self.write_parts(parts, now);
            }
            Err(refusal) => self.write(refusal_line(Some(id), refusal), now),
        }
    }

    /// Whether another request may be there that [`poll`](Self::poll) hasn't returned yet.
    pub fn has_more(&self) -> bool {
        self.is_free() && self.decoder.has_line()
    }

    /// What the client is to get next; nothing if it has got everything.
    pub fn to_write(&self) -> &[u8] {
        self.output.front().map_or(&[], |part| &part.as_bytes()[self.written..])
    }

    /// The client is gone.
    pub fn end(&mut self) {
        self.is_over = true;
    }

    /// Whether the connection is to be closed.
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether the request before has been replied to, and the client has got the reply.
    fn is_free(&self) -> bool {
        !self.is_over && !self.is_closing && self.asked.is_none() && self.to_write().is_empty()
    }

    fn write(&mut self, text: String, now: Instant) {
        self.write_parts([text.into()], now);
    }

    fn write_parts(&mut self, parts: impl IntoIterator<Item = Arc<str>>, now: Instant) {
        self.output = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.written = 0;
        self.deadline = now + self.limits.write;
    }
}

#[cfg(test)]
mod tests;
