#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod checks;
mod conversation;
mod health;
mod pattern;
mod probe;
#[cfg(feature = "run")]
mod run;
mod schedule;
mod text;
#[cfg(feature = "tls")]
mod tls;
mod verdict;

pub use checks::dns::{Dns, InvalidName, Lookup, LookupStep};
pub use checks::http::{BODY_LIMIT, Exchange, Http, InvalidHost, InvalidUrl, Method};
pub use checks::ping::{Echo, Heard};
pub use checks::simple_tcp::{SimpleExchange, SimpleTcp};
pub use conversation::{Closed, Conversation, Step};
pub use health::{Health, State, Thresholds};
pub use pattern::{Pattern, PatternError};
pub use probe::{Check, Combined, External, Probe, Roots, Tls, Turn, Verify};
#[cfg(feature = "tls")]
pub use run::TlsClient;
#[cfg(feature = "run")]
pub use run::{Limits, Needs, Outcome, PrepareError, Runner};
pub use schedule::{Due, Schedule};
pub use verdict::{Reason, ReasonKind, Stage, Verdict};
