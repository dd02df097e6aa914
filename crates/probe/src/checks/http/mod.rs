//! HTTP/1.1 (RFC 9110, RFC 9112): a page, its status and its text.

mod body;
mod exchange;
mod head;
mod request;

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use thiserror::Error;

use crate::pattern::Pattern;

pub use exchange::Exchange;

/// The most bytes of a body that are kept and looked through, if nothing else is said.
pub const BODY_LIMIT: usize = 256 * 1024;

/// A check that asks for a page.
///
/// The server is up if the status is a good one, and if the body has what is looked for. Without
/// a [`receive`](Self::receive) the body isn't waited for.
///
/// ```
/// use std::net::SocketAddr;
/// use probe::{Conversation, Http, Pattern, Step, Verdict};
///
/// let http = Http::new("/check.txt").receive(Pattern::perl("webserverisworking").unwrap());
/// let mut exchange = http.exchange("10.10.10.102:80".parse().unwrap(), false);
/// let mut out = Vec::new();
/// assert_eq!(exchange.start(&mut out), Step::Continue);
/// assert!(out.starts_with(b"GET /check.txt HTTP/1.1\r\nHost: 10.10.10.102\r\n"));
///
/// let reply = b"HTTP/1.1 200 OK\r\nContent-Length: 19\r\n\r\nwebserverisworking\n";
/// assert_eq!(exchange.received(reply, &mut out), Step::Done(Verdict::Up));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Http {
    method: Method,
    /// As it is sent: percent-encoded where it has to be.
    path: String,
    host: Option<String>,
    receive: Option<Pattern>,
    statuses: RangeInclusive<u16>,
    redirects: u8,
    body_limit: usize,
}

/// What is done with the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// It is asked for whole.
    #[default]
    Get,
    /// Only its headers are.
    Head,
}

/// Why a name can't be sent as `Host`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} can't be a Host header: it is empty, or has a blank or a control character in it")]
pub struct InvalidHost(String);

impl Http {
    /// A `GET` of `path`, for which any status from 200 to 299 is a good one.
    ///
    /// Characters that a request can't have are percent-encoded, a fragment (`#…`) is left out, and
    /// a `/` is put in front if there is none.
    pub fn new(path: &str) -> Self {
        Self {
            method: Method::Get,
            path: request::encode_path(path),
            host: None,
            receive: None,
            statuses: 200..=299,
            redirects: 0,
            body_limit: BODY_LIMIT,
        }
    }

    /// Asks by another method. A reply to `HEAD` has no body, so [`receive`](Self::receive) is looked
    /// for in nothing.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// The virtual host that is asked for, with a port if it isn't the usual one. Without it, it is
    /// the server's address.
    ///
    /// # Errors
    ///
    /// If it's empty or has a blank or a control character in it.
    pub fn host(mut self, host: &str) -> Result<Self, InvalidHost> {
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic() || byte >= 0x80) {
            return Err(InvalidHost(host.to_owned()));
        }
        self.host = Some(host.to_owned());
        Ok(self)
    }

    /// What the body has to have in it.
    #[must_use]
    pub fn receive(mut self, pattern: Pattern) -> Self {
        self.receive = Some(pattern);
        self
    }

    /// The statuses that are good.
    #[must_use]
    pub fn statuses(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.statuses = statuses;
        self
    }

    /// How many redirects are followed; none by default. They are followed on the server itself,
    /// also if another host is named: it's this server that is checked. One to another scheme isn't
    /// followed.
    #[must_use]
    pub fn redirects(mut self, count: u8) -> Self {
        self.redirects = count;
        self
    }

    /// How many bytes of the body are looked through, at most; 256 KiB by default.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Begins a check of the server at `target`, through TLS or not.
    pub fn exchange(&self, target: SocketAddr, tls: bool) -> Exchange<'_> {
        Exchange::new(self, target, tls)
    }
}
