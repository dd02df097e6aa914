//! Places in a file, and diagnostics about them.

use std::ops::{Deref, Range};

/// A value and its place in the file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Its byte range in the file.
    pub span: Range<usize>,
}

impl<T> Spanned<T> {
    pub(super) fn new(value: T, span: Range<usize>) -> Self {
        Self { value, span }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

/// A mistake in a file, or something its author may not expect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can be used nonetheless.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// The byte range that it's about.
    pub span: Range<usize>,
    /// What to write instead, or what will happen.
    pub help: Option<String>,
    /// The byte range of a related place, and how it is related.
    pub related: Option<(Range<usize>, String)>,
    /// It may go away without anybody changing the file: a name that can't be looked up now.
    pub transient: bool,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The file is used; the message says how it is read.
    Warning,
    /// The file isn't used.
    Error,
}

impl Diagnostic {
    pub(crate) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        let message = message.into();
        let (help, related) = (None, None);
        Self { severity: Severity::Error, message, span, help, related, transient: false }
    }

    pub(crate) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn transient(mut self) -> Self {
        self.transient = true;
        self
    }

    pub(super) fn related(mut self, span: Range<usize>, how: impl Into<String>) -> Self {
        self.related = Some((span, how.into()));
        self
    }
}

/// A piece of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<'a> {
    pub(super) text: &'a str,
    pub(super) start: usize,
}

impl<'a> Text<'a> {
    pub(super) fn span(self) -> Range<usize> {
        self.start..self.start + self.text.len()
    }

    pub(super) fn slice(self, range: Range<usize>) -> Self {
        Self { start: self.start + range.start, text: &self.text[range] }
    }

    /// The text from `at` on.
    pub(super) fn from(self, at: usize) -> Self {
        self.slice(at..self.text.len())
    }

    pub(super) fn trim(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..start + self.text.trim().len())
    }

    /// The first word, and the rest.
    pub(super) fn word(self) -> Option<(Self, Self)> {
        let text = self.trim();
        let end = text.text.find(char::is_whitespace).unwrap_or(text.text.len());
        (end > 0).then(|| (text.slice(0..end), text.from(end)))
    }

    pub(super) fn with<T>(self, value: T) -> Spanned<T> {
        Spanned::new(value, self.span())
    }
}
