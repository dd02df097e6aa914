//! What a table has gone through, for its status.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::{AdvertCounts, Noted, StateKind, TransitionCounts};
use crate::router::Action;

/// How many things that were wrong with messages are remembered.
const NOTED: usize = 8;

/// What one table `[[vip]]` has gone through.
///
/// Show it each action of its [`Router`](crate::router::Router) in [`note`](Self::note), and each
/// message that comes to it in [`received`](Self::received).
#[derive(Clone, Debug)]
pub struct History {
    since: Instant,
    reason: Option<String>,
    adverts: AdvertCounts,
    transitions: TransitionCounts,
    /// The newest first.
    noted: VecDeque<Remark>,
}

#[derive(Clone, Debug)]
struct Remark {
    from: IpAddr,
    what: String,
    count: u64,
    last: Instant,
}

impl History {
    /// It begins now.
    pub fn new(now: Instant) -> Self {
        Self {
            since: now,
            reason: None,
            adverts: AdvertCounts::default(),
            transitions: TransitionCounts::default(),
            noted: VecDeque::new(),
        }
    }

    /// The router wants this done.
    pub fn note(&mut self, action: &Action, now: Instant) {
        match action {
            Action::Send { .. } => self.adverts.sent += 1,
            Action::State { to, reason } => {
                self.since = now;
                self.reason = Some(reason.clone());
                let count = match StateKind::from(*to) {
                    StateKind::Initialize => &mut self.transitions.initialize,
                    StateKind::Backup => &mut self.transitions.backup,
                    StateKind::Active => &mut self.transitions.active,
                };
                *count += 1;
            }
            Action::Noted { from, what } => self.remark(*from, what, now),
            _ => {}
        }
    }

    /// A message for its virtual router came.
    pub fn received(&mut self) {
        self.adverts.received += 1;
    }

    fn remark(&mut self, from: IpAddr, what: &str, now: Instant) {
        let known = self.noted.iter().position(|it| it.from == from && it.what == what);
        let count = 1 + known.and_then(|at| self.noted.remove(at)).map_or(0, |it| it.count);
        self.noted.push_front(Remark { from, what: what.to_owned(), count, last: now });
        self.noted.truncate(NOTED);
    }

    pub(super) fn since(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }

    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    pub(super) const fn adverts(&self) -> AdvertCounts {
        self.adverts
    }

    pub(super) const fn transitions(&self) -> TransitionCounts {
        self.transitions
    }

    pub(super) fn noted(&self, now: Instant) -> Vec<Noted> {
        let noted = self.noted.iter().map(|it| Noted {
            from: it.from.to_string(),
            what: it.what.clone(),
            count: it.count,
            ago: now.saturating_duration_since(it.last),
        });
        noted.collect()
    }
}
