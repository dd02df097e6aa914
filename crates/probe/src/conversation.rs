//! What a check says to a server, and how it judges what comes back.

use crate::verdict::{Stage, Verdict};

/// One check's side of a connection, without the connection: bytes in, bytes out, a verdict.
///
/// It has no socket and no clock, never waits, and has a bound on what it keeps. Whoever has the
/// connection calls, in this order:
///
/// 1. [`start`](Self::start) once there is a connection (with TLS, once that is agreed on).
/// 2. [`received`](Self::received) for whatever comes, in pieces of any size.
/// 3. [`closed`](Self::closed) if the server ends the connection.
///
/// Each call returns the next [`Step`], until it is [`Step::Done`], after which nothing is called any
/// more. Bytes that a call appends to `out` are to be sent, whatever the step.
///
/// **The verdict depends on the bytes alone**, not on how they are cut into pieces; the tests hold
/// every conversation to that.
pub trait Conversation {
    /// There is a connection.
    fn start(&mut self, out: &mut Vec<u8>) -> Step;

    /// These bytes came from the server.
    fn received(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step;

    /// The server has ended the connection.
    fn closed(&mut self, how: Closed) -> Step;

    /// What is being waited for, in case it doesn't come in time.
    fn stage(&self) -> Stage {
        Stage::Reply
    }
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Go on receiving.
    Continue,
    /// Close the connection, make another one to the same address, and start again: the server asked
    /// for that. The deadline stays.
    Reconnect,
    /// That's it.
    Done(Verdict),
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Closed {
    /// In an orderly way: the server has nothing more to send.
    End,
    /// By a reset. What it was about to send may be lost.
    Reset,
}
