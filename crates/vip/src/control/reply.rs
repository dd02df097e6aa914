//! Replies of this daemon. Their common form is in [`daemon_kit::control::reply`].

use std::sync::Arc;

use daemon_kit::control::{ErrorKind, Refusal};
use serde::{Deserialize, Serialize};

use crate::status::Status;

/// What a request led to, as JSON and as the text that follows the line. Clones share both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    pub(crate) ok: Arc<str>,
    pub(crate) text: Arc<str>,
}

/// The outcome of a decision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Decided {
    /// The names of the tables that it is about.
    pub vips: Vec<String>,
}

/// The outcome of a reload: the new configuration is in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Reloaded {
    /// What there is to say about it.
    pub message: String,
}

/// The value of `metrics`' reply, whose line the text follows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Text {
    /// How many bytes it has.
    pub(super) length: usize,
}

impl Reply {
    /// The reply to [`Request::Status`](super::Request::Status).
    ///
    /// # Errors
    ///
    /// If it can't be written as JSON.
    pub fn status(status: &Status) -> Result<Self, Refusal> {
        Self::of(status)
    }

    /// The reply to [`Request::Metrics`](super::Request::Metrics).
    ///
    /// # Errors
    ///
    /// If it can't be written as JSON.
    pub fn metrics(status: &Status) -> Result<Self, Refusal> {
        let text = status.metrics();
        let ok = Self::of(&Text { length: text.len() })?.ok;
        Ok(Self { ok, text: text.into() })
    }

    /// The reply to [`Request::Decide`](super::Request::Decide): the names of the tables that it was
    /// about.
    ///
    /// # Errors
    ///
    /// If no table has this name.
    pub fn decided(name: Option<&str>, vips: Vec<String>) -> Result<Self, Refusal> {
        match name {
            Some(name) if vips.is_empty() => {
                let message = format!("there is no table [[vip]] with the name {name:?}");
                Err(Refusal::new(ErrorKind::NotFound, message))
            }
            _ => Self::of(&Decided { vips }),
        }
    }

    /// The reply to [`Request::Reload`](super::Request::Reload), if the new configuration is in force.
    ///
    /// # Errors
    ///
    /// If it can't be written as JSON.
    pub fn reloaded(message: impl Into<String>) -> Result<Self, Refusal> {
        Self::of(&Reloaded { message: message.into() })
    }

    fn of<T: Serialize>(value: &T) -> Result<Self, Refusal> {
        let ok = serde_json::to_string(value);
        let ok = ok.map_err(|error| Refusal::from(format!("writing the reply: {error}")))?;
        Ok(Self { ok: ok.into(), text: "".into() })
    }
}
