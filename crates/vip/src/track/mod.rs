//! Whether what a priority depends on is up, without I/O: scripts, and services of `ldirectord`.

mod feed;
mod script;

pub(crate) use feed::{Feed, Wanted};
pub(crate) use script::Script;
