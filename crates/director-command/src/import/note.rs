//! Texts that are imported, and what there is to say about them.

use std::ops::Range;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called in messages.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// Something to know about a place in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it means for the result.
    pub kind: Kind,
    /// Which file it is about, by its place among those that were given.
    pub file: usize,
    /// Where, in bytes of its text.
    pub span: Range<usize>,
    /// What there is to know.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// What a note means for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// There is no result before this is mended.
    Error,
    /// The result does something else than the original did, or than its author meant.
    Differs,
    /// It has no equivalent, and none is needed.
    LeftOut,
}

/// A value, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spanned<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// The notes about one file.
#[derive(Debug)]
pub(super) struct Notes {
    file: usize,
    all: Vec<Note>,
}

impl Notes {
    pub(super) const fn new(file: usize) -> Self {
        Self { file, all: Vec::new() }
    }

    pub(super) fn error(&mut self, at: &Range<usize>, message: impl Into<String>, help: &str) {
        self.add(Kind::Error, at, message, help);
    }

    pub(super) fn differs(&mut self, at: &Range<usize>, message: impl Into<String>, help: &str) {
        self.add(Kind::Differs, at, message, help);
    }

    pub(super) fn left_out(&mut self, at: &Range<usize>, message: impl Into<String>, help: &str) {
        self.add(Kind::LeftOut, at, message, help);
    }

    fn add(&mut self, kind: Kind, at: &Range<usize>, message: impl Into<String>, help: &str) {
        let help = Some(help.to_owned()).filter(|help| !help.is_empty());
        let (file, span) = (self.file, at.clone());
        self.all.push(Note { kind, file, span, message: message.into(), help });
    }

    pub(super) fn into_inner(self) -> Vec<Note> {
        self.all
    }
}
