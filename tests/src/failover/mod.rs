//! Two directors with an address that moves: the network, the routers on them, and who has the
//! address when.

pub mod booted;
pub mod faults;
mod frr;
pub mod gap;
pub mod peer;
pub mod rows;
pub mod stage;
pub mod watch;
