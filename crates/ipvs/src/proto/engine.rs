//! The protocol engine: windows of requests, sequence numbers, and which requests a reply
//! completes.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use ipvs_sys as sys;
use ipvs_sys::nl;
use rustix::io::Errno;
use thiserror::Error;

use crate::proto::request::{Request, RequestKind};

/// The maximum number of requests in flight. If all of them fail, each gets a reply, and more than
/// 256 unread replies overflow a default receive buffer.
pub(crate) const WINDOW_REQUESTS: usize = 128;

/// The maximum number of bytes sent at once; a default send buffer holds about 208 KiB.
pub(crate) const WINDOW_BYTES: usize = 64 * 1024;

/// The longest time to wait for a reply: practically forever, and no clock overflows.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const FAMILY_NAME: sys::Name = sys::Name::from_static(sys::GENL_NAME);

/// Identifies a request that was pushed into an [`Engine`]; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// Why a request couldn't be pushed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PushError {
    /// The window is full, or can't be shared with this request: transmit it first.
    #[error("the window is full: transmit it before pushing more")]
    WindowFull,
}

/// How a request failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// The kernel refused it.
    Kernel {
        /// The error number, as errno(3).
        errno: i32,
        /// What the kernel said in words, if it did.
        message: Option<String>,
    },
    /// The kernel executed it, because it answered a later one, but sent no acknowledgement: it was
    /// interrupted (EINTR).
    Unacknowledged,
    /// No reply came before the deadline, or replies were lost: whether it was executed is unknown.
    Unknown,
}

impl Failure {
    /// Whether the kernel refused it with ENOENT: no such object, or no such family (any more).
    pub(crate) fn is_enoent(&self) -> bool {
        matches!(self, Self::Kernel { errno, .. } if *errno == Errno::NOENT.raw_os_error())
    }
}

/// What a datagram says about a request.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A reply to a question, or one entry of a list.
    Reply {
        /// The request it belongs to.
        id: RequestId,
        /// The generic-netlink message: its header and attributes.
        payload: &'a [u8],
    },
    /// A request has completed. Requests complete in the order in which they were pushed.
    Completed {
        /// The request.
        id: RequestId,
        /// How it ended.
        outcome: Result<(), Failure>,
    },
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    id: RequestId,
    seq: u32,
    kind: RequestKind,
    /// Where its message starts in the window.
    offset: usize,
}

impl Slot {
    /// The outcome if a later request was answered and this one wasn't.
    fn skipped(self) -> Result<(), Failure> {
        match self.kind {
            RequestKind::Change | RequestKind::Get | RequestKind::Dump => Ok(()),
            RequestKind::AcknowledgedChange => Err(Failure::Unacknowledged),
        }
    }
}

#[derive(Debug, Default)]
struct Window {
    bytes: Vec<u8>,
    slots: VecDeque<Slot>,
}

impl Window {
    fn clear(&mut self) {
        self.bytes.clear();
        self.slots.clear();
    }
}

