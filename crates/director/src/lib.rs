#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod event;
mod pool;
mod pools;
pub mod status;

pub use event::Event;
pub use pool::{Member, Override, Pool, WhenDown};
pub use pools::{NotFound, Pools};
pub use status::Status;
