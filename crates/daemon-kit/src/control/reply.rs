//! Replies in their common form: values to bytes and back, without I/O.

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::control::request::VERSION;

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
    /// There is no such object.
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

impl ErrorKind {
    /// All kinds that a daemon sends.
    pub const ALL: [Self; 8] = [
        Self::Malformed,
        Self::TooLong,
        Self::Version,
        Self::Denied,
        Self::NotFound,
        Self::Failed,
        Self::Busy,
        Self::Timeout,
    ];
}

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

/// A reply as a client reads it.
#[derive(Debug, Deserialize)]
struct Line<T> {
    v: u32,
    id: Option<u64>,
    ok: Option<T>,
    error: Option<Refusal>,
}

/// What comes before and after the JSON of `ok` in a reply.
pub fn around_ok(id: u64) -> (String, &'static str) {
    (format!("{{\"v\":{VERSION},\"id\":{id},\"ok\":"), "}\n")
}

/// A reply that refuses, as a line.
pub fn refusal_line(id: Option<u64>, refusal: &Refusal) -> String {
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
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn a_kind_of_a_later_version_is_another_one() {
        let line = br#"{"v":1,"id":7,"error":{"kind":"unheard_of","message":"no"},"more":1}"#;
        let refusal = parse::<IgnoredAny>(line, 7).unwrap().unwrap_err();
        assert_eq!(refusal, Refusal::new(ErrorKind::Other, "no"));
    }

    /// Each is in the list once: this doesn't compile without a place for a new one.
    #[test]
    fn all_kinds_are_listed() {
        for (index, kind) in ErrorKind::ALL.into_iter().enumerate() {
            let place = match kind {
                ErrorKind::Malformed => 0,
                ErrorKind::TooLong => 1,
                ErrorKind::Version => 2,
                ErrorKind::Denied => 3,
                ErrorKind::NotFound => 4,
                ErrorKind::Failed => 5,
                ErrorKind::Busy => 6,
                ErrorKind::Timeout => 7,
                // It stands for what this version doesn't know, and isn't sent.
                ErrorKind::Other => usize::MAX,
            };
            assert_eq!(place, index);
        }
    }

    #[test]
    fn a_reply_is_read_back() {
        let (before, after) = around_ok(7);
        let line = format!("{before}[1,2]{after}");
        assert_eq!(parse::<Vec<u8>>(line.as_bytes(), 7), Ok(Ok(vec![1, 2])));
        assert!(parse::<Vec<u8>>(line.as_bytes(), 8).is_err());
        let refusal = Refusal::new(ErrorKind::Denied, "no");
        for id in [Some(7), None] {
            let line = refusal_line(id, &refusal);
            assert_eq!(parse::<Vec<u8>>(line.as_bytes(), 7), Ok(Err(refusal.clone())));
        }
    }
}
