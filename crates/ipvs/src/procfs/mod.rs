//! The files under `/proc` as text: connections, the whole table, and settings. The layer above,
//! `transport`, opens them.

pub(crate) mod connections;
mod fields;
pub(crate) mod summary;
pub mod sysctl;
