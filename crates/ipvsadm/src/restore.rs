//! The lines that `-R` reads.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// The longest word; a longer one becomes several, as with the C tool.
const WORD_MAX: usize = 4096;
/// The most bytes that the words of a line may have, so that memory stays bounded.
const LINE_MAX: usize = 1 << 20;

/// What a restore reads.
pub(crate) trait Input: BufRead {
    /// Whether a whole line can be read without waiting for anything.
    fn has_line(&self) -> bool;
}

impl<R: Read> Input for BufReader<R> {
    fn has_line(&self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

impl Input for &[u8] {
    fn has_line(&self) -> bool {
        true
    }
}

/// Splits input into lines, and lines into words: at blanks, tabs and carriage returns, without
/// quotes, escapes or comments.
pub(crate) struct Lines<R> {
    input: R,
    strict: bool,
    /// How many were read.
    number: u64,
}

impl<R: Input> Lines<R> {
    /// Whether the next line can be read without waiting.
    pub(crate) fn has_next_line(&self) -> bool {
        self.input.has_line()
    }
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, strict: false, number: 0 }
    }

    /// Lines that lose nothing of what was written: long words aren't split nor cut at a NUL,
    /// `ipvsadm` is dropped at the beginning only, and the last line needs no newline in any
    /// case. Lines whose first word begins with `#` have no words.
    pub(crate) fn strict(input: R) -> Self {
        Self { strict: true, ..Self::new(input) }
    }

    /// The number of the line read last, from 1 on; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The words of the next line, without `ipvsadm` wherever it stands; `None` at the end.
    ///
    /// A last line that ends in two or more blanks instead of a newline is taken for an unfinished
    /// one and is dropped, as the C tool drops it.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<OsString>>> {
        let mut line = Line { strict: self.strict, ..Line::default() };
        self.number += 1;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                line.end_word();
                let finished = self.strict || line.blanks < 2;
                return Ok((finished && !line.words.is_empty()).then(|| line.finished()));
            }
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            piece.iter().for_each(|byte| line.push(*byte));
            let used = piece.len() + usize::from(end.is_some());
            self.input.consume(used);
            if line.len > LINE_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a line is longer than {LINE_MAX} bytes"),
                ));
            }
            if end.is_some() {
                line.end_word();
                return Ok(Some(line.finished()));
            }
        }
    }
}

#[derive(Default)]
struct Line {
    strict: bool,
    words: Vec<OsString>,
    word: Vec<u8>,
    /// Blanks since the last word.
    blanks: usize,
    /// Bytes in all words.
    len: usize,
}

impl Line {
    fn push(&mut self, byte: u8) {
        if matches!(byte, b' ' | b'\t' | b'\r') {
            self.end_word();
            self.blanks += 1;
            return;
        }
        if !self.strict && self.word.len() == WORD_MAX {
            self.end_word();
        }
        self.blanks = 0;
        self.word.push(byte);
        self.len += 1;
    }

    fn end_word(&mut self) {
        if self.word.is_empty() {
            return;
        }
        let mut word = std::mem::take(&mut self.word);
        if !self.strict {
            // As a C string, which ends at the first NUL.
            if let Some(nul) = word.iter().position(|b| *b == 0) {
                word.truncate(nul);
            }
        }
        // The C tool drops its name even where it is a value.
        if word == b"ipvsadm" && (self.words.is_empty() || !self.strict) {
            return;
        }
        self.words.push(OsString::from_vec(word));
    }

