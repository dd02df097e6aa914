//! Events in a pool, for logs, hooks and other observers.

use std::fmt;

use ipvs::{DestinationKey, ServiceKey};
use probe::Reason;

/// A change worth reporting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A real server takes traffic from now on.
    Up {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        server: DestinationKey,
    },
    /// A real server takes no more new traffic.
    Down {
        /// The virtual service.
        service: ServiceKey,
        /// The real server.
        server: DestinationKey,
        /// What its check found out; None if an operator took it out.
        reason: Option<Reason>,
    },
    /// No real server is left: the fallback takes the traffic, if there is one.
    FallbackIn {
        /// The virtual service.
        service: ServiceKey,
    },
    /// A real server is back.
    FallbackOut {
        /// The virtual service.
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
