//! The protocol without I/O: what to send, and what a reply means.
//!
//! [`Engine`] takes [`Request`]s, says which datagram to send, takes the datagrams that come back,
//! and reports how each request ended. It never reads a clock and never touches a socket, so any
//! order of events can be tested on it; [`Client`](crate::Client) adds both.
//!
//! [`Responder`] is the other end, for whatever takes the kernel's place; [`Served`](crate::Served)
//! makes a transport of a responder and one function.

pub(crate) mod engine;
pub(crate) mod request;
pub(crate) mod responder;

pub use engine::{Engine, Event, Failure, PushError, RequestId};
pub use request::{Request, RequestKind};
pub use responder::{Call, Refusal, Replies, Responder};
