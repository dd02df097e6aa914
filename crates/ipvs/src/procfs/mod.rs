//! The files under `/proc`, as text: connections, the table in one file, and settings. `transport`,
//! the floor above, opens them.

pub(crate) mod connections;
mod fields;
pub(crate) mod summary;
pub mod sysctl;
