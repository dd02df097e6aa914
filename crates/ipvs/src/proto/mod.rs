//! The protocol without input and output: what to send, and what an answer means.
//!
//! [`Engine`] takes [`Request`]s, says which datagram to send, is fed the datagrams that come
//! back, and tells how each request ended. It never reads a clock and never touches a socket, so
//! every order of events can be tried on it; [`Client`](crate::Client) adds both.
//!
//! [`Responder`] is the other end, for whatever takes the kernel's place;
//! [`Served`](crate::Served) makes a transport of it and of one function.

pub(crate) mod engine;
pub(crate) mod request;
pub(crate) mod responder;

pub use engine::{Engine, Event, Failure, PushError, RequestId};
pub use request::{Request, RequestKind};
pub use responder::{Call, Refusal, Replies, Responder};