    /// The words; none of a strict restore's comment.
    fn finished(self) -> Vec<OsString> {
        match self.words.first() {
            Some(word) if self.strict && word.as_bytes().starts_with(b"#") => Vec::new(),
            _ => self.words,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: impl AsRef<[u8]>) -> Vec<Vec<String>> {
        all(Lines::new(cut(text.as_ref())))
    }

    /// A buffer this small cuts most words.
    fn cut(text: &[u8]) -> BufReader<&[u8]> {
        BufReader::with_capacity(3, text)
    }

    fn all(mut lines: Lines<impl BufRead>) -> Vec<Vec<String>> {
        std::iter::from_fn(|| lines.next_line().unwrap())
            .map(|words| words.into_iter().map(|word| word.into_string().unwrap()).collect())
            .collect()
    }

    #[test]
    fn words_are_split_at_blanks_tabs_and_carriage_returns() {
        assert_eq!(
            lines("-A -t 10.0.0.1:80\r\n-A\t-t\t10.0.0.2:80\t\r\n\r\n \t\n-C\n"),
            [
                vec!["-A", "-t", "10.0.0.1:80"],
                vec!["-A", "-t", "10.0.0.2:80"],
                vec![],
                vec![],
                vec!["-C"]
            ]
        );
        assert_eq!(
            lines("a\x0bb \x0c \"c d\" e\\ f #g\n"),
            [["a\x0bb", "\x0c", "\"c", "d\"", "e\\", "f", "#g"]]
        );
    }

    #[test]
    fn the_tools_name_is_dropped_wherever_it_stands() {
        assert_eq!(
            lines("ipvsadm -A -s ipvsadm rr\nipvsadm\n/sbin/ipvsadm\n"),
            [vec!["-A", "-s", "rr"], vec![], vec!["/sbin/ipvsadm"]]
        );
    }

    #[test]
    fn a_nul_ends_the_word_and_not_the_line() {
        assert_eq!(lines("a\0b c \0 ipvsadm\0x\n"), [["a", "c", ""]]);
    }

    /// Each was seen on the C tool.
    #[test]
    fn a_last_line_without_newline_is_run_but_not_after_two_blanks() {
        for run in ["-C", "-C ", "-C\t", "-C\r", "-C ipvsadm", "-C ipvsadm "] {
            assert_eq!(lines(run), [["-C"]], "{run:?}");
        }
        for dropped in ["-C  ", "-C \t", "-C \r", "-C\r ", "-C\r\r", "-C ipvsadm  "] {
            assert_eq!(lines(dropped), [[""; 0]; 0], "{dropped:?}");
        }
        assert_eq!(lines("-C  \n -Z"), [["-C"], ["-Z"]]);
        assert_eq!(lines(""), [[""; 0]; 0]);
    }

    #[test]
    fn long_words_are_split() {
        let words = lines(format!("-s {}-L\n", "r".repeat(WORD_MAX)));
        assert_eq!(words, [["-s", &"r".repeat(WORD_MAX), "-L"]]);
    }

    #[test]
    fn strict_lines_lose_nothing() {
        let strict = |text: &str| all(Lines::strict(cut(text.as_bytes())));
        for last in ["-C", "-C  ", "-C\r\r", "-C\n"] {
            assert_eq!(strict(last), [["-C"]], "{last:?}");
        }
        assert_eq!(
            strict("ipvsadm -s ipvsadm\n# -C\n #-C\n\n-A #x\n-s r\0r\n"),
            [vec!["-s", "ipvsadm"], vec![], vec![], vec![], vec!["-A", "#x"], vec!["-s", "r\0r"]]
        );
        let long = "r".repeat(WORD_MAX + 1);
        assert_eq!(strict(&format!("-s {long}")), [["-s", &long]]);
    }

    #[test]
    fn lines_are_counted_from_1() {
        let mut lines = Lines::strict(&b"# one\n\n-C\n"[..]);
        for number in 1..=3 {
            assert!(lines.next_line().unwrap().is_some());
            assert_eq!(lines.number(), number);
        }
        assert_eq!(lines.next_line().unwrap(), None);
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut lines = Lines::new(BufReader::new(io::repeat(b'x')));
        assert_eq!(lines.next_line().unwrap_err().kind(), io::ErrorKind::InvalidData);
        // Blanks take no memory, so there can be any number of them.
        let blanks = Read::chain(&[b' '; 2 << 20][..], &b"-C\n"[..]);
        assert_eq!(Lines::new(blanks).next_line().unwrap(), Some(vec!["-C".into()]));
    }
}
