//! The status of an engine.

use std::fmt::Write as _;
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
    /// What there is to say at `now`. The instance's name and its configuration file are for others
    /// to fill in.
    pub(crate) fn status(&self, now: Instant) -> Status {
        let mut status = Status::new("");
        status.services =
            self.pools().all().map(|(key, active)| self.service(*key, active, now)).collect();
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
        status
    }

    fn service(&self, key: ServiceKey, active: &Active, now: Instant) -> ServiceStatus {
        let pool = &active.pool;
        let servers = pool.members.iter().map(|(server, member)| {
            let state = active.state(server).unwrap_or_default();
            self.server((key, *server), member, state, now)
        });
        ServiceStatus {
            service: key.to_string(),
            scheduler: pool.service.scheduler.map(|it| it.to_string()).unwrap_or_default(),
            fallback: pool.fallback.map(|it| it.key().to_string()),
            on_fallback: active.on_fallback,
            servers: servers.collect(),
        }
    }

    fn server(
        &self,
        (service, server): (ServiceKey, DestinationKey),
        member: &Member,
        state: MemberState,
        now: Instant,
    ) -> ServerStatus {
        let health = self.pools().health(member);
        let checked = self.check(&member.probe);
        // Most texts fit, so that they needn't grow.
        let mut check = String::with_capacity(64);
        let _ = write!(check, "{}", member.probe);
        let mut status = ServerStatus {
            server: endpoint(&server),
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
        status
    }
}
