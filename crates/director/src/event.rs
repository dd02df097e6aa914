//! Events in a pool, for logs, hooks and other observers.

use std::fmt;

use ipvs::plan::Step;
use ipvs::{DestinationKey, ServiceKey};
use probe::Reason;

use crate::reconcile::Object;

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
        /// What its check found out; None if an operator or maintenance took it out.
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
    /// The kernel has executed a step.
    Written {
        /// What was changed.
        step: Step,
    },
    /// The kernel has refused an object. It is left alone for a while, and tried again.
    Refused {
        /// The object.
        object: Object,
        /// The error, and what to do.
        error: String,
    },
    /// The kernel's table can't be read.
    Unread {
        /// The error.
        error: String,
    },
    /// What a restart needs can't be saved.
    NotSaved {
        /// The error.
        error: String,
    },
    /// Somebody else has changed a virtual service of this program.
    Drift {
        /// The virtual service.
        service: ServiceKey,
        /// The steps that take it back.
        steps: Vec<Step>,
        /// Whether they will be executed.
        repair: bool,
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
            Self::Written { step } => write!(f, "{}: {step}", step.service()),
            Self::Refused { object, error } => write!(f, "{object}: {error}"),
            Self::Unread { error } => f.write_str(error),
            Self::NotSaved { error } => write!(f, "a restart will not know the state: {error}"),
            Self::Drift { service, steps, repair } => {
                let what = if *repair { "repairing it" } else { "missing" };
                write!(f, "{service} was changed by somebody else; {what}:")?;
                steps.iter().try_for_each(|step| write!(f, " {step};"))
            }
        }
    }
}
