//! The control socket of an instance: what it tells, and what it can be asked to do.
//!
//! CONTROL.md describes the protocol: lines of JSON on a Unix stream socket. The parts:
//!
//! - [`Decoder`], [`Request`] and [`reply`]: lines from and to values, without I/O;
//! - [`Server`] on tokio, for the program that implements [`Handler`], and [`bind`], which makes the
//!   socket file;
//! - [`Client`], blocking, for commands.

pub mod reply;

mod client;
mod listen;
mod request;
mod server;

pub use client::{Client, ClientError, Subscription};
pub use listen::{BindError, Listening, SocketFile, bind};
pub use reply::{ErrorKind, PoolState, Refusal, Reloaded};
pub use request::{Decoder, LINE_MAX, Malformed, Order, RealServer, Request, Tagged, VERSION};
pub use server::{Handler, Limits, Server, Stopped};
