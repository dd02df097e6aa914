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

/// The results for a source that is registered by another one, which are the first of the `rest`.
/// Nothing may have changed what it registers since it was waited for.
pub(crate) fn take_own<'a>(source: &impl Source, rest: &mut &'a [PollFlags]) -> &'a [PollFlags] {
    let mut waits = Vec::new();
    source.register(&mut waits);
    let (own, others) = rest.split_at(waits.len().min(rest.len()));
    *rest = others;
    own
}
