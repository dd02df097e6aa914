//! What a check says to a server, and how it judges what comes back.

use crate::verdict::{Stage, Verdict};

/// One check's side of a connection, without the connection: bytes in, bytes out, a verdict.
///
/// It has no socket and no clock, never blocks, and bounds what it buffers. The owner of the
/// connection calls, in this order:
///
/// 1. [`start`](Self::start) once the connection is established (with TLS, once the handshake is
///    done).
/// 2. [`received`](Self::received) for incoming data, in pieces of any size.
/// 3. [`closed`](Self::closed) if the server ends the connection.
///
/// Each call returns the next [`Step`]. After [`Step::Done`], make no more calls. Send the bytes
/// that a call appends to `out`, whatever the step.
///
/// **The verdict depends on the bytes alone**, not on how they are split; the tests check this for
/// every conversation.
pub trait Conversation {
    /// The connection is established.
    fn start(&mut self, out: &mut Vec<u8>) -> Step;

    /// These bytes came from the server.
    fn received(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step;

    /// The server has ended the connection.
    fn closed(&mut self, how: Closed) -> Step;

    /// Whether nothing more will be sent once what `out` has is on its way. If so, the owner ends its
    /// direction of the connection (shutdown(2)), unless that is impossible, as with TLS.
    fn is_done_sending(&self) -> bool {
        false
    }

    /// What the conversation is waiting for, in case the deadline passes.
    fn stage(&self) -> Stage {
        Stage::Reply
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Keep receiving.
    Continue,
    /// Close the connection, open a new one to the same address, and start again, as the server
    /// requested. The deadline stays the same.
    Reconnect,
    /// The check has ended with this verdict.
    Done(Verdict),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// In an orderly way: the server has nothing more to send.
    End,
    /// By a reset. Data that the server was about to send may be lost.
    Reset,
}
