//! The checks, one file each.

pub(crate) mod connect;
pub(crate) mod http;
pub(crate) mod ping;
