//! The form of a control socket: lines of JSON on a Unix stream socket, each with the version of the
//! protocol and the client's number.
//!
//! - [`Decoder`], [`Call`] and [`reply`]: lines from and to values, without I/O;
//! - [`bind`] makes the socket file;
//! - [`Connection`]: a client, blocking, for commands.

pub mod reply;

mod client;
mod listen;
mod request;

pub use client::{ClientError, Connection, Deadline, connect};
pub use listen::{BindError, Listening, SocketFile, bind};
pub use reply::{ErrorKind, Refusal};
pub use request::{Call, Decoder, LINE_MAX, Malformed, VERSION, members};
