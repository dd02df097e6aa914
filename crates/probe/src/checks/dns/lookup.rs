//! Queries, and the verdict on what comes back.

use super::Dns;
use super::message::{self, Type};
use crate::conversation::{Closed, Conversation, Step};
use crate::text::printable;
use crate::verdict::{ReasonKind, Stage, Verdict};

/// The names of reply codes (RFC 1035, section 4.1.1).
const CODES: [&str; 6] = [
    "success",
    "malformed query (FORMERR)",
    "server failure (SERVFAIL)",
    "no such name (NXDOMAIN)",
    "not implemented (NOTIMP)",
    "refused (REFUSED)",
];

/// How many addresses or names a reason quotes.
const QUOTED: usize = 4;

/// A look-up in progress.
///
/// Over TCP it is a [`Conversation`]. Over UDP, send a datagram with the [`query`](Self::query), once
/// more if there is no reply for a while, and pass each datagram that comes to
/// [`heard`](Self::heard).
#[derive(Debug)]
pub struct Lookup<'a> {
    dns: &'a Dns,
    /// That of the next query.
    id: u16,
    /// The types that haven't been asked for yet; the first is that of the next query.
    types: &'a [Type],
    /// All addresses or names that didn't match.
    found: Vec<String>,
    /// Over TCP: what has come of the next message.
    stream: Vec<u8>,
    /// Over TCP: this connection has had a reply.
    replied: bool,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupStep {
    /// Nothing: it isn't the reply. Keep receiving.
    Nothing,
    /// There is another query to send.
    Next,
    /// The reply doesn't fit into a datagram: hold this conversation over TCP.
    Truncated,
    /// The check has ended with this verdict.
    Done(Verdict),
}

impl<'a> Lookup<'a> {
    pub(super) fn new(dns: &'a Dns, id: u16) -> Self {
        Self { dns, id, types: dns.types, found: Vec::new(), stream: Vec::new(), replied: false }
    }

    /// The query to send now, without the length that TCP puts in front.
    pub fn query(&self) -> Vec<u8> {
        let mut query = Vec::new();
        if let Some(kind) = self.types.first() {
            message::write_query(self.id, &self.dns.question, *kind, &mut query);
        }
        query
    }

    /// A datagram has come from the server.
    pub fn heard(&mut self, datagram: &[u8]) -> LookupStep {
        self.judge(datagram, true)
    }

    fn judge(&mut self, message: &[u8], may_be_truncated: bool) -> LookupStep {
        let Some((kind, later)) = self.types.split_first() else { return LookupStep::Nothing };
        let reply = match message::read_reply(message, self.id, &self.dns.question, *kind) {
            None => return LookupStep::Nothing,
            Some(Err(what)) => return down(ReasonKind::Protocol, what),
            Some(Ok(reply)) => reply,
        };
        if reply.code != 0 {
            let kind = ReasonKind::Status(reply.code.into());
            let name = CODES.get(usize::from(reply.code));
            let text = name.map_or_else(|| format!("code {}", reply.code), ToString::to_string);
            return down(kind, text);
        }
        let pattern = self.dns.receive.as_ref();
        if reply.found.iter().any(|it| pattern.is_none_or(|its| its.is_match(it.as_bytes()))) {
            return LookupStep::Done(Verdict::Up);
        }
        if reply.truncated && may_be_truncated {
            return LookupStep::Truncated;
        }
        self.found.extend(reply.found.into_iter().take(QUOTED));
        self.types = later;
        self.id = self.id.wrapping_add(1);
        if later.is_empty() { self.missing() } else { LookupStep::Next }
    }

    /// No record matches.
    fn missing(&self) -> LookupStep {
        let subject = printable(self.dns.subject.as_bytes());
        let pattern = self.dns.receive.as_ref().filter(|_| !self.found.is_empty());
        let text = match pattern {
            None => format!("there is no {} of {subject}", self.dns.wanted()),
            Some(pattern) => {
                let pattern = printable(pattern.as_str().as_bytes());
                let found = printable(self.found.join(", ").as_bytes());
                format!("no match for `{pattern}` in {found}")
            }
        };
        down(ReasonKind::Mismatch, text)
    }
}

impl Dns {
    fn wanted(&self) -> &'static str {
        if self.types == [Type::PTR] { "name" } else { "address" }
    }
}

impl Conversation for Lookup<'_> {
    fn start(&mut self, out: &mut Vec<u8>) -> Step {
        self.stream.clear();
        self.replied = false;
        self.write(out);
        Step::Continue
    }

    fn received(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Step {
        self.stream.extend_from_slice(bytes);
        while let Some((length, rest)) = self.stream.split_first_chunk() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some(message) = rest.get(..length) else { break };
            let message = message.to_vec();
            self.stream.drain(..length + 2);
            match self.judge(&message, false) {
                LookupStep::Done(verdict) => return Step::Done(verdict),
                LookupStep::Next => {
                    self.replied = true;
                    self.write(out);
                }
                LookupStep::Nothing | LookupStep::Truncated => {}
            }
        }
        Step::Continue
    }

    fn closed(&mut self, how: Closed) -> Step {
        // Some servers take one query on a connection.
        if self.replied && self.stream.is_empty() {
            return Step::Reconnect;
        }
        let ended = match how {
            Closed::End => "ended",
            Closed::Reset => "reset",
        };
        let text = format!("connection {ended} before the end of the reply");
        Step::Done(Verdict::down(ReasonKind::Closed, Stage::Reply, text))
    }
}

impl Lookup<'_> {
    /// Appends the query as TCP wants it: after its length (RFC 1035, section 4.2.2).
    fn write(&self, out: &mut Vec<u8>) {
        let query = self.query();
        // A query has a header, a name of at most 255 bytes, a type and a class.
        out.extend_from_slice(&(query.len() as u16).to_be_bytes());
        out.extend_from_slice(&query);
    }
}

fn down(kind: ReasonKind, text: impl Into<Box<str>>) -> LookupStep {
    LookupStep::Done(Verdict::down(kind, Stage::Reply, text))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
