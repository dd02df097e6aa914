//! Text: the form of lists, JSON, addresses, numbers and messages, and the parsing of addresses and
//! numbers. Nothing here knows the command line or the kernel's state.

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
