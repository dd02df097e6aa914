//! What the engine knows of one check.

use std::time::Duration;

use probe::{Probe, Reason, ReasonKind, Turn, Verdict};

use crate::checks::CheckId;

/// Of so many checks in a row whose time ran out while this process stood still, the last one counts.
const STALLS: u8 = 3;

/// What is known of one check.
#[derive(Clone, Debug)]
pub(crate) struct CheckState {
    pub(super) id: CheckId,
    pub(super) turn: Turn,
    pub(super) in_flight: bool,
    /// How many in a row have said nothing because this process stood still.
    stalls: u8,
    /// The last verdict, how long after the engine's start it came, and how long the check took.
    pub(super) last: Option<(Verdict, Nanos, Nanos)>,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) inconclusive: u64,
    /// How long all checks that counted took together.
    pub(super) took: Nanos,
}

/// A time in nanoseconds, of 584 years at most. There may be tens of thousands, and a [`Duration`] is
/// twice as large.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nanos(pub(super) u64);

impl From<Duration> for Nanos {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl From<Nanos> for Duration {
    fn from(nanos: Nanos) -> Self {
        Self::from_nanos(nanos.0)
    }
}

impl CheckState {
    /// A check that has never been made.
    pub(super) fn new(id: CheckId, probe: &Probe) -> Self {
        Self {
            id,
            turn: Turn::of(probe),
            in_flight: false,
            stalls: 0,
            last: None,
            up: 0,
            down: 0,
            inconclusive: 0,
            took: Nanos::default(),
        }
    }

    /// The verdict that counts. A check whose time ran out while this process stood still says nothing, and
    /// is made again. On a machine that always stands still for a moment a server that hangs would stay for
    /// ever, so after some of these it counts. One that answers is heard however late that is.
    pub(super) fn after_stalls(&mut self, verdict: Verdict) -> Verdict {
        let reason = match &verdict {
            Verdict::Inconclusive(reason) if reason.kind() == ReasonKind::Stalled => reason,
            _ => {
                self.stalls = 0;
                return verdict;
            }
        };
        self.stalls += 1;
        if self.stalls < STALLS {
            return verdict;
        }
        self.stalls = 0;
        Verdict::Down(Reason::new(ReasonKind::Timeout, reason.stage(), reason.text()))
    }

    /// Counts a verdict.
    pub(super) fn count(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Up => self.up += 1,
            Verdict::Down(_) => self.down += 1,
            Verdict::Inconclusive(_) => self.inconclusive += 1,
        }
    }

    /// How long all checks that counted took together.
    pub(crate) fn took(&self) -> Duration {
        self.took.into()
    }
}
