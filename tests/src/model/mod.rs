//! Random requests to IPVS, to send the same ones to a real kernel and to its model.

mod generate;
mod peer;

pub use generate::{Flaw, Generator, Operation};
pub use peer::{Answer, Peer};
