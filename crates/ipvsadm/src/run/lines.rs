//! The lines that `-R` reads.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;

/// The longest word; longer ones are split into several, as with the C program.
const WORD_MAX: usize = 4096;
/// The limit for the bytes in the words of a line, which bounds memory.
const LINE_MAX: usize = 1 << 20;

/// The input of a restore.
pub trait Input: BufRead {
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
    line: Line,
    /// How many lines were read.
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
        Self { input, line: Line::default(), number: 0 }
    }

    /// Reads lines without loss: long words are neither split nor cut at a NUL, `ipvsadm` is
    /// dropped only at the beginning, and the last line needs no newline. A word that begins with
    /// `#` and the rest of its line are a comment.
    pub(crate) fn strict(input: R) -> Self {
        let mut lines = Self::new(input);
        lines.line.strict = true;
        lines
    }

    /// The number of the line read last, counted from 1; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The words of the next line, with every `ipvsadm` removed; `None` at the end.
    ///
    /// A last line that ends in two or more blanks instead of a newline counts as unfinished and is
    /// dropped, as the C program does.
    pub(crate) fn next_line(&mut self) -> io::Result<Option<Vec<&OsStr>>> {
        let line = &mut self.line;
        line.clear();
        self.number += 1;
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                line.end_word();
                let finished = line.strict || line.blanks < 2;
                return Ok((finished && !line.words.is_empty()).then(|| line.words()));
            }
            let end = buffer.iter().position(|b| *b == b'\n');
            let piece = &buffer[..end.unwrap_or(buffer.len())];
            line.push(piece);
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
                return Ok(Some(line.words()));
            }
        }
    }
}

#[derive(Default)]
struct Line {
    strict: bool,
    /// The words, one after the other.
    text: Vec<u8>,
    /// The position of each word in the text.
    words: Vec<Range<usize>>,
    /// The start of the word being read.
    start: usize,
    /// Blanks since the last word.
    blanks: usize,
    /// Bytes in all words.
    len: usize,
}

impl Line {
    fn clear(&mut self) {
        self.text.clear();
        self.words.clear();
        (self.start, self.blanks, self.len) = (0, 0, 0);
    }

    /// Appends a piece of the line.
    fn push(&mut self, mut piece: &[u8]) {
        let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        loop {
            let end = piece.iter().position(is_blank).unwrap_or(piece.len());
            let (word, rest) = piece.split_at(end);
            self.push_word(word);
            let Some((_, rest)) = rest.split_first() else { return };
            self.end_word();
            self.blanks += 1;
            piece = rest;
        }
    }

    /// Appends a piece of a word.
    fn push_word(&mut self, mut text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.blanks = 0;
        self.len += text.len();
        if !self.strict {
            loop {
                let room = WORD_MAX - (self.text.len() - self.start);
                let Some((fits, rest)) = text.split_at_checked(room) else { break };
                if rest.is_empty() {
                    break;
                }
                self.text.extend_from_slice(fits);
                self.end_word();
                text = rest;
            }
        }
        self.text.extend_from_slice(text);
    }

    fn end_word(&mut self) {
        let word = &self.text[self.start..];
        if word.is_empty() {
            return;
        }
        let mut length = word.len();
        if !self.strict {
            // As with a C string, which ends at the first NUL.
            length = word.iter().position(|b| *b == 0).unwrap_or(length);
        }
        let word = self.start..self.start + length;
        // The C program drops its own name even where it is a value.
        let is_name = &self.text[word.clone()] == b"ipvsadm";
        if !is_name || (self.strict && !self.words.is_empty()) {
            self.words.push(word);
        }
        self.start = self.text.len();
    }

    /// The words, in a strict restore without a comment.
    fn words(&self) -> Vec<&OsStr> {
        let words = self.words.iter().map(|word| &self.text[word.clone()]);
        let is_comment = |word: &&[u8]| self.strict && word.starts_with(b"#");
        words.take_while(|word| !is_comment(word)).map(OsStr::from_bytes).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: impl AsRef<[u8]>) -> Vec<Vec<String>> {
        all(Lines::new(cut(text.as_ref())))
    }

    /// A buffer so small that it cuts most words.
    fn cut(text: &[u8]) -> BufReader<&[u8]> {
        BufReader::with_capacity(3, text)
    }

    fn all(mut lines: Lines<impl BufRead>) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        while let Some(words) = lines.next_line().unwrap() {
            all.push(words.into_iter().map(|word| word.to_str().unwrap().to_owned()).collect());
        }
        all
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
    fn the_programs_name_is_dropped_wherever_it_stands() {
        assert_eq!(
            lines("ipvsadm -A -s ipvsadm rr\nipvsadm\n/sbin/ipvsadm\n"),
            [vec!["-A", "-s", "rr"], vec![], vec!["/sbin/ipvsadm"]]
        );
    }

    #[test]
    fn a_nul_ends_the_word_and_not_the_line() {
        assert_eq!(lines("a\0b c \0 ipvsadm\0x\n"), [["a", "c", ""]]);
    }

    /// Each was observed with the C program.
    #[test]
    fn a_last_line_without_newline_counts_unless_two_blanks_end_it() {
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
            strict("ipvsadm -s ipvsadm\n\n-s r\0r\n"),
            [vec!["-s", "ipvsadm"], vec![], vec!["-s", "r\0r"]]
        );
        let long = "r".repeat(WORD_MAX + 1);
        assert_eq!(strict(&format!("-s {long}")), [["-s", &long]]);
    }

    #[test]
    fn strict_lines_may_have_comments_anywhere() {
        let strict = |text: &str| all(Lines::strict(cut(text.as_bytes())));
        for (text, words) in [
            ("# -C\n", &[][..]),
            (" \t#-C\n", &[]),
            ("#", &[]),
            ("-C # all of it\n", &["-C"]),
            ("-C\t#all\r\n", &["-C"]),
            ("ipvsadm # -C", &[]),
            ("-A -s rr #", &["-A", "-s", "rr"]),
            // Within a word it is an ordinary character.
            ("-s r#r -t #", &["-s", "r#r", "-t"]),
        ] {
            assert_eq!(strict(text), [words], "{text:?}");
        }
        // Only here: the C program treats these as words.
        assert_eq!(lines("-C # x\n"), [["-C", "#", "x"]]);
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
        assert_eq!(Lines::new(blanks).next_line().unwrap(), Some(vec![OsStr::new("-C")]));
    }
}
