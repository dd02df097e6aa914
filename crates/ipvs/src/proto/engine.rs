//! The engine: windows of requests, sequence numbers, and what an answer settles.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;
use std::time::{Duration, Instant};

use ipvs_sys as sys;
use ipvs_sys::nl;
use rustix::io::Errno;
use thiserror::Error;

use crate::proto::request::{Request, Shape};

/// How many requests may be under way at once. If all of them fail, each answers, and more than
/// 256 unread answers overflow a default receive buffer.
pub(crate) const WINDOW_REQUESTS: usize = 128;

/// How many bytes may be sent at once; a default send buffer takes about 208 KiB.
pub(crate) const WINDOW_BYTES: usize = 64 * 1024;

/// The longest time to wait for an answer: as good as for ever, and no clock overflows.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

const FAMILY_NAME: sys::Name = sys::Name::from_static(sys::GENL_NAME);

/// Tells requests apart that were pushed into one [`Engine`]; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// Why a request couldn't be taken now.
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
    /// The kernel dealt with it, because it answered a later one, but left its acknowledgement
    /// out: it was interrupted (EINTR).
    Unacknowledged,
    /// No answer came until the deadline, or answers were lost: whether it was carried out is
    /// unknown.
    Unknown,
}

impl Failure {
    /// Whether the kernel refused it with ENOENT: no such thing, or no such family (any more).
    pub(crate) fn is_enoent(&self) -> bool {
        matches!(self, Self::Kernel { errno, .. } if *errno == Errno::NOENT.raw_os_error())
    }
}

/// What a datagram tells about a request.
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
    /// A request has ended. Requests end in the order in which they were pushed.
    Settled {
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
    shape: Shape,
    /// Where its message starts in the window.
    offset: usize,
}

impl Slot {
    /// What it means that a later request was answered and this one wasn't.
    fn passed_over(self) -> Result<(), Failure> {
        match self.shape {
            Shape::Change | Shape::Get | Shape::Dump => Ok(()),
            Shape::AcknowledgedChange => Err(Failure::Unacknowledged),
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

/// Speaks the protocol without input or output.
///
/// Push requests; send the datagram that [`poll_transmit`](Self::poll_transmit) gives; feed what
/// comes back to [`feed`](Self::feed), which tells of replies and of requests that ended. One
/// window of up to 128 requests is under way at a time, with an acknowledgement asked for the
/// last one only: since the kernel carries requests out in order and reports each that fails,
/// silence and then a later answer mean success. If nothing comes until
/// [`deadline`](Self::deadline), or answers were lost, [`abandon`](Self::abandon) ends all that
/// are under way. The time is asked for only by who has to wait: answers are there when sending
/// returns, and a clock isn't free everywhere.
///
/// ```
/// use std::time::Duration;
/// use ipvs::proto::{Engine, Request, Shape};
/// use ipvs_sys::Command;
///
/// let mut engine = Engine::new(Duration::from_secs(5));
/// engine.set_family(0x1c);
/// let id = engine.push(&Request::new(Command::Flush, Shape::Change))?;
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
    filling: Window,
    flying: Window,
    /// Set when it's first asked for after an answer.
    deadline: Option<Instant>,
}

impl Engine {
    /// An engine that waits `timeout`, at most a year, for each answer. The family of IPVS has to be set before
    /// IPVS requests are pushed.
    pub fn new(timeout: Duration) -> Self {
        Self {
            family: nl::GENL_ID_CTRL,
            next_id: 0,
            // 0 stands for messages that the kernel sends unasked.
            next_seq: 1,
            timeout: timeout.min(LONGEST_TIMEOUT),
            filling: Window::default(),
            flying: Window::default(),
            deadline: None,
        }
    }

    /// Sets the id that the kernel gave the IPVS family.
    pub fn set_family(&mut self, id: u16) {
        self.family = id;
    }

    /// Sets how long to wait for each answer, from the next window on; more than a year counts as
    /// a year.
    pub fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout.min(LONGEST_TIMEOUT);
    }

    /// Takes a request to IPVS.
    ///
    /// # Errors
    ///
    /// [`PushError::WindowFull`] if what was pushed before has to be transmitted first.
    pub fn push(&mut self, request: &Request<'_>) -> Result<RequestId, PushError> {
        let family = self.family;
        self.push_message(request.shape, |bytes, flags, seq| {
            request.write(bytes, &sys::Header { message_type: family, flags, seq, port_id: 0 });
        })
    }

    /// Takes a request to IPVS that was [written](Request::write) before; what its header says
    /// but for the length doesn't matter.
    pub(crate) fn push_written(
        &mut self,
        message: &[u8],
        shape: Shape,
    ) -> Result<RequestId, PushError> {
        let family = self.family;
        self.push_message(shape, |bytes, flags, seq| {
            let (Some(length), Some(rest)) = (message.get(..4), message.get(12..)) else { return };
            bytes.extend_from_slice(length);
            bytes.extend_from_slice(&family.to_ne_bytes());
            bytes.extend_from_slice(&flags.to_ne_bytes());
            bytes.extend_from_slice(&seq.to_ne_bytes());
            bytes.extend_from_slice(rest);
        })
    }

    /// Takes the question which id the kernel gave the IPVS family. Asking it makes the kernel
    /// load the module by itself.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_get_family(&mut self) -> Result<RequestId, PushError> {
        self.push_message(Shape::Get, |bytes, flags, seq| {
            sys::ctrl::get_family(bytes, flags, seq, 0, &FAMILY_NAME);
        })
    }

