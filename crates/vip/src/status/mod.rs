//! What a running daemon tells about itself: one value, from which text, JSON and metrics are made.

mod history;
mod metrics;
mod text;

use std::time::{Duration, Instant};

use daemon_kit::seconds;
use serde::{Deserialize, Serialize};
use vrrp::State;

use crate::router::{Decision, Role, Router};

pub use history::History;

/// The state of a daemon at one moment.
///
/// Everything that it tells is made from this value: [`text`](Self::text) for people, its JSON (by
/// serde) for programs, and [`metrics`](Self::metrics) for Prometheus. So they can't contradict each
/// other. Times are relative to that moment, and in JSON they are seconds as numbers with a fraction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Status {
    /// The version of this format: [`Status::VERSION`]. Members may be added within a version.
    pub version: u32,
    /// How long the daemon has been running.
    #[serde(with = "seconds")]
    pub uptime: Duration,
    /// Why the file as it is now isn't in force, with its line. An earlier one is in force then.
    pub config_error: Option<String>,
    /// The tables `[[vip]]`, in the order of the file.
    pub vips: Vec<VipStatus>,
}

/// A table `[[vip]]` at work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct VipStatus {
    /// Its name.
    pub name: String,
    /// The network interface on which its addresses are to be.
    pub interface: String,
    /// The number of the virtual router.
    pub router_id: u8,
    /// Whether the addresses are here.
    pub state: StateKind,
    /// How long it has been in this state.
    #[serde(with = "seconds")]
    pub since: Duration,
    /// Why it is in this state. None before the first change.
    pub reason: Option<String>,
    /// The priority now: 0 if it may not have the addresses.
    pub priority: u8,
    /// What the file says about the priority.
    pub configured_priority: u8,
    /// How the priority comes about: `150 - 60 (tcp/10.10.10.53:80 is down)`.
    pub priority_reason: String,
    /// Its addresses, with the lengths of their prefixes.
    pub addresses: Vec<String>,
    /// What its priority depends on, in the order of the file.
    pub tracked: Vec<TrackStatus>,
    /// What an operator has decided.
    pub decision: Option<DecisionKind>,
    /// Which of the kernel's daemons synchronizes connections. None if none does.
    pub sync: Option<SyncRole>,
    /// Adverts since the start.
    pub adverts: AdvertCounts,
    /// Changes of state since the start.
    pub transitions: TransitionCounts,
    /// What was wrong with messages of others, the newest first.
    pub noted: Vec<Noted>,
}

/// The state of a virtual router (RFC 9568 §6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StateKind {
    /// It takes no part.
    #[default]
    Initialize,
    /// Another router has the addresses.
    Backup,
    /// The addresses are here.
    Active,
}

/// Something that the priority depends on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrackStatus {
    /// What it is: `interface eth1`, `script /usr/local/bin/check`, `service tcp/10.10.10.53:80`.
    pub what: String,
    /// Whether it is up.
    pub up: bool,
    /// What it weighs: 0 if the router leaves while it is down.
    pub weight: i16,
}

/// What an operator has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DecisionKind {
    /// The addresses go elsewhere.
    Release,
    /// The addresses come here.
    Prefer,
}

/// Which of the kernel's two daemons synchronizes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyncRole {
    /// It sends them.
    Master,
    /// It receives them.
    Backup,
}

/// How many adverts there were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AdvertCounts {
    /// Sent, to each destination.
    pub sent: u64,
    /// Received from other routers of the same number, even if they were wrong.
    pub received: u64,
}

/// How often each state was entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TransitionCounts {
    /// [`StateKind::Initialize`].
    pub initialize: u64,
    /// [`StateKind::Backup`].
    pub backup: u64,
    /// [`StateKind::Active`].
    pub active: u64,
}

/// What was wrong with the messages of one sender.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Noted {
    /// The sender.
    pub from: String,
    /// What was wrong.
    pub what: String,
    /// How many messages, one after the other.
    pub count: u64,
    /// How long ago the last one came.
    #[serde(with = "seconds")]
    pub ago: Duration,
}

impl Status {
    /// The version of this format.
    pub const VERSION: u32 = 1;

    /// The status of a daemon that has been running for `uptime`, with no table yet.
    pub fn new(uptime: Duration) -> Self {
        Self { version: Self::VERSION, uptime, ..Self::default() }
    }

