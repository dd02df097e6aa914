//! A text is sent, and a line of what comes back is looked for.

use super::http::BODY_LIMIT;
use crate::conversation::{Closed, Conversation, Step};
use crate::pattern::Pattern;
use crate::text::printable;
use crate::verdict::{ReasonKind, Stage, Verdict};

/// A check for protocols that nothing else here speaks: send a text, and look for a line.
///
/// The server is up if a line of its reply matches, each line with the newline at its end. Without a
/// [`receive`](Self::receive), any line will do. After the text, this side of the connection is
/// closed (shutdown(2)), so the server sees that nothing more will come. Of a reply, the first
/// 256 KiB are read.
///
/// ```
/// use probe::{Conversation, Pattern, SimpleTcp, Step, Verdict};
///
/// let ping = SimpleTcp::new("PING\n").receive(Pattern::perl("^[+]PONG").unwrap());
/// let mut exchange = ping.exchange();
/// let mut out = Vec::new();
/// assert_eq!(exchange.start(&mut out), Step::Continue);
/// assert_eq!(out, b"PING\n");
/// assert_eq!(exchange.received(b"+PONG\r\n", &mut out), Step::Done(Verdict::Up));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SimpleTcp {
    text: Vec<u8>,
    receive: Option<Pattern>,
}

impl SimpleTcp {
    /// Sends this text; nothing if it's empty.
    pub fn new(text: impl Into<Vec<u8>>) -> Self {
        Self { text: text.into(), receive: None }
    }

    /// Sets what a line must match.
    #[must_use]
    pub fn receive(mut self, pattern: Pattern) -> Self {
        self.receive = Some(pattern);
        self
    }

    /// Begins a check.
    pub fn exchange(&self) -> SimpleExchange<'_> {
        SimpleExchange { check: self, line: Vec::new(), lines: 0, read: 0 }
    }

    /// The maximum number of bytes that a check holds at a time: the text, and a line, in a vector
    /// that grows.
    #[cfg(feature = "run")]
    pub(crate) fn memory(&self) -> usize {
        2 * (self.text.len() + BODY_LIMIT)
    }
}

/// The conversation of a [`SimpleTcp`] check.
#[derive(Debug)]
pub struct SimpleExchange<'a> {
    check: &'a SimpleTcp,
    /// What has come of the current line.
    line: Vec<u8>,
    /// How many lines before it didn't match.
    lines: usize,
    /// How many bytes have come.
    read: usize,
}

impl SimpleExchange<'_> {
    /// Judges the current line.
    fn matches(&mut self) -> bool {
        let found = self.check.receive.as_ref().is_none_or(|it| it.is_match(&self.line));
        self.line.clear();
        self.lines += 1;
        found
    }

    /// No line matched in what was read.
    fn missing(&self, read: &str) -> Step {
        let what = match &self.check.receive {
            Some(pattern) => format!("no match for `{}`", printable(pattern.as_str().as_bytes())),
            None => "no line".to_owned(),
        };
        down(ReasonKind::Mismatch, format!("{what} in {read}"))
    }
}

impl Conversation for SimpleExchange<'_> {
    fn start(&mut self, out: &mut Vec<u8>) -> Step {
        out.extend_from_slice(&self.check.text);
        Step::Continue
    }

    fn received(&mut self, bytes: &[u8], _out: &mut Vec<u8>) -> Step {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let piece = &piece[..piece.len().min(BODY_LIMIT - self.read)];
            self.read += piece.len();
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") && self.matches() {
                return Step::Done(Verdict::Up);
            }
            if self.read == BODY_LIMIT {
                if !self.line.is_empty() && self.matches() {
                    return Step::Done(Verdict::Up);
                }
                return self.missing(&format!("the reply's first {BODY_LIMIT} bytes"));
            }
        }
        Step::Continue
    }

    fn closed(&mut self, how: Closed) -> Step {
        if how == Closed::Reset {
            return down(ReasonKind::Closed, "connection reset before the line that was wanted");
        }
        if self.read == 0 {
            return down(ReasonKind::Closed, "connection ended without a reply");
        }
        // The last line may lack its newline.
        if !self.line.is_empty() && self.matches() {
            return Step::Done(Verdict::Up);
        }
        let lines = if self.lines == 1 { "line" } else { "lines" };
        self.missing(&format!("a reply of {} {lines}", self.lines))
    }

    fn is_done_sending(&self) -> bool {
        true
    }
}

