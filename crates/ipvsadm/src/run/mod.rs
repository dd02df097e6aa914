//! Running commands: what a command line asks for, done with the kernel.

pub(crate) mod kernel;
pub(crate) mod lines;
pub mod offline;
pub(crate) mod output;
pub(crate) mod save;
mod strict;
pub(crate) mod tool;
pub(crate) mod wrappers;
