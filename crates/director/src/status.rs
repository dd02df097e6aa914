//! What a running instance tells about itself: one value, from which text, JSON and metrics are made.

use std::time::Duration;

use daemon_kit::seconds;
use serde::{Deserialize, Serialize};

use crate::pool::Override;

pub(crate) mod json;
mod text;

/// The state of an instance at one moment.
///
/// Everything that an instance tells is made from this value: [`text`](Self::text) for people, its
/// JSON (by serde) for programs, and metrics for Prometheus. So they can't
/// contradict each other. Times are relative to that moment, and in JSON they are seconds as
/// numbers with a fraction, with microseconds at most.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The version of this format: [`Status::VERSION`]. Members may be added within a version.
    pub version: u32,
    /// The name of the instance.
    pub instance: String,
    /// How long it has been running.
    #[serde(with = "seconds")]
    pub uptime: Duration,
    /// The configuration in force.
    pub config: ConfigStatus,
    /// The virtual services of the configuration, in its order or sorted.
    pub services: Vec<ServiceStatus>,
    /// Objects that the kernel refused, and that are tried again.
    pub held_back: Vec<HeldBack>,
    /// Changes are on their way to the kernel's table, which doesn't have yet what this says.
    #[serde(default)]
    pub writing: bool,
    /// Counters since the start.
    pub counters: Counters,
}

/// The configuration in force, and what is wrong with the file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConfigStatus {
    /// For how long it has been in force.
    #[serde(with = "seconds")]
    pub in_force_for: Duration,
    /// Why the file as it is now was not taken, with its line. An earlier one is in force then.
    pub error: Option<String>,
}

/// A virtual service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// Its key in the text form of [`ipvs::ServiceKey`]: `tcp/10.10.10.53:80`.
    pub service: String,
    /// The name of its scheduler.
    pub scheduler: String,
    /// Where traffic goes if no real server is up: `127.0.0.1:80`.
    pub fallback: Option<String>,
    /// No real server takes traffic, so the fallback would, if there is one.
    pub on_fallback: bool,
    /// Its real servers.
    pub servers: Vec<ServerStatus>,
}

/// A real server of a virtual service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerStatus {
    /// Its address and port.
    pub server: String,
    /// What its check says.
    pub state: ServerState,
    /// It gets new connections: its state allows it, so does the operator, and it isn't in
    /// maintenance.
    pub takes_traffic: bool,
    /// The configured weight, whatever its entry in the kernel's table has now.
    pub weight: u32,
    /// How long it has been in this state. None before the first verdict.
    #[serde(with = "seconds::option")]
    pub since: Option<Duration>,
    /// Its check in a few words: `http 10.10.10.102:80/check.txt`.
    pub check: String,
    /// The last verdict. None before the first.
    pub last: Option<LastVerdict>,
    /// How many verdicts in a row have contradicted the state.
    pub streak: u16,
    /// How many verdicts there were.
    pub checks: CheckCounts,
    /// How long all these checks took together.
    #[serde(with = "seconds")]
    pub took_sum: Duration,
    /// What an operator has decided about it.
    pub decision: Option<DecisionStatus>,
    /// Why it is in maintenance, and therefore takes no traffic. None if it isn't.
    pub maintenance: Option<String>,
}

/// What the check of a real server says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ServerState {
    /// It is up.
    Up,
    /// It is down.
    Down,
    /// There is no verdict yet.
    #[default]
    Unknown,
    /// It isn't checked. It takes traffic, but nothing is known about it.
    Unchecked,
}

/// The last verdict about a real server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LastVerdict {
    /// What the check found out.
    pub verdict: VerdictKind,
    /// Why the server isn't known to be up. None if it is up.
    pub reason: Option<String>,
    /// How long ago the check ended.
    #[serde(with = "seconds")]
    pub ago: Duration,
    /// How long the check took.
    #[serde(with = "seconds")]
    pub took: Duration,
}

/// A [`probe::Verdict`] without its reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictKind {
    /// The server is up.
    Up,
    /// It is down.
    Down,
    /// The check failed on this side.
    #[default]
    Inconclusive,
}

/// How many verdicts there were, by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CheckCounts {
    /// Successes.
    pub up: u64,
    /// Failures.
    pub down: u64,
    /// Checks that failed on this side.
    pub inconclusive: u64,
}

/// What an operator has decided about a real server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DecisionStatus {
    /// What was decided.
    pub decision: Override,
    /// How long it still holds. None if it doesn't end by itself.
    #[serde(with = "seconds::option")]
    pub remaining: Option<Duration>,
    /// How many connections are still open, if known.
    pub active: Option<u32>,
    /// A drained real server whose last connection has ended.
    pub drained: bool,
}

/// An object that the kernel refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeldBack {
    /// What was refused: a virtual service, or a real server of one.
    pub object: String,
    /// Why.
    pub error: String,
    /// How often it has been tried.
    pub attempts: u32,
    /// When it is tried again.
    #[serde(with = "seconds")]
    pub retry_in: Duration,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Counters {
    /// Changes that were written to the kernel's table.
    pub writes: u64,
    /// Changes that the kernel refused.
    pub refused: u64,
    /// Differences between the kernel's table and the desired one that this instance didn't make.
    pub drift: u64,
    /// Checks under way now.
    pub checks_in_flight: u64,
    /// The longest delay of a check's start, behind its schedule.
    #[serde(with = "seconds")]
    pub checks_late_max: Duration,
}

impl Status {
    /// The version of this format.
    pub const VERSION: u32 = 1;

    /// The status of an instance that has just started and knows nothing yet.
    pub fn new(instance: impl Into<String>) -> Self {
        Self {
            version: Self::VERSION,
            instance: instance.into(),
            uptime: Duration::ZERO,
            config: ConfigStatus::default(),
            services: Vec::new(),
            held_back: Vec::new(),
            writing: false,
            counters: Counters::default(),
        }
    }

    /// A table for each virtual service, for people: at most 100 columns wide unless names are long.
    /// Control characters are escaped.
    pub fn text(&self) -> String {
        text::render(self)
    }
}

impl ServerState {
    /// The state as one word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Unchecked => "unchecked",
        }
    }
}

impl LastVerdict {
    /// The verdict of a check that ended `ago` and `took` so long.
    pub fn new(verdict: &probe::Verdict, ago: Duration, took: Duration) -> Self {
        let kind = match verdict {
            probe::Verdict::Up => VerdictKind::Up,
            probe::Verdict::Down(_) => VerdictKind::Down,
            probe::Verdict::Inconclusive(_) => VerdictKind::Inconclusive,
        };
        let reason = verdict.reason().map(ToString::to_string);
        Self { verdict: kind, reason, ago, took }
    }
}

impl CheckCounts {
    /// All verdicts.
    pub const fn total(self) -> u64 {
        self.up.saturating_add(self.down).saturating_add(self.inconclusive)
    }
}

impl DecisionStatus {
    /// A decision that holds for `remaining` (None: until it is taken back).
    pub const fn new(decision: Override, remaining: Option<Duration>) -> Self {
        Self { decision, remaining, active: None, drained: false }
    }
}

#[cfg(test)]
pub(crate) mod tests;
