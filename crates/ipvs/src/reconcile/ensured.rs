//! The outcome of `ensure_*` calls.

/// What an `ensure_*` call had to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ensured {
    /// Nothing: it was as wanted already, and nothing was written.
    Unchanged,
    /// It was missing, and was added.
    Added,
    /// It was configured differently, and was set.
    Changed,
}
