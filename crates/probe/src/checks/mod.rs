//! The checks themselves, a file for each.

pub(crate) mod connect;
pub(crate) mod http;
pub(crate) mod ping;
