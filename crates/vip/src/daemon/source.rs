//! What the loop waits for.

use std::time::Instant;

use rustix::event::{PollFd, PollFlags};

/// Something the loop waits for. It never blocks.
pub(crate) trait Source {
    /// What it tells the loop.
    type Event;
    /// Adds its descriptors and what it waits for.
    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>);
    /// When it has something to do even if no descriptor is ready.
    fn deadline(&self) -> Option<Instant>;
    /// Does what can be done now: `ready` has the results for its descriptors, in the order of `register`.
    fn turn(&mut self, ready: &[PollFlags], now: Instant) -> Vec<Self::Event>;
}
