//! The status line and the headers.

use httparse::{EMPTY_HEADER, ParserConfig, Response, Status};

/// The maximum size of status lines and headers in bytes, including those of interim responses.
pub(super) const HEAD_LIMIT: usize = 16 * 1024;
/// The maximum number of headers.
const MOST_HEADERS: usize = 100;
/// The start of every reply.
const START: &[u8] = b"HTTP/1.";

/// Collects a head until it's complete.
#[derive(Debug, Default)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    /// How many bytes interim responses have used.
    before: usize,
}

/// The contents of a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// The reason phrase, as text.
    pub(super) phrase: String,
    pub(super) location: Option<String>,
    pub(super) framing: Framing,
}

/// Where the body ends (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Length(u64),
    Chunked,
    Close,
}

/// Why a head or a body isn't valid HTTP.
pub(super) type Malformed = &'static str;

impl Reader {
    /// Reads bytes up to the end of the head and no further, and returns how many it used. Returns
    /// the head too, once it's complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Result<Option<Head>, Malformed>) {
        let start = self.bytes.len();
        for (index, byte) in bytes.iter().enumerate() {
            self.bytes.push(*byte);
            if self.bytes.len() <= START.len() && !START.starts_with(&self.bytes) {
                return (index + 1, Err("the reply isn't HTTP/1.0 or HTTP/1.1"));
            }
            if self.before + self.bytes.len() > HEAD_LIMIT {
                return (index + 1, Err("the reply's headers take more than 16 KiB"));
            }
            if *byte == b'\n' && self.ends() {
                let head = self.parse();
                self.before += self.bytes.len();
                self.bytes.clear();
                return (index + 1, head.map(Some));
            }
        }
        (self.bytes.len() - start, Ok(None))
    }

    /// Whether the last line was empty.
    fn ends(&self) -> bool {
        self.bytes.ends_with(b"\n\r\n") || self.bytes.ends_with(b"\n\n")
    }

    fn parse(&self) -> Result<Head, Malformed> {
        let mut headers = [EMPTY_HEADER; MOST_HEADERS];
        let mut response = Response::new(&mut headers);
        let mut config = ParserConfig::default();
        // Browsers and libwww accept this as well.
        config
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .ignore_invalid_headers_in_responses(true);
        match config.parse_response(&mut response, &self.bytes) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Err("the reply's headers are malformed"),
            Err(httparse::Error::TooManyHeaders) => {
                return Err("the reply has more than 100 headers");
            }
            Err(httparse::Error::Status) => return Err("the reply has no status"),
            Err(_) => return Err("the reply's headers are malformed"),
        }
        let values = |name: &'static str| {
            response
                .headers
                .iter()
                .filter(move |it| it.name.eq_ignore_ascii_case(name))
                .map(|it| it.value)
        };
        let framing = framing(values("transfer-encoding"), values("content-length"))?;
        let location = values("location").next();
        Ok(Head {
            status: response.code.unwrap_or_default(),
            phrase: crate::text::printable(response.reason.unwrap_or_default().as_bytes()),
            location: location.map(|value| String::from_utf8_lossy(value).into_owned()),
            framing,
        })
    }
}

fn framing<'a>(
    encodings: impl Iterator<Item = &'a [u8]>,
    lengths: impl Iterator<Item = &'a [u8]>,
) -> Result<Framing, Malformed> {
    let comma = |byte: &u8| *byte == b',';
    if let Some(last) = encodings.flat_map(|value| value.split(comma)).last() {
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return Ok(if chunked { Framing::Chunked } else { Framing::Close });
    }
    let mut framing = Framing::Close;
    for value in lengths.flat_map(|value| value.split(comma)) {
        let text = std::str::from_utf8(value.trim_ascii()).ok();
        let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let length = digits.and_then(|digits| digits.parse().ok());
        let length = Framing::Length(length.ok_or("the reply's Content-Length isn't a number")?);
        if framing != Framing::Close && framing != length {
            return Err("the reply has two lengths");
        }
        framing = length;
    }
    Ok(framing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head>, Malformed> {
        let (taken, head) = Reader::default().read(text.as_bytes());
        if matches!(head, Ok(Some(_))) {
            assert_eq!(taken, text.len());
        }
        head
    }

    fn framed(headers: &str) -> Result<Framing, Malformed> {
        read(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n")).map(|head| head.unwrap().framing)
    }

    #[test]
    fn the_body_ends_where_rfc_9112_says() {
        assert_eq!(framed(""), Ok(Framing::Close));
        assert_eq!(framed("Content-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framed("content-length : 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framed("Content-Length: 5, 5\r\nContent-Length: 5\r\n"), Ok(Framing::Length(5)));
        assert_eq!(framed("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framed("Transfer-Encoding: gzip, chunked\r\n"), Ok(Framing::Chunked));
        assert_eq!(framed("Transfer-Encoding: gzip\r\n"), Ok(Framing::Close));
        assert_eq!(
            framed("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
            Ok(Framing::Chunked)
        );
        for headers in ["Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n"] {
            assert_eq!(framed(headers), Err("the reply has two lengths"));
        }
        for headers in ["Content-Length: -1\r\n", "Content-Length: +5\r\n", "Content-Length: \r\n"]
        {
            assert_eq!(framed(headers), Err("the reply's Content-Length isn't a number"));
        }
    }

    #[test]
    fn heads_are_read_as_leniently_as_browsers_do() {
        let head = read("HTTP/1.0 404\n\n").unwrap().unwrap();
        assert_eq!((head.status, &*head.phrase), (404, ""));
        let head = read("HTTP/1.1 302 Fo\tund\r\nBad header\r\nLocation: /x\r\n y\r\n\r\n");
        assert_eq!(head.unwrap().unwrap().location.as_deref(), Some("/x\r\n y"));
    }

    #[test]
    fn what_is_not_http_is_known_by_its_first_byte() {
        let (taken, head) = Reader::default().read(b"SSH-2.0-OpenSSH\r\n");
        assert_eq!((taken, head), (1, Err("the reply isn't HTTP/1.0 or HTTP/1.1")));
        assert!(read("HTTP/2 200 OK\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 2x0 OK\r\n\r\n").is_err());
        assert!(read("HTTP/1.1 OK\r\n\r\n").is_err());
    }

    #[test]
    fn endless_headers_have_an_end() {
        let endless = format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(10_000));
        let (taken, head) = Reader::default().read(endless.as_bytes());
        assert_eq!((taken, head), (16_385, Err("the reply's headers take more than 16 KiB")));
        let many = format!("{}\r\n", "A: b\r\n".repeat(101));
        assert_eq!(framed(&many), Err("the reply has more than 100 headers"));
        // Interim responses count as well.
        let mut reader = Reader::default();
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n";
        let count = (0..).take_while(|_| reader.read(interim).1.is_ok()).count();
        assert_eq!(count, HEAD_LIMIT / interim.len());
    }
}
