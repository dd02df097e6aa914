//! What an `ensure_*` call had to do.

/// What had to be done for an object to be as wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ensured {
    /// Nothing: it was so already, and nothing was written.
    Unchanged,
    /// It was missing, and was added.
    Added,
    /// It was configured in another way, and was set.
    Changed,
}
