//! Regular expressions in Perl's dialect, as configuration files use them.

mod perl;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use regex::bytes::{Regex, RegexBuilder};

pub use perl::PatternError;

/// The maximum size of a compiled pattern, in bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// A regular expression in Perl's dialect (perlre(1)) that is matched against bytes.
///
/// `ldirectord` takes Perl's dialect in `receive=`, and matches it against the bytes of the reply
/// as Perl does without locale and Unicode: `\d`, `\w`, `\s` and case are ASCII, and `.` is any
/// byte except a newline. A construct that the [regex] crate lacks or reads differently is either
/// translated or refused with its position, so a pattern never silently changes its meaning.
/// Matching takes time linear in the reply, whatever the pattern.
///
/// ```
/// use probe::Pattern;
///
/// let pattern = Pattern::perl(r"^OK web\d+$").unwrap();
/// assert!(pattern.is_match(b"OK web2\n"), "as in Perl, $ is before a newline at the end, too");
/// assert!(!pattern.is_match(b"not OK web2"));
///
/// let error = Pattern::perl(r"OK (?!not)").unwrap_err();
/// assert_eq!(error.offset(), 3);
/// ```
///
/// Two patterns are equal if their sources are equal.
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    /// Shared by clones, with what it remembers from one search to the next.
    regex: Arc<Regex>,
}

impl Pattern {
    /// Parses a pattern as Perl would.
    ///
    /// # Errors
    ///
    /// If the pattern is invalid, or uses something that isn't supported: look-around,
    /// back-references, possessive quantifiers, flags other than `i` and `s`, Unicode properties.
    pub fn perl(source: &str) -> Result<Self, PatternError> {
        let translated = perl::translate(source)?;
        let regex = RegexBuilder::new(&translated.text)
            .unicode(false)
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(SIZE_LIMIT)
            .build()
            // Its syntax is valid, so it must be too big.
            .map_err(|_| PatternError::new(0, "takes more than 1 MiB when compiled"))?;
        Ok(Self { source: source.into(), regex: Arc::new(regex) })
    }

    /// Whether the pattern matches anywhere in `bytes`.
    pub fn is_match(&self, bytes: &[u8]) -> bool {
        self.regex.is_match(bytes)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.source).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}
