//! Requests in their common form: bytes to values and back, without I/O.

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::control::reply::{ErrorKind, Refusal};

/// The version of the protocol.
pub const VERSION: u32 = 1;

/// The longest request in bytes, with its line feed.
pub const LINE_MAX: usize = 64 * 1024;

/// A request whose name and members nobody has looked at yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The number that the client gave it. It is returned with the reply.
    pub id: u64,
    /// What is asked for.
    pub name: String,
    /// What else the line says: [`members`] reads it.
    pub members: Map<String, Value>,
}

/// A line that is no request.
#[derive(Clone, Debug, PartialEq)]
pub struct Malformed {
    /// The request's number, if it could be read.
    pub id: Option<u64>,
    /// What is wrong with it.
    pub refusal: Refusal,
    /// Nothing after it can be read. The connection has to end.
    pub is_final: bool,
}

impl Malformed {
    /// A request with the number `id` that asks for something that doesn't exist, or in a wrong way.
    pub fn call(id: u64, message: impl Into<String>) -> Self {
        let refusal = Refusal::new(ErrorKind::Malformed, message);
        Self { id: Some(id), refusal, is_final: false }
    }
}

/// Bytes in, requests out.
///
/// It has no I/O. Call [`push`](Self::push) with what was read, then [`poll`](Self::poll) until it
/// returns None. It holds one incomplete line, of at most [`LINE_MAX`] bytes, and what was pushed
/// since `poll` last returned None. After a line that is too long it reads nothing more.
///
/// ```
/// use daemon_kit::control::Decoder;
///
/// let mut decoder = Decoder::new();
/// decoder.push(br#"{"v":1,"id":7,"request":"status"}"#);
/// assert_eq!(decoder.poll(), None);
/// decoder.push(b"\n");
/// let call = decoder.poll().ok_or("a line")?.map_err(|it| it.refusal)?;
/// assert_eq!((call.id, call.name.as_str()), (7, "status"));
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// How many of them belong to lines that were returned.
    done: usize,
    /// How many were searched for the end of a line.
    searched: usize,
    is_over: bool,
}

impl Decoder {
    /// A decoder at the start of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_over {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// The next complete line as a request. Empty lines are skipped.
    pub fn poll(&mut self) -> Option<Result<Call, Malformed>> {
        loop {
            let rest = &self.bytes[self.done..];
            let end = rest[self.searched..].iter().position(|it| *it == b'\n');
            let end = end.map(|it| it + self.searched);
            if end.map_or(rest.len(), |end| end + 1) > LINE_MAX {
                *self = Self { is_over: true, ..Self::default() };
                let message = format!("a request may have {LINE_MAX} bytes at most");
                let refusal = Refusal::new(ErrorKind::TooLong, message);
                return Some(Err(Malformed { id: None, refusal, is_final: true }));
            }
            let Some(end) = end else {
                self.bytes.drain(..self.done);
                (self.done, self.searched) = (0, self.bytes.len());
                return None;
            };
            let line = rest[..end].trim_ascii();
            let result = (!line.is_empty()).then(|| parse(line));
            self.done += end + 1;
            self.searched = 0;
            if result.is_some() {
                return result;
            }
        }
    }

    /// Whether the bytes are too many for a line. [`poll`](Self::poll) says so.
    pub fn is_too_long(&self) -> bool {
        self.bytes.len() - self.done > LINE_MAX
    }

    /// Whether [`poll`](Self::poll) has something to return, or to skip.
    pub fn has_line(&self) -> bool {
        self.is_too_long() || self.bytes[self.done + self.searched..].contains(&b'\n')
    }

    /// Whether an incomplete line is waiting for its end. Ask when [`poll`](Self::poll) has
    /// returned None.
    pub fn is_unfinished(&self) -> bool {
        self.bytes.len() > self.done
    }
}

impl Call {
    /// The request as a line, with its line feed.
    pub fn to_line(&self) -> String {
        let mut line = Map::new();
        line.insert("v".to_owned(), VERSION.into());
        line.insert("id".to_owned(), self.id.into());
        line.insert("request".to_owned(), self.name.as_str().into());
        line.extend(self.members.clone());
        format!("{}\n", Value::Object(line))
    }
}

/// Reads the members of the request `name`.
///
/// # Errors
///
/// What is wrong with them, with the request's name: a type that doesn't allow unknown members makes
/// a misspelt one an error.
pub fn members<T: DeserializeOwned>(name: &str, members: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(members)).map_err(|error| {
        // It quotes what the client wrote.
        let error: String = error.to_string().chars().take(200).collect();
        format!("{name}: {error}")
    })
}

fn parse(line: &[u8]) -> Result<Call, Malformed> {
    let no_object = |reason: &dyn fmt::Display| Malformed {
        id: None,
        refusal: Refusal::new(ErrorKind::Malformed, format!("not a request: {reason}")),
        is_final: false,
    };
    let mut members: Map<String, Value> =
        serde_json::from_slice(line).map_err(|error| no_object(&error))?;
    let id = members.remove("id");
    let id = id.as_ref().and_then(Value::as_u64);
    let malformed =
        |kind, message| Malformed { id, refusal: Refusal::new(kind, message), is_final: false };
    match members.remove("v") {
        Some(it) if it == VERSION => {}
        Some(_) => {
            let message = format!("this side speaks version {VERSION} of the protocol");
            return Err(malformed(ErrorKind::Version, message));
        }
        None => return Err(malformed(ErrorKind::Malformed, "`v` is missing".to_owned())),
    }
    let Some(id) = id else {
        let message = "`id` is missing, or not a whole number from 0 to 2^64 - 1";
        return Err(malformed(ErrorKind::Malformed, message.to_owned()));
    };
    match members.remove("request") {
        Some(Value::String(name)) => Ok(Call { id, name, members }),
        _ => {
            let message = "`request` is missing, or not a string".to_owned();
            Err(malformed(ErrorKind::Malformed, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_endless_line_takes_no_more_memory_than_the_longest_one() {
        let mut decoder = Decoder::new();
        let mut errors = 0;
        for _ in 0..10_000 {
            decoder.push(&[b'x'; 1024]);
            errors += std::iter::from_fn(|| decoder.poll()).count();
            assert!(decoder.bytes.capacity() <= 2 * (LINE_MAX + 1024));
        }
        assert_eq!(errors, 1);
    }

    proptest! {
        #[test]
        fn a_line_is_read_back_as_the_call(
            id in any::<u64>(),
            name in any::<String>(),
            members in prop::collection::hash_map("[a-z]{3,6}", any::<u32>(), 0..4),
        ) {
            let members: Map<String, Value> =
                members.into_iter().filter(|(key, _)| key != "request").map(|(key, value)| (key, value.into())).collect();
            let call = Call { id, name, members };
            let mut decoder = Decoder::new();
            decoder.push(call.to_line().as_bytes());
            prop_assert!(decoder.has_line());
            prop_assert_eq!(decoder.poll(), Some(Ok(call)));
            prop_assert!(!decoder.is_unfinished() && !decoder.has_line());
        }
    }
}
