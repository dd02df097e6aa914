//! Runs: executing what a command line asks for.
//!
//! [`program::run`] is the whole program, over any [`host::Host`] and any streams. The binary
//! passes this machine's; tests and fuzzing pass a model of the kernel and buffers.

pub(crate) mod exit;
pub(crate) mod host;
mod kernel;
pub(crate) mod lines;
mod list;
pub(crate) mod output;
pub(crate) mod program;
mod restore;
mod save;
mod show_error;
mod strict;
mod tool;
mod wrappers;

#[cfg(test)]
mod tests;
