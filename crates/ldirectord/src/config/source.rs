//! Places in a file, and what is wrong there.

use std::ops::{Deref, Range};

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Spanned<T> {
    /// What was read.
    pub value: T,
    /// Its bytes in the file.
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

/// Something that is wrong with a file, or not what its author may think.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// One sentence.
    pub message: String,
    /// What it's about, as bytes of the file.
    pub span: Range<usize>,
    /// What to write instead, or what will happen.
    pub help: Option<String>,
    /// Another place that has to do with it, and how.
    pub related: Option<(Range<usize>, String)>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The file is used; this is what it means.
    Warning,
    /// The file isn't used.
    Error,
}

impl Diagnostic {
    pub(crate) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity: Severity::Error, message, span, help: None, related: None }
    }

    pub(super) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(span, message) }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
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

    /// What stands from `at` on.
    pub(super) fn from(self, at: usize) -> Self {
        self.slice(at..self.text.len())
    }

    pub(super) fn trim(self) -> Self {
        let start = self.text.len() - self.text.trim_start().len();
        self.slice(start..start + self.text.trim().len())
    }

    /// The first word, and what follows it.
    pub(super) fn word(self) -> Option<(Self, Self)> {
        let text = self.trim();
        let end = text.text.find(char::is_whitespace).unwrap_or(text.text.len());
        (end > 0).then(|| (text.slice(0..end), text.from(end)))
    }

    pub(super) fn with<T>(self, value: T) -> Spanned<T> {
        Spanned::new(value, self.span())
    }
}
