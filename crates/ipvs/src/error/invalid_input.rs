//! Values that are refused before anything is sent.

use std::time::Duration;

use thiserror::Error;

/// A value that the library refuses, because the kernel can't represent it or would take it for
/// something else.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum InvalidInput {
    /// A time that isn't whole seconds.
    #[error("the {what} is not a whole number of seconds")]
    FractionOfSecond {
        /// Which time.
        what: &'static str,
    },
    /// A time that the kernel can't represent.
    #[error("the {what} is longer than 4294967295 seconds")]
    TooLong {
        /// Which time.
        what: &'static str,
    },
    /// A timeout of 0, which the kernel takes for "keep".
    #[error("the {what} is 0, which the kernel takes for \"keep as it is\"")]
    ZeroTimeout {
        /// Which time.
        what: &'static str,
    },
    /// A persistence timeout of 0, or above
    /// [`Persistence::MAX_TIMEOUT`](crate::Persistence::MAX_TIMEOUT), which not every kernel can
    /// represent.
    #[error(
        "the persistence timeout is {0:?}; give 1 to 4294967 seconds, which every kernel can hold"
    )]
    PersistenceTimeout(Duration),
    /// A protocol or a forwarding method, given as a number (`Other`), that the kernel would report
    /// as another one: the number has a name, or the kernel doesn't keep all of it.
    #[error("`{given}` would be reported as `{reported}`; use that instead")]
    Alias {
        /// What was given, as text.
        given: String,
        /// What the kernel would make of it, as text.
        reported: String,
    },
    /// A persistence mask made for the other address family.
    #[error("the persistence mask was made for the other address family")]
    MaskFamily,
    /// An edit that changes the key: that would be another object.
    #[error("the edit changed what identifies the object")]
    KeyChanged,
    /// Bits in [`SchedulerFlags`](crate::SchedulerFlags) that belong to other fields of a service.
    #[error("scheduler flags {0:#x} include bits that belong to other fields of a service")]
    ReservedFlags(u32),
    /// An impossible name of a network namespace.
    #[error("the name of a network namespace can't be empty, `.` or `..`, or contain a slash")]
    NamespaceName,
}
