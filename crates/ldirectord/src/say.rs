//! Texts for people. Whoever has closed the stream doesn't want to read on.

use std::fmt::Display;
use std::io::{self, Write as _};

/// Writes a text to standard output.
pub(crate) fn out(text: impl Display) {
    let _ = write!(io::stdout().lock(), "{text}");
    let _ = io::stdout().flush();
}

/// Writes a text to standard error.
pub(crate) fn err(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

/// A text without characters that a terminal would obey, except for tabs and ends of lines.
pub(crate) fn printable(text: &str) -> String {
    let keeps = |char: char| !char.is_control() || matches!(char, '\n' | '\t');
    text.chars().map(|char| if keeps(char) { char } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_obeys_nobody_else() {
        assert_eq!(printable("a\tb\n\u{1b}]0;x\u{7}\u{9b}2J"), "a\tb\n?]0;x??2J");
    }
}
