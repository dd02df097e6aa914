//! `director doctor`: what in this machine will break the cluster.
//!
//! [`look`] reads the machine into `Facts`, and [`judge`] says what they mean, without I/O. What could not be
//! read is a finding, too: silence means that all is well.

mod facts;
mod finding;
mod firewall;
mod judge;
mod look;

pub(crate) use finding::{Finding, Severity};
pub(crate) use judge::judge;
pub(crate) use look::{Wanted, look};
