//! Replies: values to bytes and back, without I/O.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::request::VERSION;
use crate::decisions::DecideError;
use crate::run::{Ended, LoadError, Loaded};
use crate::status::Status;

/// Why a request wasn't done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Refusal {
    /// What kind of reason it is, for programs.
    pub kind: ErrorKind,
    /// The reason, for people: one line, or several.
    pub message: String,
}

/// Kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The line is no request.
    Malformed,
    /// The line is longer than a request may be. The connection ends.
    TooLong,
    /// The other side speaks another version of the protocol.
    Version,
    /// The client's user may not ask for that.
    Denied,
    /// No virtual service has this real server.
    NotFound,
    /// It was tried, and failed.
    Failed,
    /// There are too many clients, or too many replies that nobody reads.
    Busy,
    /// It wasn't done in time, or the client didn't finish its request in time. What the client
    /// asked for may still be done.
    Timeout,
    /// A kind that this version doesn't know.
    #[serde(other)]
    Other,
}

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

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

impl From<String> for Refusal {
    /// Something was tried, and failed.
    fn from(message: String) -> Self {
        Self::new(ErrorKind::Failed, message)
    }
}

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

/// A reply as a client reads it.
#[derive(Debug, Deserialize)]
struct Line<T> {
    v: u32,
    id: Option<u64>,
    ok: Option<T>,
    error: Option<Refusal>,
}

/// What comes before and after the JSON of `ok` in a reply.
pub(crate) fn around_ok(id: u64) -> (String, &'static str) {
    (format!("{{\"v\":{VERSION},\"id\":{id},\"ok\":"), "}\n")
}

/// A reply that refuses, as a line.
pub(crate) fn refusal_line(id: Option<u64>, refusal: &Refusal) -> String {
    let line = serde_json::json!({ "v": VERSION, "id": id, "error": refusal });
    format!("{line}\n")
}

/// Reads a reply to the request `id`.
///
/// # Errors
///
/// What is wrong with the line. The reply may be a refusal, which is no error here.
pub fn parse<T: DeserializeOwned>(line: &[u8], id: u64) -> Result<Result<T, Refusal>, String> {
    let line: Line<T> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if line.v != VERSION {
        return Err(format!("it has version {} and not {VERSION}", line.v));
    }
    // A refusal without a number is about the connection.
    if line.id.is_some_and(|it| it != id) || (line.id.is_none() && line.error.is_none()) {
        return Err(format!("it replies to another request than {id}"));
    }
    match (line.ok, line.error) {
        (Some(value), None) => Ok(Ok(value)),
        (None, Some(refusal)) => Ok(Err(refusal)),
        _ => Err("it has neither `ok` nor `error`, or both".to_owned()),
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
        let first = ErrorKind::Malformed;
        let all = std::iter::successors(Some(first), |kind| match kind {
            ErrorKind::Malformed => Some(ErrorKind::TooLong),
            ErrorKind::TooLong => Some(ErrorKind::Version),
            ErrorKind::Version => Some(ErrorKind::Denied),
            ErrorKind::Denied => Some(ErrorKind::NotFound),
            ErrorKind::NotFound => Some(ErrorKind::Failed),
            ErrorKind::Failed => Some(ErrorKind::Busy),
            ErrorKind::Busy => Some(ErrorKind::Timeout),
            // The second isn't sent: it stands for what this version doesn't know.
            ErrorKind::Timeout | ErrorKind::Other => None,
        });
        let all: Vec<_> = all.map(|kind| serde_json::to_value(kind).unwrap()).collect();
        assert_eq!(all, documented);
    }

    #[test]
    fn a_kind_of_a_later_version_is_another_one() {
        let line = br#"{"v":1,"id":7,"error":{"kind":"unheard_of","message":"no"},"more":1}"#;
        let refusal = parse::<Done>(line, 7).unwrap().unwrap_err();
        assert_eq!(refusal, Refusal::new(ErrorKind::Other, "no"));
    }
}
