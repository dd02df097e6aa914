//! A guest, seen from the host: its kernel's process, the line to its PID 1, its console, and the
//! keeper that prevents it from outliving us.

pub(crate) mod boot;
pub(crate) mod console;
pub(crate) mod frame;
pub(crate) mod keeper;
mod preload;
mod processor;
pub(crate) mod scratch;
pub(crate) mod spec;