fn down(kind: ReasonKind, text: impl Into<Box<str>>) -> Step {
    Step::Done(Verdict::down(kind, Stage::Reply, text))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(receive: &str) -> SimpleTcp {
        SimpleTcp::new("x").receive(Pattern::perl(receive).unwrap())
    }

    /// The verdict on a reply in these pieces, after which the connection ends.
    fn verdict(check: &SimpleTcp, pieces: &[&[u8]], how: Closed) -> Verdict {
        let mut exchange = check.exchange();
        let mut out = Vec::new();
        exchange.start(&mut out);
        let mut steps = pieces.iter().map(|piece| exchange.received(piece, &mut out));
        match steps.find(|it| *it != Step::Continue).unwrap_or_else(|| exchange.closed(how)) {
            Step::Done(verdict) => verdict,
            step => panic!("{step:?}"),
        }
    }

    #[test]
    fn each_line_is_matched_by_itself() {
        let of = |receive: &str, reply: &[u8]| {
            verdict(&check(receive), &[reply], Closed::End).to_string()
        };
        assert_eq!(of("^b$", b"a\nb\nc\n"), "up");
        assert_eq!(of("^c$", b"a\nb\nc"), "up", "the last line may lack its newline");
        assert_eq!(of("a.b", b"a\nb\n"), "down: no match for `a.b` in a reply of 2 lines");
        assert_eq!(of("a\\nb", b"a\nb\n"), "down: no match for `a\\\\nb` in a reply of 2 lines");
        assert_eq!(of("^$", b"a\n\n"), "up", "a line may be empty");
        assert_eq!(of("^$", b"a\n"), "down: no match for `^$` in a reply of 1 line");
    }

    #[test]
    fn without_a_pattern_any_line_will_do_but_silence_will_not() {
        let any = SimpleTcp::new("");
        assert!(verdict(&any, &[b"x"], Closed::End).is_up());
        assert!(verdict(&any, &[b"\n"], Closed::Reset).is_up());
        let silent = verdict(&any, &[], Closed::End);
        assert_eq!(silent.to_string(), "down: connection ended without a reply");
        // Half a line, and a reset: there may have been more.
        assert!(!verdict(&any, &[b"x"], Closed::Reset).is_up());
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let long = vec![b'x'; BODY_LIMIT];
        let check = check("y");
        let mut exchange = check.exchange();
        let Step::Done(verdict) = exchange.received(&[&long[..], b"y"].concat(), &mut Vec::new())
        else {
            panic!("it goes on");
        };
        assert_eq!(verdict.to_string(), "down: no match for `y` in the reply's first 262144 bytes");
    }

    proptest! {
        #[test]
        fn any_cut_of_the_stream_gives_the_same_verdict(
            reply in "[ab\n]{0,12}", at in 0..12_usize, receive in "[ab^$]{1,3}", end in any::<bool>(),
        ) {
            let (reply, how) = (reply.as_bytes(), if end { Closed::End } else { Closed::Reset });
            let Ok(pattern) = Pattern::perl(&receive) else { return Ok(()) };
            let check = SimpleTcp::new("").receive(pattern);
            let (left, right) = reply.split_at(at.min(reply.len()));
            prop_assert_eq!(verdict(&check, &[reply], how), verdict(&check, &[left, right], how));
        }
    }
}
