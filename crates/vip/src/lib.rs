#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod announce;
mod cli;
pub mod config;
pub mod control;
mod daemon;
mod report;
pub mod router;
mod say;
pub mod status;

pub use cli::main;
