//! The body of a reply.

use super::head::{Framing, Malformed};

/// The maximum total size of chunk extensions and trailers, in bytes.
const EXTRAS_LIMIT: usize = 16 * 1024;

/// Collects a body, up to a limit.
#[derive(Debug)]
pub(super) struct Reader {
    bytes: Vec<u8>,
    limit: usize,
    state: State,
}

#[derive(Debug)]
enum State {
    /// This many bytes remain.
    Length(u64),
    Chunked(Chunks),
    /// Until the connection ends.
    Close,
    Complete,
}

/// The position in a chunked body (RFC 9112, 7.1).
#[derive(Debug)]
struct Chunks {
    place: Place,
    /// The bytes of extensions and trailers read so far.
    extras: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// In the digits of a size, and whether there were any.
    Size {
        size: u64,
        any: bool,
    },
    /// After the digits, up to the end of the line.
    Extension {
        size: u64,
    },
    Data {
        left: u64,
    },
    /// After the data, where a line end must follow.
    DataEnd,
    /// In the trailers, either in a line that isn't empty or at the start of one.
    Trailer {
        empty: bool,
    },
}

/// How much of a body has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    /// It's complete.
    Complete,
    /// The limit is reached.
    Full,
}

impl Reader {
    pub(super) fn new(framing: Framing, limit: usize) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Complete,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => {
                State::Chunked(Chunks { place: Place::Size { size: 0, any: false }, extras: 0 })
            }
            Framing::Close => State::Close,
        };
        Self { bytes: Vec::new(), limit, state }
    }

    /// The body read so far.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn progress(&self) -> Progress {
        match self.state {
            State::Complete => Progress::Complete,
            _ if self.bytes.len() >= self.limit => Progress::Full,
            _ => Progress::More,
        }
    }

    /// Reads bytes, up to the limit.
    pub(super) fn read(&mut self, mut bytes: &[u8]) -> Result<Progress, Malformed> {
        while !bytes.is_empty() && self.progress() == Progress::More {
            let room = self.limit - self.bytes.len();
            let data = match &mut self.state {
                State::Length(left) => {
                    let data = take(&mut bytes, room, left);
                    if *left == 0 {
                        self.state = State::Complete;
                    }
                    data
                }
                State::Chunked(chunks) => match &mut chunks.place {
                    Place::Data { left } => {
                        let data = take(&mut bytes, room, left);
                        if *left == 0 {
                            chunks.place = Place::DataEnd;
                        }
                        data
                    }
                    _ => {
                        let (first, rest) = bytes.split_at(1);
                        bytes = rest;
                        if chunks.framing_byte(first[0])? {
                            self.state = State::Complete;
                        }
                        &[]
                    }
                },
                State::Close => take(&mut bytes, room, &mut u64::MAX.clone()),
                State::Complete => &[],
            };
            self.bytes.extend_from_slice(data);
        }
        Ok(self.progress())
    }

    /// The connection has ended in an orderly way: returns whether that ends the body.
    pub(super) fn end(&mut self) -> bool {
        if matches!(self.state, State::Close) {
            self.state = State::Complete;
        }
        matches!(self.state, State::Complete)
    }
}

/// Takes as many bytes as are available, fit, and remain.
fn take<'a>(bytes: &mut &'a [u8], room: usize, left: &mut u64) -> &'a [u8] {
    let length = bytes.len().min(room).min(usize::try_from(*left).unwrap_or(usize::MAX));
    let (data, rest) = bytes.split_at(length);
    *bytes = rest;
    *left -= length as u64;
    data
}

