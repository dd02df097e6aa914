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

/// The default maximum size of a body that is kept and searched, in bytes.
pub const BODY_LIMIT: usize = 256 * 1024;

/// A check that requests a page.
///
/// The server is up if the status is a good one, and the body matches. Without a
/// [`receive`](Self::receive), the check doesn't wait for the body.
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
    /// The path as sent: percent-encoded where necessary.
    path: String,
    /// The host and port that a proxy is to ask.
    origin: Option<String>,
    host: Option<String>,
    receive: Option<Pattern>,
    statuses: RangeInclusive<u16>,
    redirects: u8,
    body_limit: usize,
}

/// How to request the page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Method {
    /// The whole page.
    #[default]
    Get,
    /// Only the headers.
    Head,
}

/// Why a name can't be sent as `Host`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} can't be a Host header: it is empty, or has a blank or a control character in it")]
pub struct InvalidHost(String);

/// Why an address can't be requested from a proxy.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} can't be requested from a proxy: write http://HOST/PATH or http://HOST:PORT/PATH")]
pub struct InvalidUrl(String);

impl Http {
    /// What is requested: the path, or the whole address for a proxy.
    pub fn requested(&self) -> String {
        match &self.origin {
            Some(origin) => format!(" http://{origin}{}", self.path),
            None => self.path.clone(),
        }
    }

    /// A `GET` of `path`. Any status from 200 to 299 is a good one.
    ///
    /// Characters that a request can't contain are percent-encoded, a fragment (`#…`) is dropped,
    /// and a `/` is added in front if there is none.
    pub fn new(path: &str) -> Self {
        Self {
            method: Method::Get,
            path: request::encode_path(path),
            origin: None,
            host: None,
            receive: None,
            statuses: 200..=299,
            redirects: 0,
            body_limit: BODY_LIMIT,
        }
    }

    /// A `GET` of `url` through the server, which is a proxy (RFC 9112, section 3.2.2). Its reply is
    /// judged like any other, so it has to reach the host that the address names.
    ///
    /// ```
    /// use probe::{Conversation, Http};
    ///
    /// let http = Http::proxied("http://www.example/check.txt").unwrap();
    /// let mut out = Vec::new();
    /// http.exchange("10.10.10.102:3128".parse().unwrap(), false).start(&mut out);
    /// assert!(out.starts_with(b"GET http://www.example/check.txt HTTP/1.1\r\nHost: www.example\r\n"));
    /// ```
    ///
    /// # Errors
    ///
    /// If it isn't an `http` address, or one with a user's name. An `https` address can't be
    /// requested: a proxy would only make a connection, and know nothing of the page.
    pub fn proxied(url: &str) -> Result<Self, InvalidUrl> {
        let (origin, path) = request::split_url(url).ok_or_else(|| InvalidUrl(url.to_owned()))?;
        Ok(Self { origin: Some(origin.to_owned()), ..Self::new(path) })
    }

    /// Sets the method. A reply to `HEAD` has no body, so [`receive`](Self::receive) searches an
    /// empty one.
    #[must_use]
    pub fn method(mut self, method: Method) -> Self {
        self.method = method;
        self
    }

    /// Sets the virtual host to request, with a port if it isn't the default one. Without it, the
    /// server's address is sent.
    ///
    /// # Errors
    ///
    /// If it's empty or contains a blank or a control character.
    pub fn host(mut self, host: &str) -> Result<Self, InvalidHost> {
        if host.is_empty() || !host.bytes().all(|byte| byte.is_ascii_graphic() || byte >= 0x80) {
            return Err(InvalidHost(host.to_owned()));
        }
        self.host = Some(host.to_owned());
        Ok(self)
    }

    /// Sets what the body must match.
    #[must_use]
    pub fn receive(mut self, pattern: Pattern) -> Self {
        self.receive = Some(pattern);
        self
    }

    /// Sets the statuses that count as good.
    #[must_use]
    pub fn statuses(mut self, statuses: RangeInclusive<u16>) -> Self {
        self.statuses = statuses;
        self
    }

    /// How many redirects to follow; none by default. Redirects are followed on the server itself,
    /// even if they name another host, because this server is the one being checked. A redirect to
    /// another scheme isn't followed.
    #[must_use]
    pub fn redirects(mut self, count: u8) -> Self {
        self.redirects = count;
        self
    }

    /// The maximum number of bytes of the body to search; 256 KiB by default.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// The maximum number of bytes that a check holds at a time.
    #[cfg(feature = "run")]
    pub(crate) fn memory(&self) -> usize {
        // A redirect may replace the host and the path by what fits into the headers, and encoding
        // makes three bytes of one.
        let names = [&self.host, &self.origin].into_iter().flatten().map(String::len);
        let place = self.path.len() + names.sum::<usize>().max(64);
        let redirected = if self.redirects > 0 { 4 * head::HEAD_LIMIT } else { 0 };
        let body = if self.receive.is_some() { self.body_limit } else { 0 };
        let head = head::HEAD_LIMIT + place + redirected;
        // A vector that grows has room for twice as much as it holds. The place is there as itself
        // and in the request.
        head.saturating_add(place + redirected).saturating_add(body).saturating_mul(2)
    }

    /// Begins a check of the server at `target`, over TLS or not.
    pub fn exchange(&self, target: SocketAddr, tls: bool) -> Exchange<'_> {
        Exchange::new(self, target, tls)
    }
}
