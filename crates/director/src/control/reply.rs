//! Replies of this daemon. Their common form is in [`daemon_kit::control::reply`].

use daemon_kit::control::{ErrorKind, Refusal};
use serde::{Deserialize, Serialize};

use crate::decisions::DecideError;
use crate::run::{Ended, LoadError, Loaded};
use crate::status::Status;

/// The outcome of a reload: the new configuration is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reloaded {
    /// What there is to say about it: warnings, say.
    pub message: String,
    /// Objects of the new configuration that the kernel refused, each with the reason. They are
    /// tried again, and the rest is in force.
    pub held_back: Vec<String>,
}

/// The state of a virtual service, for those who only want to know whether it works.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PoolState {
    /// Its key.
    pub service: String,
    /// How many real servers are up or unchecked, and take traffic.
    pub up: usize,
    /// How many there are.
    pub servers: usize,
    /// No real server takes traffic.
    pub on_fallback: bool,
}

/// The value of `subscribe`'s replies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pools {
    pub(crate) pools: Vec<PoolState>,
}

/// The value of `metrics`' reply, whose line the text follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Text {
    /// How many bytes it has.
    pub(crate) length: usize,
}

/// The value of a reply that says no more than "done".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Done {}

impl From<DecideError> for Refusal {
    fn from(error: DecideError) -> Self {
        let kind = match error {
            DecideError::NotFound(_) => ErrorKind::NotFound,
            DecideError::Broader(_) => ErrorKind::Failed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LoadError> for Refusal {
    fn from(error: LoadError) -> Self {
        Self::new(ErrorKind::Failed, error.to_string())
    }
}

impl From<Ended> for Refusal {
    fn from(ended: Ended) -> Self {
        Self::new(ErrorKind::Failed, ended.to_string())
    }
}

impl From<Loaded> for Reloaded {
    fn from(loaded: Loaded) -> Self {
        let refused = loaded.refused.iter();
        let held_back = refused.map(|(object, error)| format!("{object}: {error}")).collect();
        Self { message: String::new(), held_back }
    }
}

impl Reloaded {
    /// All of the new configuration is in force.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), held_back: Vec::new() }
    }
}

impl PoolState {
    /// The state of each virtual service of a status.
    pub fn all(status: &Status) -> Vec<Self> {
        let services = status.services.iter();
        let pools = services.map(|it| Self {
            service: it.service.clone(),
            up: it.servers.iter().filter(|server| server.takes_traffic).count(),
            servers: it.servers.len(),
            on_fallback: it.on_fallback,
        });
        pools.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kinds_of_errors_are_those_in_the_table() {
        let page = include_str!("../../CONTROL.md").split_once("\n## ").unwrap().0;
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: Vec<&str> = rows.map(|row| row.split_once('`').unwrap().0).collect();
        let all = ErrorKind::ALL.map(|kind| serde_json::to_value(kind).unwrap());
        assert_eq!(&all[..], documented);
    }
}
