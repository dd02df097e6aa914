//! Which of the host's processors a guest runs on.
//!
//! A guest has one processor of its own, yet is several host processes that take turns: its kernel
//! and what runs its programs. Spread over the host's processors, each turn waits for a sleeping
//! processor to wake up: on one, a guest's system calls and page faults take half the time, and
//! nearly the same time every time.

use std::os::fd::{IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Claims of processors are sockets whose abstract names begin with this: they end with the guest,
/// however it ends, and leave nothing behind.
const PREFIX: &str = "ipvs-guest-processor-";

/// Keeps this process and those it starts on one processor that no other guest is on. Where every
/// one has a guest, or the host doesn't let itself be told, it spreads this one as it likes: that
/// does the same, and takes longer.
pub(crate) fn settle() {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    // The host has just put this process where there is room.
    let here = sched_getcpu();
    let others = (0..CpuSet::MAX_CPU).filter(|&number| number != here);
    let candidates = [here].into_iter().chain(others).filter(|&number| allowed.is_set(number));
    let Some((number, claim)) = claim(PREFIX, candidates) else { return };
    let mut one = CpuSet::new();
    one.set(number);
    if sched_setaffinity(None, &one).is_ok() {
        // For as long as there is a process of the guest.
        let _ = claim.into_raw_fd();
    }
}

/// The first of these that nobody has claimed.
fn claim(prefix: &str, mut candidates: impl Iterator<Item = usize>) -> Option<(usize, OwnedFd)> {
    let try_to = |number| -> Result<_, Errno> {
        let claim = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
        let name = format!("{prefix}{number}");
        bind(&claim, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        Ok((number, claim))
    };
    candidates.find_map(|number| try_to(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_claimed_once_until_its_guest_has_ended() {
        let prefix = format!("ipvs-test-{}-", std::process::id());
        let claim = |candidates: &[usize]| claim(&prefix, candidates.iter().copied());
        let (first, of_first) = claim(&[3, 1]).unwrap();
        let (second, _of_second) = claim(&[3, 1]).unwrap();
        assert_eq!((first, second), (3, 1));
        assert!(claim(&[3, 1]).is_none());
        drop(of_first);
        assert_eq!(claim(&[1, 3]).unwrap().0, 3);
    }
}
