//! Text: how lists, addresses, numbers and messages look, and how addresses and numbers are read.

pub(crate) mod columns;
pub(crate) mod connections;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod messages;
pub(crate) mod names;
pub(crate) mod numbers;
pub(crate) mod scheduler_flags;
pub(crate) mod sort;
