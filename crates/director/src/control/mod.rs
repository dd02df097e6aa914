//! The control socket of an instance: what it tells, and what it can be asked to do.
//!
//! CONTROL.md describes the protocol: lines of JSON on a Unix stream socket. The parts:
//!
//! - [`Decoder`], [`Request`] and [`parse_reply`]: lines from and to values, without I/O;
//! - [`Server`] on tokio, for the program that implements [`Handler`], and [`bind`], which makes the
//!   socket file;
//! - [`Client`], blocking, for commands.

mod client;
mod limits;
mod reply;
mod request;
mod server;

pub use client::{Client, Subscription};
pub use daemon_kit::control::reply::parse as parse_reply;
pub use daemon_kit::control::{
    BindError, ClientError, ErrorKind, LINE_MAX, Listening, Malformed, Refusal, SocketFile,
    VERSION, bind,
};
pub use limits::Limits;
pub use reply::{PoolState, Reloaded};
pub use request::{Decoder, Order, RealServer, Request, Tagged};
pub use server::{Handler, Server, Stopped};
