#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod announce;
mod cli;
pub mod config;
mod daemon;
mod report;
pub mod router;
mod say;

pub use cli::main;
