//! The checks, each in its own module.

pub(crate) mod dns;
pub(crate) mod http;
pub(crate) mod ping;
pub(crate) mod simple_tcp;
