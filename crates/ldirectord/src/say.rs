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
