//! What the doctor has found.

use serde::Serialize;

/// Something to know about this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Which check it comes from. Programs may rely on it.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What is wrong.
    pub(crate) what: String,
    /// Why it matters.
    pub(crate) why: String,
    /// What to type, line by line. What can't be typed begins as a shell's comment does.
    pub(crate) fix: Vec<String>,
}

/// What a finding means for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It breaks the cluster, now or at the next failure.
    Breaks,
    /// Nobody knows: something could not be read, or not be understood.
    Unknown,
    /// The cluster works, but worse than it could.
    Advice,
}

impl Finding {
    pub(super) fn breaks(id: &'static str, what: impl Into<String>, why: &str) -> Self {
        Self::new(Severity::Breaks, id, what, why)
    }

    pub(super) fn unknown(id: &'static str, what: impl Into<String>, why: &str) -> Self {
        Self::new(Severity::Unknown, id, what, why)
    }

    pub(super) fn advice(id: &'static str, what: impl Into<String>, why: &str) -> Self {
        Self::new(Severity::Advice, id, what, why)
    }

    fn new(severity: Severity, id: &'static str, what: impl Into<String>, why: &str) -> Self {
        Self { id, severity, what: what.into(), why: why.to_owned(), fix: Vec::new() }
    }

    /// Adds what to do, in words.
    pub(super) fn hint(self, words: impl AsRef<str>) -> Self {
        self.fix(format!("# {}", words.as_ref()))
    }

    /// Adds a line to type.
    pub(super) fn fix(mut self, line: impl Into<String>) -> Self {
        self.fix.push(line.into());
        self
    }
}
