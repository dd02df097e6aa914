//! From what is there to what is wanted, without I/O: plans, a director's whole state, and what has
//! changed between two snapshots. `client` applies it.

pub(crate) mod director;
pub(crate) mod ensured;
pub mod plan;
pub(crate) mod watch;
