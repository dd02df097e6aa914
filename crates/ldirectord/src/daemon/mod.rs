//! The daemon: a parent with all rights and a worker with few.

mod launch;
mod link;
mod parent;
mod run_dir;
mod settling;
mod worker;

use std::ffi::OsString;

use ipvs::{Client, Error, Transport};

use crate::cli::Exit;

pub(crate) use launch::start;

/// This executable, even if the file has been replaced since.
const EXECUTABLE: &str = "/proc/self/exe";

/// What the processes are called. Pid files are checked by that.
pub(crate) const NAME: &str = "ldirectord";

/// The first words of their command lines. The parent's goes on with its mode and the instance.
pub(crate) const PARENT: &str = "--parent";
const WORKER: &str = "--worker";

/// Which process of a daemon this is.
#[derive(Debug)]
pub(crate) enum Role {
    Parent(Vec<OsString>),
    Worker(Vec<OsString>),
}

impl Role {
    /// Reads it from a command line that starts with the program's name. None if it isn't one of
    /// the daemon's.
    pub(crate) fn of(words: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut words = words.skip(1);
        match words.next()?.to_str()? {
            PARENT => Some(Self::Parent(words.collect())),
            WORKER => Some(Self::Worker(words.collect())),
            _ => None,
        }
    }

    /// Runs the process until it ends.
    pub(crate) fn run<T: Transport + 'static>(
        self,
        connect: fn() -> Result<Client<T>, Error>,
    ) -> Exit {
        ipvs_os::keep_little_freed_memory();
        daemon_kit::process_name::set(c"ldirectord");
        match self {
            Self::Parent(words) => launch::parent(words),
            Self::Worker(words) => worker::run(&words, connect),
        }
    }
}