/// The protocol engine: speaks the protocol without I/O and without a clock.
///
/// Its calls come in three kinds:
///
/// - `push*` queue requests: [`push`](Self::push), [`push_get_family`](Self::push_get_family);
/// - `poll_*` say what to do next: which datagram to send ([`poll_transmit`](Self::poll_transmit)),
///   and until when to wait for a reply ([`poll_timeout`](Self::poll_timeout));
/// - `handle_*` take what happened: [`handle_datagram`](Self::handle_datagram) reports replies and
///   requests that have completed. [`abandon`](Self::abandon) is for all that goes wrong below the
///   protocol.
///
/// They are called in this order:
///
/// 1. Push requests until there are no more, or until the window is full.
/// 2. Send what `poll_transmit` returns.
/// 3. Receive datagrams and pass each to `handle_datagram`. If there is none, ask `poll_timeout`
///    how long to wait for one. If none came until then, or if replies were lost, call `abandon`.
/// 4. Once the engine [is idle](Self::is_idle), start again.
///
/// One window of up to 128 requests is in flight at a time, with an acknowledgement requested for
/// the last one only. The kernel executes requests in order and reports each that fails, so silence
/// followed by a later reply means success. Only a caller that has to wait needs the time: replies
/// are normally there when sending returns, and reading a clock isn't free everywhere.
///
/// ```
/// use std::time::Duration;
/// use ipvs::proto::{Engine, Request, RequestKind};
/// use ipvs_sys::Command;
///
/// let mut engine = Engine::new(Duration::from_secs(5));
/// engine.set_family(0x1c);
/// let id = engine.push(&Request::new(Command::Flush, RequestKind::Change))?;
/// let datagram = engine.poll_transmit().expect("a request was pushed");
/// assert_eq!(datagram.len(), 20, "a netlink and a generic-netlink header");
/// # let _ = id;
/// # Ok::<(), ipvs::proto::PushError>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    family: u16,
    next_id: u64,
    next_seq: u32,
    timeout: Duration,
    pending: Window,
    in_flight: Window,
    /// Set when it's first asked for after a reply.
    deadline: Option<Instant>,
}

impl Engine {
    /// An engine that waits `timeout`, at most a year, for each reply. Set the id of IPVS's family
    /// ([`set_family`](Self::set_family)) before pushing requests to it.
    pub fn new(timeout: Duration) -> Self {
        Self {
            family: nl::GENL_ID_CTRL,
            next_id: 0,
            // 0 is for messages that the kernel sends unasked.
            next_seq: 1,
            timeout: timeout.min(LONGEST_TIMEOUT),
            pending: Window::default(),
            in_flight: Window::default(),
            deadline: None,
        }
    }

    /// Sets the id that the kernel gave IPVS's family.
    pub fn set_family(&mut self, id: u16) {
        self.family = id;
    }

