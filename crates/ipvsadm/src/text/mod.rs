//! Text: how lists, JSON, addresses, numbers and messages look, and how addresses and numbers are read.
//! Nothing here knows the command line or the kernel's state.

pub(crate) mod connections;
pub(crate) mod fields;
pub(crate) mod json;
pub(crate) mod line_buffer;
pub(crate) mod list;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod numbers;
pub(crate) mod scheduler_flags;
pub(crate) mod sort;
