//! The command line: a row for each flag, and two steps from words to a command. Help, manual pages
//! and completions come from the same rows.
//!
//! [`parse`] turns words into [`args::Args`], checking each value as it comes;
//! [`command`] checks the combination and makes a [`command::Command`] of it. Both check in the order of
//! the C program, which decides the message that a user with several mistakes sees.

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