impl Chunks {
    /// Reads a byte that isn't data, and returns whether it's the last byte of the body.
    fn framing_byte(&mut self, byte: u8) -> Result<bool, Malformed> {
        const MALFORMED: Malformed = "the reply's chunks are malformed";
        self.place = match (self.place, byte) {
            (Place::Size { size, .. }, byte) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
                let size = size.checked_mul(16).and_then(|size| size.checked_add(digit));
                Place::Size { size: size.ok_or(MALFORMED)?, any: true }
            }
            (Place::Size { any: false, .. }, _) => return Err(MALFORMED),
            (Place::Size { size, .. }, b';' | b' ' | b'\t' | b'\r') => Place::Extension { size },
            (Place::Size { size, .. } | Place::Extension { size }, b'\n') => match size {
                0 => Place::Trailer { empty: true },
                left => Place::Data { left },
            },
            (Place::Size { .. }, _) => return Err(MALFORMED),
            (Place::Extension { .. }, _) => {
                self.count_extra()?;
                self.place
            }
            (Place::DataEnd, b'\r') => Place::DataEnd,
            (Place::DataEnd, b'\n') => Place::Size { size: 0, any: false },
            (Place::DataEnd, _) => return Err(MALFORMED),
            (Place::Trailer { empty: true }, b'\n') => return Ok(true),
            (Place::Trailer { .. }, b'\n') => Place::Trailer { empty: true },
            (Place::Trailer { empty }, b'\r') => {
                self.count_extra()?;
                Place::Trailer { empty }
            }
            (Place::Trailer { .. }, _) => {
                self.count_extra()?;
                Place::Trailer { empty: false }
            }
            // Data never gets here.
            (Place::Data { .. }, _) => return Err(MALFORMED),
        };
        Ok(false)
    }

    fn count_extra(&mut self) -> Result<(), Malformed> {
        self.extras += 1;
        if self.extras > EXTRAS_LIMIT {
            return Err("the reply's chunk extensions and trailers take more than 16 KiB");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        framing: Framing,
        limit: usize,
        bytes: &[u8],
    ) -> (Result<Progress, Malformed>, Vec<u8>) {
        let mut reader = Reader::new(framing, limit);
        let progress = if bytes.is_empty() { Ok(reader.progress()) } else { reader.read(bytes) };
        (progress, reader.bytes)
    }

    #[test]
    fn a_length_is_the_end() {
        for (bytes, progress, body) in [
            ("", Progress::More, ""),
            ("abc", Progress::More, "abc"),
            ("abcde", Progress::Complete, "abcde"),
            ("abcdefg", Progress::Complete, "abcde"),
        ] {
            let found = read(Framing::Length(5), 100, bytes.as_bytes());
            assert_eq!(found, (Ok(progress), body.as_bytes().to_vec()));
        }
        assert_eq!(read(Framing::Length(0), 100, b""), (Ok(Progress::Complete), vec![]));
        assert_eq!(
            read(Framing::Length(u64::MAX), 3, b"abcd"),
            (Ok(Progress::Full), b"abc".to_vec())
        );
    }

    #[test]
    fn chunks_are_put_together() {
        // The example of RFC 9112, 7.1.3's algorithm, with every optional part.
        let text = b"4;name=value\r\nWiki\r\n6 \r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nA: b\r\n\r\nX";
        let whole = b"Wikipedia in \r\n\r\nchunks.".to_vec();
        assert_eq!(read(Framing::Chunked, 100, text), (Ok(Progress::Complete), whole.clone()));
        let lf: Vec<u8> = b"4\nWiki\n0\n\n".to_vec();
        assert_eq!(read(Framing::Chunked, 100, &lf), (Ok(Progress::Complete), b"Wiki".to_vec()));
        assert_eq!(read(Framing::Chunked, 6, text), (Ok(Progress::Full), b"Wikipe".to_vec()));
        for text in ["x\r\n", "\r\n", "-4\r\n", "4\r\nWikiX", "11111111111111111\r\n", "4x\r\n"] {
            let (progress, _) = read(Framing::Chunked, 100, text.as_bytes());
            assert_eq!(progress, Err("the reply's chunks are malformed"), "{text:?}");
        }
        for start in ["1;", "0\r\nA: "] {
            let text = format!("{start}{}", "x".repeat(20_000));
            let (progress, _) = read(Framing::Chunked, 100, text.as_bytes());
            assert!(progress.unwrap_err().contains("more than 16 KiB"), "{start:?}");
        }
    }

    #[test]
    fn only_a_body_without_a_length_ends_with_the_connection() {
        for (framing, ends) in
            [(Framing::Close, true), (Framing::Length(5), false), (Framing::Chunked, false)]
        {
            let mut reader = Reader::new(framing, 100);
            assert_eq!(reader.read(b"4").map(|_| reader.end()), Ok(ends));
        }
    }
}
