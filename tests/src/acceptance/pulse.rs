//! A control for times: how late this machine lets anything go on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;

/// How long the thread sleeps at a time.
const SLEEP: Duration = Duration::from_millis(20);

/// Sleeping takes up to a tick more than it should, 10 ms with 100 ticks a second.
const TICK: Duration = Duration::from_millis(10);

/// A thread that only sleeps, and keeps when it was woken late. A busy machine makes everything in a
/// guest late; what is measured at the same time is late by that much without being at fault.
#[derive(Debug)]
pub struct Pulse {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    stalls: Arc<Mutex<Vec<[Duration; 2]>>>,
}

/// The time since the epoch, as in logs.
pub fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// For how much of a time the machine accounts, in words; nothing if that is too little to see.
pub fn of_the_machine(stalled: Duration) -> String {
    match stalled >= Duration::from_millis(10) {
        true => format!(" ({:.2} s of that the machine)", stalled.as_secs_f64()),
        false => String::new(),
    }
}

impl Pulse {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If there can't be another thread.
    pub fn start() -> Result<Self> {
        let (stop, stalls) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let (stopped, kept): (_, Arc<Mutex<Vec<_>>>) = (Arc::clone(&stop), Arc::clone(&stalls));
        let thread = thread::Builder::new().name("pulse".to_owned()).spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let begin = Instant::now();
                thread::sleep(SLEEP);
                let late = begin.elapsed().saturating_sub(SLEEP);
                if late > TICK {
                    let end = now();
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push([end.saturating_sub(late), end]);
                }
            }
        })?;
        Ok(Self { stop, thread: Some(thread), stalls })
    }

    /// For how long nothing went on within a span of time since the epoch.
    pub fn stalled(&self, from: Duration, to: Duration) -> Duration {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let within =
            stalls.iter().map(|[begin, end]| (*end).min(to).saturating_sub((*begin).max(from)));
        within.sum()
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the pulse panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stalls_count_as_far_as_they_are_within_the_span() {
        let seconds = Duration::from_secs_f64;
        let pulse = Pulse {
            stop: Arc::default(),
            thread: None,
            stalls: Arc::new(Mutex::new(vec![
                [seconds(1.0), seconds(1.5)],
                [seconds(3.0), seconds(4.0)],
            ])),
        };
        let stalled = |from, to| pulse.stalled(seconds(from), seconds(to));
        assert_eq!(stalled(0.0, 9.0), seconds(1.5));
        assert_eq!(stalled(1.25, 3.5), seconds(0.75));
        assert_eq!(stalled(1.5, 3.0), Duration::ZERO);
    }

    #[test]
    fn a_pulse_knows_of_no_stall_before_it_began() {
        let begin = now();
        let pulse = Pulse::start().unwrap();
        thread::sleep(2 * SLEEP);
        assert_eq!(pulse.stalled(Duration::ZERO, begin), Duration::ZERO);
    }
}