    fn push_message(
        &mut self,
        shape: Shape,
        write: impl FnOnce(&mut Vec<u8>, u16, u32),
    ) -> Result<RequestId, PushError> {
        let window = &mut self.filling;
        let shareable = match window.slots.back() {
            None => true,
            Some(last) => shape != Shape::Dump && last.shape != Shape::Dump,
        };
        if !shareable || window.slots.len() >= WINDOW_REQUESTS || window.bytes.len() >= WINDOW_BYTES
        {
            return Err(PushError::WindowFull);
        }
        let flags = match shape {
            Shape::Change | Shape::Get => nl::NLM_F_REQUEST,
            Shape::AcknowledgedChange => nl::NLM_F_REQUEST | nl::NLM_F_ACK,
            Shape::Dump => nl::NLM_F_REQUEST | nl::NLM_F_DUMP,
        };
        let slot = Slot {
            id: RequestId(self.next_id),
            seq: self.next_seq,
            shape,
            offset: window.bytes.len(),
        };
        write(&mut window.bytes, flags, slot.seq);
        window.slots.push_back(slot);
        self.next_id += 1;
        self.next_seq = self.next_seq.checked_add(1).unwrap_or(1);
        Ok(slot.id)
    }

    /// Whether nothing is under way or waiting to be sent.
    pub fn is_idle(&self) -> bool {
        self.flying.slots.is_empty() && self.filling.slots.is_empty()
    }

    /// The next datagram to send, if there is one and nothing is under way.
    pub fn poll_transmit(&mut self) -> Option<&[u8]> {
        if !self.flying.slots.is_empty() {
            return None;
        }
        let last = *self.filling.slots.back()?;
        self.flying.clear();
        mem::swap(&mut self.filling, &mut self.flying);
        // A question ends with its reply, and a list says itself that it has ended.
        if matches!(last.shape, Shape::Change | Shape::AcknowledgedChange) {
            let asked = sys::request_ack(&mut self.flying.bytes, last.offset);
            debug_assert!(asked.is_ok(), "the offset is that of a whole message");
        }
        self.deadline = None;
        Some(&self.flying.bytes)
    }

    /// Until when the next answer has to be there; `None` if none is due. The engine's timeout
    /// begins `now` if this wasn't asked since the last transmission or answer.
    pub fn deadline(&mut self, now: Instant) -> Option<Instant> {
        if self.flying.slots.is_empty() {
            return None;
        }
        if self.deadline.is_none() {
            self.deadline = now.checked_add(self.timeout);
        }
        self.deadline
    }

    /// Takes a datagram and tells `on_event` what it means. Answers to requests that aren't under
    /// way (any more) are passed over; returns whether there was any other.
    ///
    /// # Errors
    ///
    /// If the datagram isn't well formed. What it told until there has been told; what is still
    /// under way should be [abandoned](Self::abandon), because answers may have been in the rest.
    pub fn feed(
        &mut self,
        datagram: &[u8],
        mut on_event: impl FnMut(Event<'_>),
    ) -> Result<bool, sys::DecodeError> {
        let mut any = false;
        for frame in sys::Messages::new(datagram) {
            let sys::Frame { header, body } = frame?;
            let Some(position) = self.flying.slots.iter().position(|s| s.seq == header.seq) else {
                continue;
            };
            any = true;
            self.deadline = None;
            for slot in self.flying.slots.drain(..position) {
                on_event(Event::Settled { id: slot.id, outcome: slot.passed_over() });
            }
            let Some(&slot) = self.flying.slots.front() else { continue };
            let outcome = match body {
                sys::Body::Noop => continue,
                sys::Body::Data(payload) => {
                    on_event(Event::Reply { id: slot.id, payload });
                    if slot.shape != Shape::Get {
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
            self.flying.slots.pop_front();
            on_event(Event::Settled { id: slot.id, outcome });
        }
        Ok(any)
    }

    /// Ends all requests that are under way: their outcome is unknown. Requests that weren't
    /// transmitted yet stay.
    pub fn abandon(&mut self, mut on_event: impl FnMut(Event<'_>)) {
        for slot in self.flying.slots.drain(..) {
            on_event(Event::Settled { id: slot.id, outcome: Err(Failure::Unknown) });
        }
    }
}
