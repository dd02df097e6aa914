//! From the current state to the desired one, without I/O: plans, a director's whole state, and the
//! changes between two snapshots. `client` reads and applies.

pub(crate) mod director;
pub(crate) mod ensured;
pub mod plan;
pub(crate) mod watch;
