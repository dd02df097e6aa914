//! A request and the verdict on its reply.

use std::net::SocketAddr;

use super::body::{self, Progress};
use super::head::{self, Framing, Head};
use super::request::Place;
use super::{Http, Method};
use crate::conversation::{Closed, Conversation, Step};
use crate::text::printable;
use crate::verdict::{ReasonKind, Stage, Verdict};

/// The conversation of an [`Http`] check.
#[derive(Debug)]
pub struct Exchange<'a> {
    http: &'a Http,
    tls: bool,
    place: Place,
    /// How many redirects may still be followed.
    redirects: u8,
    head: head::Reader,
    /// Set once the head is complete, if the body matters.
    body: Option<body::Reader>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(http: &'a Http, target: SocketAddr, tls: bool) -> Self {
        Self {
            http,
            tls,
            place: Place::first(http, target, tls),
            redirects: http.redirects,
            head: head::Reader::default(),
            body: None,
        }
    }

    /// Decides what follows from a complete final head.
    fn judge_head(&mut self, head: &Head) -> Step {
        let Head { status, phrase, location, framing } = head;
        let redirect = matches!(status, 301 | 302 | 303 | 307 | 308);
        if let (true, Some(location)) = (redirect && self.http.redirects > 0, location) {
            return self.redirect(*status, location);
        }
        if !self.http.statuses.contains(status) {
            let mut text = format!("status {status}");
            if !phrase.is_empty() {
                text.extend([" ", phrase]);
            }
            if let (true, Some(location)) = (redirect, location) {
                text.extend([", which redirects to ", &printable(location.as_bytes())]);
            }
            return down(ReasonKind::Status(*status), text);
        }
        if self.http.receive.is_none() {
            return Step::Done(Verdict::Up);
        }
        let bodyless = self.http.method == Method::Head || matches!(status, 204 | 304);
        let framing = if bodyless { Framing::Length(0) } else { *framing };
        let body = body::Reader::new(framing, self.http.body_limit);
        let progress = body.progress();
        self.body = Some(body);
        self.judge_body(progress)
    }

    fn redirect(&mut self, status: u16, location: &str) -> Step {
        let kind = ReasonKind::Status(status);
        let Some(left) = self.redirects.checked_sub(1) else {
            let count = self.http.redirects;
            let text = format!(
                "redirected more than {count} times, at last to {}",
                printable(location.as_bytes())
            );
            return down(kind, text);
        };
        match self.place.redirected(location.trim(), self.tls) {
            Ok(place) => {
                self.place = place;
                self.redirects = left;
                self.head = head::Reader::default();
                Step::Reconnect
            }
            Err(_) => {
                let text =
                    format!("redirected to another scheme: {}", printable(location.as_bytes()));
                down(kind, text)
            }
        }
    }

    fn judge_body(&self, progress: Progress) -> Step {
        let (Some(body), Some(pattern)) = (&self.body, &self.http.receive) else {
            return Step::Continue;
        };
        let seen = match progress {
            Progress::More => return Step::Continue,
            _ if pattern.is_match(body.bytes()) => return Step::Done(Verdict::Up),
            Progress::Complete => format!("the page ({} bytes)", body.bytes().len()),
            Progress::Full => format!("the page's first {} bytes", body.bytes().len()),
        };
        let pattern = printable(pattern.as_str().as_bytes());
        down(ReasonKind::Mismatch, format!("no match for `{pattern}` in {seen}"))
    }
}

impl Conversation for Exchange<'_> {
    fn start(&mut self, out: &mut Vec<u8>) -> Step {
        self.place.write(self.http.method, out);
        Step::Continue
    }

    fn received(&mut self, mut bytes: &[u8], _out: &mut Vec<u8>) -> Step {
        while !bytes.is_empty() {
            if let Some(body) = &mut self.body {
                return match body.read(bytes) {
                    Ok(progress) => self.judge_body(progress),
                    Err(what) => down(ReasonKind::Protocol, what),
                };
            }
            let (taken, head) = self.head.read(bytes);
            bytes = &bytes[taken..];
            let step = match head {
                Err(what) => down(ReasonKind::Protocol, what),
                Ok(None) => Step::Continue,
                // Interim. But 101 switches to a protocol that wasn't requested.
                Ok(Some(head)) if matches!(head.status, 100 | 102..=199) => Step::Continue,
                Ok(Some(head)) => self.judge_head(&head),
            };
            if step != Step::Continue {
                return step;
            }
        }
        Step::Continue
    }

    fn closed(&mut self, how: Closed) -> Step {
        let ended = match how {
            Closed::End => "ended",
            Closed::Reset => "reset",
        };
        let Some(body) = &mut self.body else {
            return down(
                ReasonKind::Closed,
                format!("connection {ended} before the end of the headers"),
            );
        };
        if how == Closed::End && body.end() {
            return self.judge_body(Progress::Complete);
        }
        down(ReasonKind::Closed, format!("connection {ended} before the end of the page"))
    }
}

fn down(kind: ReasonKind, text: impl Into<Box<str>>) -> Step {
    Step::Done(Verdict::down(kind, Stage::Reply, text))
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
