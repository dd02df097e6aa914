//! Who has an address, over time.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::acceptance::pulse::{Pulse, now};
use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Namespace, eventually};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;

use super::stage::LIMIT;

/// How often both directors are looked at.
const PAUSE: Duration = Duration::from_millis(10);

/// Which of the directors have the address.
pub type Owners = [bool; 2];

/// Nobody has it.
pub const NOBODY: Owners = [false, false];
/// Both have it.
pub const BOTH: Owners = [true, true];

/// The state that one director alone is the owner.
pub const fn only(director: usize) -> Owners {
    if director == 0 { [true, false] } else { [false, true] }
}

/// What one director was seen to have: since when, and whether it is there.
type Seen = Arc<Mutex<Vec<(Duration, bool)>>>;

/// Two threads that look, one in each director's namespace. Dropping it ends them.
#[derive(Debug)]
pub struct Watch {
    seen: [Seen; 2],
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pulse: Pulse,
}

impl Watch {
    /// Starts to look for an address.
    ///
    /// # Errors
    ///
    /// If it is no address, or a namespace can't be entered.
    pub fn start(directors: &[Namespace; 2], address: &str) -> Result<Self> {
        let address: IpAddr = address.parse()?;
        let stop = Arc::new(AtomicBool::new(false));
        let seen: [Seen; 2] = Default::default();
        let mut threads = Vec::new();
        for (netns, seen) in directors.iter().zip(&seen) {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(seen));
            // A thread of a thread that has entered a namespace is there as well.
            let spawned = netns.run(|| {
                let look = move || look(&stop, &seen, address);
                thread::Builder::new().name("watch".to_owned()).spawn(look)
            })?;
            threads.push(spawned.context("cannot start a thread")?);
        }
        let watch = Self { seen, stop, threads, pulse: Pulse::start()? };
        eventually(LIMIT, || watch.owners().context("nobody has looked yet"))?;
        Ok(watch)
    }

    /// Who has it now; None before both have been looked at.
    pub fn owners(&self) -> Option<Owners> {
        let last = |seen: &Seen| {
            seen.lock().unwrap_or_else(PoisonError::into_inner).last().map(|(_, has)| *has)
        };
        Some([last(&self.seen[0])?, last(&self.seen[1])?])
    }

    /// Waits until these are the owners; returns since when, as a time since the epoch.
    ///
    /// # Errors
    ///
    /// If that doesn't happen within [`LIMIT`].
    pub fn until(&self, owners: Owners) -> Result<Duration> {
        eventually(LIMIT, || {
            let now = self.owners();
            ensure!(now == Some(owners), "the owners are {now:?} instead of {owners:?}");
            Ok(())
        })?;
        Ok(self.spans(Duration::ZERO, now()).last().map_or_else(now, |(since, _, _)| *since))
    }

    /// For how long these were the owners between two times, at the longest, without what the
    /// machine was late itself.
    pub fn longest(&self, owners: Owners, from: Duration, to: Duration) -> Duration {
        let spans = self.spans(from, to);
        let lengths = spans.iter().filter(|(_, _, it)| *it == owners).map(|(start, end, _)| {
            (*end - *start).saturating_sub(self.pulse.stalled(*start, *end))
        });
        lengths.max().unwrap_or_default()
    }

    /// For how long the machine did nothing between two times.
    pub fn late(&self, from: Duration, to: Duration) -> Duration {
        self.pulse.stalled(from, to)
    }

    /// The spans of time between two times in which the owners stayed the same.
    fn spans(&self, from: Duration, to: Duration) -> Vec<(Duration, Duration, Owners)> {
        let mut changes: Vec<(Duration, usize, bool)> = Vec::new();
        for (director, seen) in self.seen.iter().enumerate() {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            changes.extend(seen.iter().map(|(at, has)| (*at, director, *has)));
        }
        changes.sort_unstable();
        let mut spans: Vec<(Duration, Duration, Owners)> = Vec::new();
        let mut owners = NOBODY;
        let mut start = Duration::ZERO;
        for (at, director, has) in changes {
            let (begin, end) = (start.max(from), at.min(to));
            if begin < end {
                spans.push((begin, end, owners));
            }
            owners[director] = has;
            start = at;
        }
        if start.max(from) < to {
            spans.push((start.max(from), to, owners));
        }
        spans
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a thread that watched an address panicked");
            }
        }
    }
}

/// Whether a namespace has an address now.
///
/// # Errors
///
/// If the namespace can't be entered.
pub fn has(netns: &Namespace, address: IpAddr) -> Result<bool> {
    netns.run(|| is_here(address))
}

fn is_here(address: IpAddr) -> bool {
    getifaddrs().is_ok_and(|mut all| {
        all.any(|it| has_it(&it) && it.address.is_some_and(|it| ip(&it) == Some(address)))
    })
}

fn look(stop: &AtomicBool, seen: &Seen, address: IpAddr) {
    while !stop.load(Ordering::Relaxed) {
        let is_here = is_here(address);
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.last().map(|(_, has)| *has) != Some(is_here) {
            seen.push((now(), is_here));
        }
        drop(seen);
        thread::sleep(PAUSE);
    }
}

/// Whether an address counts where it is. A director whose cable is pulled may not keep one on `eth0`.
/// FRR leaves it on a device of its own, and takes that one's carrier instead (protodown).
fn has_it(place: &InterfaceAddress) -> bool {
    place.interface_name == "eth0" || place.flags.contains(InterfaceFlags::IFF_LOWER_UP)
}

fn ip(address: &nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| it.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))
}
