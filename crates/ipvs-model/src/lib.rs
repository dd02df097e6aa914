#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod builder;
mod counters;
mod daemons;
mod fault;
mod files;
mod kernel;
mod request;
mod sysctls;
mod table;

pub use builder::Builder;
pub use fault::{Fault, FaultError};
pub use kernel::{ConnectionCounts, Kernel, NotFound};
