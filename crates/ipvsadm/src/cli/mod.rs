//! The command line: one table of flags, and two steps from words to a command. Help, manual pages
//! and completions come from the same table.
//!
//! [`parse`] turns words into what was typed, [`args::Args`], checking each value as it comes;
//! [`command`] checks the combination and makes a [`command::Command`] of it. Both complain in the C
//! tool's order, which decides what a user with several mistakes sees.

pub(crate) mod args;
pub(crate) mod command;
pub(crate) mod completions;
pub(crate) mod flags;
pub(crate) mod help;
pub(crate) mod keep;
pub(crate) mod kinds;
pub(crate) mod man;
pub(crate) mod matrix;
pub(crate) mod parse;