    /// Sets how long to wait for each reply, from the next window on; more than a year counts as a
    /// year.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout.min(LONGEST_TIMEOUT);
    }

    /// Queues a request to IPVS.
    ///
    /// # Errors
    ///
    /// [`PushError::WindowFull`] if what was pushed before has to be transmitted first.
    pub fn push(&mut self, request: &Request<'_>) -> Result<RequestId, PushError> {
        let family = self.family;
        self.push_message(request.kind, |bytes, flags, seq| {
            request.write(bytes, &sys::Header { message_type: family, flags, seq, port_id: 0 });
        })
    }

    /// Queues a request to IPVS that was [written](Request::write) before. Of its header, only the
    /// length matters.
    pub(crate) fn push_written(
        &mut self,
        message: &[u8],
        kind: RequestKind,
    ) -> Result<RequestId, PushError> {
        let family = self.family;
        self.push_message(kind, |bytes, flags, seq| {
            let (Some(length), Some(rest)) = (message.get(..4), message.get(12..)) else { return };
            bytes.extend_from_slice(length);
            bytes.extend_from_slice(&family.to_ne_bytes());
            bytes.extend_from_slice(&flags.to_ne_bytes());
            bytes.extend_from_slice(&seq.to_ne_bytes());
            bytes.extend_from_slice(rest);
        })
    }

    /// Queues the question which id the kernel gave IPVS's family. It makes the kernel load the
    /// module by itself.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_get_family(&mut self) -> Result<RequestId, PushError> {
        self.push_message(RequestKind::Get, |bytes, flags, seq| {
            sys::ctrl::get_family(bytes, flags, seq, 0, &FAMILY_NAME);
        })
    }

    fn push_message(
        &mut self,
        kind: RequestKind,
        write: impl FnOnce(&mut Vec<u8>, u16, u32),
    ) -> Result<RequestId, PushError> {
        let window = &mut self.pending;
        let shareable = match window.slots.back() {
            None => true,
            Some(last) => kind != RequestKind::Dump && last.kind != RequestKind::Dump,
        };
        if !shareable || window.slots.len() >= WINDOW_REQUESTS || window.bytes.len() >= WINDOW_BYTES
        {
            return Err(PushError::WindowFull);
        }
        let flags = match kind {
            RequestKind::Change | RequestKind::Get => nl::NLM_F_REQUEST,
            RequestKind::AcknowledgedChange => nl::NLM_F_REQUEST | nl::NLM_F_ACK,
            RequestKind::Dump => nl::NLM_F_REQUEST | nl::NLM_F_DUMP,
        };
        let slot = Slot {
            id: RequestId(self.next_id),
            seq: self.next_seq,
            kind,
            offset: window.bytes.len(),
        };
        write(&mut window.bytes, flags, slot.seq);
        window.slots.push_back(slot);
        self.next_id += 1;
        self.next_seq = self.next_seq.checked_add(1).unwrap_or(1);
        Ok(slot.id)
    }

    /// Whether no request is pending or in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight.slots.is_empty() && self.pending.slots.is_empty()
    }

    /// The next datagram to send, if there is one and nothing is in flight.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        if !self.in_flight.slots.is_empty() {
            return None;
        }
        let last = *self.pending.slots.back()?;
        self.in_flight.clear();
        mem::swap(&mut self.pending, &mut self.in_flight);
        // A question ends with its reply, and a list says itself that it has ended.
        if matches!(last.kind, RequestKind::Change | RequestKind::AcknowledgedChange) {
            let asked = sys::request_ack(&mut self.in_flight.bytes, last.offset);
            debug_assert!(asked.is_ok(), "the offset is that of a whole message");
        }
        self.deadline = None;
        Some(&self.in_flight.bytes)
    }

    /// Until when to wait for the next reply; `None` if none is due. The engine's timeout starts at
    /// `now` if this is the first call since the last transmission or reply.
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        if self.in_flight.slots.is_empty() {
            return None;
        }
        if self.deadline.is_none() {
            self.deadline = now.checked_add(self.timeout);
        }
        self.deadline
    }

    /// Reads a datagram and passes to `on_event` what it means. Replies to requests that aren't in
    /// flight (any more) are skipped; returns whether there was any other.
    ///
    /// # Errors
    ///
    /// If the datagram is malformed. Events before that point have been passed on. Call
    /// [`abandon`](Self::abandon): the rest may have held replies to what is still in flight.
    pub fn handle_datagram(
        &mut self,
        datagram: &[u8],
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<bool, sys::DecodeError> {
        let mut any = false;
        for frame in sys::Messages::new(datagram) {
            let sys::Frame { header, body } = frame?;
            let Some(position) = self.in_flight.slots.iter().position(|s| s.seq == header.seq)
            else {
                continue;
            };
            any = true;
            self.deadline = None;
            for slot in self.in_flight.slots.drain(..position) {
                on_event(Event::Completed { id: slot.id, outcome: slot.skipped() });
            }
            let Some(&slot) = self.in_flight.slots.front() else { continue };
            let outcome = match body {
                sys::Body::Noop => continue,
                sys::Body::Data(payload) => {
                    on_event(Event::Reply { id: slot.id, payload });
                    if slot.kind != RequestKind::Get {
                        continue;
                    }
                    Ok(())
                }
                sys::Body::Error(answer) | sys::Body::Done(answer) => match answer.errno {
                    0 => Ok(()),
                    errno => Err(Failure::Kernel {
                        errno,
                        message: answer.ext_ack.message_lossy().map(Cow::into_owned),
                    }),
                },
                sys::Body::Overrun => Err(Failure::Unknown),
            };
            self.in_flight.slots.pop_front();
            on_event(Event::Completed { id: slot.id, outcome });
        }
        Ok(any)
    }

    /// Completes all requests that are in flight with an unknown outcome. Pending requests stay.
    pub fn abandon(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        for slot in self.in_flight.slots.drain(..) {
            on_event(Event::Completed { id: slot.id, outcome: Err(Failure::Unknown) });
        }
    }
}
