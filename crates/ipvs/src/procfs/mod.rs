//! The texts under `/proc`: connections, the table in one file, and settings. What opens the files
//! is the floor above, `transport`.

pub(crate) mod connections;
mod fields;
pub(crate) mod summary;
pub mod sysctl;
