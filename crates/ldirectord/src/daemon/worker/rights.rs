//! Giving up rights that the worker doesn't need.
//!
//! These calls act on one thread, so they are made before there is a second one.

use std::io;

use daemon_kit::rights;
use daemon_kit::users::User;
use rustix::process::set_parent_process_death_signal;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};

/// Descriptors for the largest configurations.
const DESCRIPTORS: u64 = 65_536;

/// Becomes this user, if it isn't None, in these groups beside its own, keeps only the capabilities
/// that are needed, and ends with its parent.
///
/// # Errors
///
/// The call that failed, and why. Then rights remain that shouldn't.
pub(super) fn give_up(user: Option<User>, groups: &[u32]) -> io::Result<()> {
    // Not being allowed to is no error: the configuration may need few.
    let _ = allow_descriptors();
    rights::give_up(user, groups)?;
    // A worker without a parent must not write into the table of the next one.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| io::Error::new(error.kind(), format!("PR_SET_PDEATHSIG: {error}")))
}

/// Raises the highest limit that this process may set itself; [`director::Budget`] sets it.
fn allow_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map(|it| it.max(DESCRIPTORS));
    Ok(setrlimit(Resource::Nofile, Rlimit { maximum: most, ..limit })?)
}
