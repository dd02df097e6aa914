//! `director doctor`: what in this machine will break the cluster.
//!
//! [`judge`](judge::judge) says what [`Facts`](facts::Facts) mean, without I/O. What could not be read is a
//! finding, too: silence means that all is well.

mod facts;
mod files;
mod finding;
mod firewall;
mod judge;
