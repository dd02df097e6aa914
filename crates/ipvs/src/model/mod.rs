//! The model: virtual services, real servers, daemons, and their parts. Values only: no I/O, and no
//! errors except those of parsing.

pub(crate) mod config;
pub(crate) mod destination;
pub(crate) mod forward;
pub(crate) mod key;
pub(crate) mod name;
pub(crate) mod scheduler_flags;
pub(crate) mod service;
pub(crate) mod snapshot;
pub(crate) mod stats;
pub(crate) mod sync_daemon;
pub(crate) mod table;
