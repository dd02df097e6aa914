//! The status of an engine.

use std::fmt::{Display, Write as _};
use std::mem;
use std::time::Instant;

use ipvs::{DestinationKey, ServiceKey};
use probe::Check;

use crate::digits::endpoint;
use crate::engine::Engine;
use crate::pool::{Active, Member, MemberState, Override};
use crate::status::{
    CheckCounts, Counters, DecisionStatus, HeldBack, LastVerdict, ServerState, ServerStatus,
    ServiceStatus, Status,
};

impl Engine {
    /// Brings a status up to `now`. The instance's name and its configuration file are for others to fill
    /// in.
    ///
    /// A status with a thousand real servers has three thousand texts and lists. Their memory is used
    /// again: new memory, page by page, would take longer than all else.
    pub(crate) fn describe(&self, status: &mut Status, now: Instant) {
        refill(&mut status.services, self.pools().all(), |service, (key, active)| {
            self.service(service, *key, active, now);
        });
        status.held_back = self
            .refusals()
            .iter()
            .map(|(object, refusal)| HeldBack {
                object: object.to_string(),
                error: refusal.error.clone(),
                attempts: refusal.attempts,
                retry_in: refusal.retry_at.saturating_duration_since(now),
            })
            .collect();
        status.writing = self.is_writing() || self.pools().has_touched();
        let counts = self.counts();
        status.counters = Counters {
            writes: counts.writes,
            refused: counts.refused,
            drift: counts.drift,
            checks_in_flight: u64::try_from(self.in_flight()).unwrap_or(u64::MAX),
            checks_late_max: counts.latest,
        };
    }

    fn service(&self, status: &mut ServiceStatus, key: ServiceKey, active: &Active, now: Instant) {
        let pool = &active.pool;
        display(&mut status.service, key);
        status.scheduler.clear();
        if let Some(scheduler) = pool.service.scheduler {
            display(&mut status.scheduler, scheduler);
        }
        status.fallback = pool.fallback.map(|it| it.key().to_string());
        status.on_fallback = active.on_fallback;
        refill(&mut status.servers, &pool.members, |it, (server, member)| {
            let state = active.state(server).unwrap_or_default();
            self.server(it, (key, *server), member, state, now);
        });
    }

    fn server(
        &self,
        status: &mut ServerStatus,
        (service, server): (ServiceKey, DestinationKey),
        member: &Member,
        state: MemberState,
        now: Instant,
    ) {
        let health = self.pools().health(member);
        let checked = self.check(&member.probe);
        let (mut name, mut check) = (mem::take(&mut status.server), mem::take(&mut status.check));
        name.clear();
        endpoint(&mut name, &server);
        display(&mut check, &member.probe);
        *status = ServerStatus {
            server: name,
            state: match &*member.probe.check {
                Check::On => ServerState::Unchecked,
                _ if state.admitted => ServerState::Up,
                _ if state.judged => ServerState::Down,
                _ => ServerState::Unknown,
            },
            takes_traffic: state.takes_traffic(),
            weight: member.destination.weight,
            since: health
                .and_then(probe::Health::since)
                .map(|since| now.saturating_duration_since(since)),
            check,
            streak: health.map_or(0, probe::Health::streak),
            ..ServerStatus::default()
        };
        // What isn't checked has no verdicts, only formal ones.
        if let Some(it) = checked.filter(|_| status.state != ServerState::Unchecked) {
            status.checks = CheckCounts { up: it.up, down: it.down, inconclusive: it.inconclusive };
            status.took_sum = it.took();
            let last = self.last(it, now);
            status.last = last.map(|(verdict, ago, took)| LastVerdict::new(verdict, ago, took));
        }
        status.decision = state.decision.map(|decision| {
            let until = self.pools().decisions().of(&service, &server).and_then(|it| it.until);
            let remaining = until.map(|until| until.saturating_duration_since(now));
            let mut decided = DecisionStatus::new(decision, remaining);
            decided.active = self.connections(service, server);
            decided.drained = decision == Override::Drain && decided.active == Some(0);
            decided
        });
        status.maintenance = self.pools().maintenance(service, server).map(str::to_owned);
    }
}

/// Makes a list with as many items as there are, each in the place of a former one if there is one.
fn refill<T: Default, I: IntoIterator>(
    list: &mut Vec<T>,
    from: I,
    mut fill: impl FnMut(&mut T, I::Item),
) {
    let from = from.into_iter();
    list.reserve(from.size_hint().0.saturating_sub(list.len()));
    let mut count = 0;
    for item in from {
        if count == list.len() {
            list.push(T::default());
        }
        if let Some(place) = list.get_mut(count) {
            fill(place, item);
        }
        count += 1;
    }
    list.truncate(count);
}

/// Replaces a text.
fn display(text: &mut String, value: impl Display) {
    text.clear();
    // A string takes all that is written.
    let _ = write!(text, "{value}");
}
