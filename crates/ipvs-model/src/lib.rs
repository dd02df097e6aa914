#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod counters;
mod daemons;
mod files;
mod kernel;
mod request;
mod table;

pub use builder::Builder;
pub use kernel::{Kernel, NotFound};
