//! Reads this machine's files and processes. Nothing here waits, or reads without a bound.

pub(crate) mod files;
pub(crate) mod processes;

use std::io;
use std::net::IpAddr;

/// Something that couldn't be read.
#[derive(Debug)]
pub(crate) struct Unread {
    pub(crate) what: String,
    pub(crate) error: io::Error,
}

impl Unread {
    fn new(what: impl Into<String>, error: io::Error) -> Self {
        Self { what: what.into(), error }
    }
}

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Its other names, by which files may call it.
    pub(crate) other_names: Vec<String>,
    pub(crate) mac: String,
    /// Its addresses with the lengths of their prefixes.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
}
