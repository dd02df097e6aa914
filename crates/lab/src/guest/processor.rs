//! Chooses the host processor that a guest runs on.
//!
//! A guest has one processor of its own, but consists of several host processes that take turns:
//! its kernel and the processes that run its programs. When they are spread over the host's
//! processors, each turn waits for a sleeping processor to wake up. On a single processor, a
//! guest's system calls and page faults take half the time, and the times hardly vary.

use std::os::fd::{IntoRawFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, socket};
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// The prefix of the abstract socket names that claim processors. A claim ends with the guest,
/// however the guest ends, and leaves nothing behind.
const PREFIX: &str = "ipvs-guest-processor-";

/// How many guests may share a processor before the host schedules further ones freely.
const SLOTS: usize = 8;

/// Pins this process and those it starts to a processor, of which each gets a first guest before any
/// gets a second one. If all places are taken, or the host refuses to pin, the host schedules this guest
/// freely: the result is the same, only slower.
pub(crate) fn settle() {
    let Ok(allowed) = sched_getaffinity(None) else { return };
    // The host has just placed this process where there is room.
    let here = sched_getcpu();
    let others = (0..CpuSet::MAX_CPU).filter(|&number| number != here);
    let candidates = [here].into_iter().chain(others).filter(|&number| allowed.is_set(number));
    let Some((number, claim)) = claim(PREFIX, &candidates.collect::<Vec<_>>()) else { return };
    let mut one = CpuSet::new();
    one.set(number);
    if sched_setaffinity(None, &one).is_ok() {
        // Held as long as any process of the guest exists.
        let _ = claim.into_raw_fd();
    }
}

/// The first candidate that nobody has claimed; if there is none, the first that has been claimed once,
/// and so on.
fn claim(prefix: &str, candidates: &[usize]) -> Option<(usize, OwnedFd)> {
    let try_to = |number, slot| -> Result<_, Errno> {
        let claim = socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
        let name = format!("{prefix}{number}-{slot}");
        bind(&claim, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
        Ok((number, claim))
    };
    let mut places =
        (0..SLOTS).flat_map(|slot| candidates.iter().map(move |&number| (number, slot)));
    places.find_map(|(number, slot)| try_to(number, slot).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_processor_gets_a_first_guest_before_any_gets_a_second_one() {
        let prefix = format!("ipvs-test-{}-", std::process::id());
        let claim = |candidates: &[usize]| claim(&prefix, candidates);
        let (first, of_first) = claim(&[3, 1]).unwrap();
        let (second, _of_second) = claim(&[3, 1]).unwrap();
        let (third, _of_third) = claim(&[1, 3]).unwrap();
        assert_eq!((first, second, third), (3, 1, 1));
        drop(of_first);
        assert_eq!(claim(&[1, 3]).unwrap().0, 3);
    }

    #[test]
    fn there_are_only_so_many_places() {
        let prefix = format!("ipvs-test-places-{}-", std::process::id());
        let claims: Vec<_> = (0..SLOTS).filter_map(|_| claim(&prefix, &[7])).collect();
        assert_eq!(claims.len(), SLOTS);
        assert!(claim(&prefix, &[7]).is_none());
    }
}
