//! The control socket of `vipd`: what it tells, and what it can be asked to do.
//!
//! CONTROL.md describes the protocol: lines of JSON on a Unix stream socket. The parts:
//!
//! - [`Request`] and [`Tagged`]: lines from and to values, without I/O;
//! - [`Session`]: the daemon's end of one connection, without I/O;
//! - [`Client`], blocking, for commands.

mod client;
mod reply;
mod request;
mod session;

pub use client::Client;
pub use daemon_kit::control::{ClientError, ErrorKind, Refusal};
pub use reply::{Decided, Reloaded, Reply};
pub use request::{Request, Tagged};
pub use session::{Limits, Session};

/// Where the daemon listens.
pub const SOCKET: &str = "/run/director/vipd.sock";

/// The group whose members may ask for the status.
pub const GROUP: &str = "director";
