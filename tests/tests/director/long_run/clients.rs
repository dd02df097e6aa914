//! Clients, and which of their errors are explained by what happened.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ipvs_tests::acceptance::pulse::{Pulse, now};
use ipvs_tests::acceptance::world::get_here;
use splitmix::Random;

use super::day::{STABLE, vip};

/// How long a client waits for each step.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it rests after each request.
const REST: Duration = Duration::from_millis(40);

/// What clients have seen.
#[derive(Debug, Default)]
pub(super) struct Clients {
    pub(super) stop: AtomicBool,
    pub(super) answered: AtomicU64,
    failures: Mutex<Vec<Failure>>,
}

/// A request without a reply.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) service: usize,
    /// Since the epoch.
    from: Duration,
    to: Duration,
    kind: ErrorKind,
    text: String,
}

/// A span of time, and the services whose connections may have been broken in it.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) from: Duration,
    pub(super) to: Duration,
    pub(super) harmed: BTreeSet<usize>,
}

impl Clients {
    /// Requests pages from services that are always there, one after the other, in the calling
    /// thread's network namespace.
    pub(super) fn request(&self, seed: u64) {
        let mut random = Random::new(seed);
        while !self.stop.load(Ordering::Relaxed) {
            let service = random.below(STABLE);
            let from = now();
            match get_here(vip(service), "/who.txt", PATIENCE) {
                Ok(_) => drop(self.answered.fetch_add(1, Ordering::Relaxed)),
                Err(error) => {
                    let (kind, text) = (error.kind(), error.to_string());
                    let failure = Failure { service, from, to: now(), kind, text };
                    self.failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
                }
            }
            std::thread::sleep(REST);
        }
    }

    /// How many failures are explained, and those that aren't. Failures that end after `until` stay
    /// for the next call.
    pub(super) fn judge(
        &self,
        steps: &[Step],
        pulse: &Pulse,
        until: Duration,
    ) -> (usize, Vec<Failure>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let (ready, later): (Vec<Failure>, Vec<Failure>) =
            failures.drain(..).partition(|failure| failure.to <= until);
        *failures = later;
        let all = ready.len();
        let unexplained: Vec<Failure> = ready
            .into_iter()
            .filter(|failure| {
                let overlaps = |step: &&Step| step.from <= failure.to && step.to >= failure.from;
                let mut during = steps.iter().rev().filter(overlaps);
                !during.any(|step| step.harmed.contains(&failure.service))
                    && !failure.is_the_machines(pulse)
            })
            .collect();
        (all - unexplained.len(), unexplained)
    }
}

impl Failure {
    /// Whether the client waited too long because everything stood still for that time.
    fn is_the_machines(&self, pulse: &Pulse) -> bool {
        let late = matches!(self.kind, ErrorKind::TimedOut | ErrorKind::WouldBlock);
        late && pulse.stalled(self.from, self.to) > PATIENCE / 2
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let took = self.to.saturating_sub(self.from);
        write!(f, "{} after {took:.2?}: {}", vip(self.service), self.text)
    }
}
