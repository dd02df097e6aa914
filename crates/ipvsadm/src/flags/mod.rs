//! The command line: one table of flags, and two steps from words to a command. Help, manual pages
//! and completions come from the same table.
//!
//! [`parse`] turns words into what was typed, [`low::LowArgs`], checking each value as it comes;
//! [`high`] checks the combination and makes a [`high::Command`] of it. Both complain in the C
//! tool's order, which decides what a user with several mistakes sees.

pub(crate) mod complete;
pub(crate) mod doc;
pub(crate) mod high;
pub(crate) mod low;
pub(crate) mod man;
pub(crate) mod matrix;
pub(crate) mod parse;
pub(crate) mod table;
pub(crate) mod update;
