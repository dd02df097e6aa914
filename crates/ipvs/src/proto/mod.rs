//! The protocol without I/O: what to send, and what a reply means.
//!
//! [`Engine`] accepts [`Request`]s, says which datagram to send, reads the datagrams received, and
//! reports how each request ended. It never reads a clock and never touches a socket, so any order
//! of events can be tested on it; [`Client`](crate::Client) adds both.
//!
//! [`Responder`] is the other end, for anything that takes the kernel's place;
//! [`Served`](crate::Served) turns a responder and a function into a transport.

pub(crate) mod engine;
pub(crate) mod request;
pub(crate) mod responder;

pub use engine::{Engine, Event, Failure, PushError, RequestId};
pub use request::{Request, RequestKind};
pub use responder::{Call, Refusal, Replies, Responder};
