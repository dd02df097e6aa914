//! Giving up rights that a process doesn't need.
//!
//! These calls act on one thread, so they are made before there is a second one.

use std::io;

use rustix::process::getuid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set,
    remove_capability_from_bounding_set, set_capabilities, set_keep_capabilities, set_no_new_privs,
    set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use rustix::thread::{Gid, Uid};

use crate::users::User;

/// What the daemons need: IPVS, addresses and firewall marks; raw sockets.
const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// Becomes this user, if it isn't None, in these groups beside its own, and keeps only
/// `CAP_NET_ADMIN` and `CAP_NET_RAW`, and these only if it has them. Programs that this process
/// starts get no more rights.
///
/// # Errors
///
/// The call that failed, and why. Then rights remain that shouldn't.
pub fn give_up(user: Option<User>, groups: &[u32]) -> io::Result<()> {
    let current = capabilities(None).map_err(|it| failed("capget", it))?;
    for capability in CapabilitySet::all().iter().filter(|it| !NEEDED.contains(*it)) {
        if current.effective.contains(CapabilitySet::SETPCAP)
            && capability_is_in_bounding_set(capability).unwrap_or(false)
        {
            remove_capability_from_bounding_set(capability)
                .map_err(|it| failed("PR_CAPBSET_DROP", it))?;
        }
    }
    if let Some(user) = user.filter(|_| getuid().is_root()) {
        set_keep_capabilities(true).map_err(|it| failed("PR_SET_KEEPCAPS", it))?;
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        set_thread_groups(&groups).map_err(|it| failed("setgroups", it))?;
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        set_thread_res_gid(gid, gid, gid).map_err(|it| failed("setresgid", it))?;
        set_thread_res_uid(uid, uid, uid).map_err(|it| failed("setresuid", it))?;
        set_keep_capabilities(false).map_err(|it| failed("PR_SET_KEEPCAPS", it))?;
    }
    let kept = current.permitted & NEEDED;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(|it| failed("capset", it))?;
    set_no_new_privs(true).map_err(|it| failed("PR_SET_NO_NEW_PRIVS", it))
}

/// Does something with the rights that are left as ambient ones: a program that `start` executes on
/// this thread has them too, whoever the user is (capabilities(7)). Others that this process starts,
/// before, after or on other threads, have none.
///
/// # Errors
///
/// The call that failed, and why. Before `start`, nothing has changed.
///
/// ```
/// use std::process::Command;
///
/// let status = daemon_kit::rights::pass_on(|| Command::new("true").status())??;
/// assert!(status.success());
/// # Ok::<_, std::io::Error>(())
/// ```
pub fn pass_on<T>(start: impl FnOnce() -> T) -> io::Result<T> {
    let before = capabilities(None).map_err(|it| failed("capget", it))?;
    let passed = before.permitted & NEEDED;
    let wider = CapabilitySets { inheritable: before.inheritable | passed, ..before };
    let take_back = || -> io::Result<()> {
        clear_ambient_capability_set().map_err(|it| failed("PR_CAP_AMBIENT", it))?;
        set_capabilities(None, before).map_err(|it| failed("capset", it))
    };
    set_capabilities(None, wider).map_err(|it| failed("capset", it))?;
    let mut each = passed.iter();
    if let Err(error) = each.try_for_each(|it| configure_capability_in_ambient_set(it, true)) {
        take_back()?;
        return Err(failed("PR_CAP_AMBIENT", error));
    }
    let started = start();
    take_back()?;
    Ok(started)
}

fn failed(call: &str, error: rustix::io::Errno) -> io::Error {
    io::Error::new(error.kind(), format!("{call}: {error}"))
}
