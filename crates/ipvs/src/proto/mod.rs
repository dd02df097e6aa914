//! The protocol without input and output: what to send, and what an answer means.
//!
//! [`Engine`] takes [`Request`]s, says which datagram to send, is fed the datagrams that come
//! back, and tells how each request ended. It never reads a clock and never touches a socket, so
//! every order of events can be tried on it; [`Client`](crate::Client) adds both.

mod engine;
mod request;

pub use engine::{Engine, Event, Failure, PushError, RequestId};
pub use request::{Request, Shape};
