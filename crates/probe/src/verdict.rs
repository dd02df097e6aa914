//! What a check finds out about a server, and why.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What one check found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server did everything that the check requires.
    Up,
    /// The server didn't.
    Down(Reason),
    /// The check says nothing about the server, because it failed on this side: no descriptor was
    /// left, say, or this process was stopped while it ran. Repeat it, don't count it.
    Inconclusive(Reason),
}

impl Verdict {
    /// A `Down` verdict of this kind, reached in `stage`.
    pub fn down(kind: ReasonKind, stage: Stage, text: impl Into<Box<str>>) -> Self {
        Self::Down(Reason::new(kind, stage, text))
    }

    /// Whether the server is up.
    pub const fn is_up(&self) -> bool {
        matches!(self, Self::Up)
    }

    /// Why the server isn't known to be up.
    pub const fn reason(&self) -> Option<&Reason> {
        match self {
            Self::Up => None,
            Self::Down(reason) | Self::Inconclusive(reason) => Some(reason),
        }
    }
}

impl fmt::Display for Verdict {
    /// `up`, `down: …` or `inconclusive: …`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up => f.write_str("up"),
            Self::Down(reason) => write!(f, "down: {reason}"),
            Self::Inconclusive(reason) => write!(f, "inconclusive: {reason}"),
        }
    }
}

/// Why a check didn't succeed: a [kind](Reason::kind) for programs, a text for people. Clones share
/// it, and a [`Verdict`] stays small: a program keeps several for each of its servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Arc<Inner>);

#[derive(Debug, PartialEq, Eq)]
struct Inner {
    kind: ReasonKind,
    stage: Stage,
    text: Box<str>,
}

impl Reason {
    /// A custom reason, for checks that are made elsewhere.
    pub fn new(kind: ReasonKind, stage: Stage, text: impl Into<Box<str>>) -> Self {
        Self(Arc::new(Inner { kind, stage, text: text.into() }))
    }

    /// What kind of reason it is.
    pub fn kind(&self) -> ReasonKind {
        self.0.kind
    }

    /// How far the check had come.
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The text alone: one line, without control characters from the server.
    pub fn text(&self) -> &str {
        &self.0.text
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

/// The kinds of reasons for which a server isn't up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ReasonKind {
    /// Nothing listens there: the connection was refused.
    Refused,
    /// There is no route to the server, or a router reported it unreachable.
    Unreachable,
    /// The deadline passed; the [stage](Reason::stage) says what the check was waiting for.
    Timeout,
    /// The server ended the connection before its reply was complete.
    Closed,
    /// The TLS handshake failed, or the certificate was not accepted.
    Tls,
    /// The reply doesn't follow the protocol.
    Protocol,
    /// The server replied with a status that doesn't count as success.
    Status(u16),
    /// The reply lacks the expected text.
    Mismatch,
    /// A command ended with this exit status, or by a signal (None).
    Command(Option<i32>),
    /// The server isn't checked, because its check is switched off.
    Off,
    /// This side lacked something: descriptors, memory, a port, a permission.
    Local,
    /// This process didn't run for a while, so it can't tell which side was late.
    Stalled,
}

/// How far a check had come. All stages share one deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Stage {
    /// Before there was a connection, or before the command started or the packet was sent.
    Connect,
    /// During the TLS handshake.
    Tls,
    /// While waiting for the reply or reading it.
    Reply,
}

impl Stage {
    /// The reason for `timeout` having passed in this stage.
    pub fn timed_out(self, timeout: Duration) -> Reason {
        let doing = match self {
            Self::Connect => "connecting",
            Self::Tls => "negotiating TLS",
            Self::Reply => "waiting for the reply",
        };
        Reason::new(ReasonKind::Timeout, self, format!("timed out after {timeout:?} {doing}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_reads_as_one_line() {
        assert_eq!(Verdict::Up.to_string(), "up");
        let timeout = Verdict::Down(Stage::Reply.timed_out(Duration::from_millis(2500)));
        assert_eq!(timeout.to_string(), "down: timed out after 2.5s waiting for the reply");
        let local = Reason::new(ReasonKind::Local, Stage::Connect, "no descriptor is left");
        let verdict = Verdict::Inconclusive(local);
        assert_eq!(verdict.to_string(), "inconclusive: no descriptor is left");
        assert_eq!(verdict.reason().map(Reason::kind), Some(ReasonKind::Local));
    }
}
