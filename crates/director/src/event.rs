//! What happened to a pool, for logs, hooks and whoever watches.

use std::fmt;

use ipvs::{DestinationKey, ServiceKey};
use probe::Reason;

/// A change that somebody may want to know of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A real server takes traffic from now on.
    Up {
        /// Where.
        service: ServiceKey,
        /// Which.
        server: DestinationKey,
    },
    /// A real server takes no new traffic any more.
    Down {
        /// Where.
        service: ServiceKey,
        /// Which.
        server: DestinationKey,
        /// What its check found out; None if an operator took it out.
        reason: Option<Reason>,
    },
    /// No real server is left: the fallback takes the traffic, if there is one.
    FallbackIn {
        /// Where.
        service: ServiceKey,
    },
    /// A real server is back.
    FallbackOut {
        /// Where.
        service: ServiceKey,
    },
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Up { service, server } => write!(f, "{service}: {server} is up"),
            Self::Down { service, server, reason: Some(reason) } => {
                write!(f, "{service}: {server} is down: {reason}")
            }
            Self::Down { service, server, reason: None } => {
                write!(f, "{service}: {server} is taken out")
            }
            Self::FallbackIn { service } => write!(f, "{service}: no real server is up"),
            Self::FallbackOut { service } => write!(f, "{service}: a real server is up again"),
        }
    }
}
