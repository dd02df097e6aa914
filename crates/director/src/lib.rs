#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod event;
mod pool;
mod pools;

pub use event::Event;
pub use pool::{Member, Override, Pool, WhenDown};
pub use pools::{NotFound, Pools};