    /// A table for people. Control characters are escaped.
    pub fn text(&self) -> String {
        text::render(self)
    }

    /// Metrics in Prometheus's text format, version 0.0.4. Every sample has the label `name`, a
    /// table's name. Times are seconds.
    ///
    /// | metric | labels beside `name` | |
    /// | --- | --- | --- |
    /// | `vip_state` | `state` | 1 for the state that it is in, 0 for the others |
    /// | `vip_state_since_seconds` | | for how long |
    /// | `vip_priority` | | the priority now |
    /// | `vip_tracked_up` | `what` | 1 or 0 |
    /// | `vip_decision` | `decision` | 1 while an operator's decision holds |
    /// | `vip_transitions_total` | `state` | how often each state was entered |
    /// | `vip_adverts_total` | `direction` | adverts: `sent`, `received` |
    /// | `vip_config_ok` | none at all | 0 if the file on disk can't be used |
    /// | `vip_uptime_seconds` | none at all | how long the daemon has been running |
    pub fn metrics(&self) -> String {
        metrics::render(self)
    }
}

impl VipStatus {
    /// The status of a table, which has gone through this.
    pub fn new(router: &Router, history: &History, now: Instant) -> Self {
        let vip = router.vip();
        let tracked = vip.track.iter().enumerate().map(|(index, track)| TrackStatus {
            what: track.what.to_string(),
            up: router.is_up(index).unwrap_or(true),
            weight: track.weight,
        });
        let tracked: Vec<TrackStatus> = tracked.collect();
        let decision = match router.decision() {
            Decision::None => None,
            Decision::Release => Some(DecisionKind::Release),
            Decision::Prefer => Some(DecisionKind::Prefer),
        };
        Self {
            name: vip.name.clone(),
            interface: vip.interface.clone(),
            router_id: vip.router_id.get(),
            state: router.state().into(),
            since: history.since(now),
            reason: history.reason().map(str::to_owned),
            priority: router.priority(),
            configured_priority: vip.priority,
            priority_reason: match router.contested() {
                Some(ip) => format!("something else removes {ip} again and again"),
                None => priority_reason(vip.priority, &tracked, decision),
            },
            addresses: vip.addresses.iter().map(ToString::to_string).collect(),
            tracked,
            decision,
            sync: router.role().map(SyncRole::from),
            adverts: history.adverts(),
            transitions: history.transitions(),
            noted: history.noted(now),
        }
    }
}

impl StateKind {
    /// All states.
    pub const ALL: [Self; 3] = [Self::Initialize, Self::Backup, Self::Active];

    /// The state as one word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
        }
    }
}

impl From<State> for StateKind {
    fn from(state: State) -> Self {
        match state {
            State::Initialize => Self::Initialize,
            State::Backup => Self::Backup,
            State::Active => Self::Active,
        }
    }
}

impl DecisionKind {
    /// The decision as one word, as in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Prefer => "prefer",
        }
    }
}

impl From<Role> for SyncRole {
    fn from(role: Role) -> Self {
        match role {
            Role::Master => Self::Master,
            Role::Backup => Self::Backup,
        }
    }
}

impl TransitionCounts {
    /// How often this state was entered.
    pub const fn of(self, state: StateKind) -> u64 {
        match state {
            StateKind::Initialize => self.initialize,
            StateKind::Backup => self.backup,
            StateKind::Active => self.active,
        }
    }
}

/// How a priority comes about, as [`vrrp::Tracker`] and operators make it.
fn priority_reason(
    configured: u8,
    tracked: &[TrackStatus],
    decision: Option<DecisionKind>,
) -> String {
    if decision == Some(DecisionKind::Release) {
        return "released by an operator".to_owned();
    }
    if let Some(down) = tracked.iter().find(|it| it.weight == 0 && !it.up) {
        return format!("{} is down", down.what);
    }
    if decision == Some(DecisionKind::Prefer) {
        return "preferred by an operator".to_owned();
    }
    if configured == vrrp::OWNER {
        return "it owns the addresses".to_owned();
    }
    let counts = tracked.iter().filter(|it| it.weight != 0 && (it.weight > 0) == it.up);
    let mut text = configured.to_string();
    for it in counts {
        let (sign, state) = if it.weight > 0 { ('+', "up") } else { ('-', "down") };
        text += &format!(" {sign} {} ({} is {state})", it.weight.unsigned_abs(), it.what);
    }
    text
}

#[cfg(test)]
mod tests;
