//! What operators have decided about real servers.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use ipvs::{DestinationKey, ServiceKey};
use thiserror::Error;

use crate::pool::Override;

/// Real servers that an operator names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Only in this virtual service; None means in all.
    pub service: Option<ServiceKey>,
    /// Their address.
    pub address: IpAddr,
    /// Their port; None means all ports.
    pub port: Option<u16>,
}

/// Why a decision can't be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecideError {
    /// No virtual service has such a real server.
    #[error("no virtual service has the real server {0}")]
    NotFound(Selector),
    /// The decision to be ended covers more real servers than were named.
    #[error("it was decided for {0}: enable that, or decide something else for a part of it")]
    Broader(Selector),
}

impl Selector {
    /// Whether it names this real server of this virtual service.
    pub fn names(&self, service: &ServiceKey, server: &DestinationKey) -> bool {
        self.service.is_none_or(|it| it == *service)
            && self.address == server.addr
            && self.port.is_none_or(|it| it == server.port)
    }

    /// Whether it names everything that the other one names.
    fn covers(&self, other: &Self) -> bool {
        self.address == other.address
            && (self.service.is_none() || self.service == other.service)
            && (self.port.is_none() || self.port == other.port)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => DestinationKey::new(self.address, port).fmt(f)?,
            None => self.address.fmt(f)?,
        }
        self.service.map_or(Ok(()), |service| write!(f, " of {service}"))
    }
}

/// A decision, and until when it holds; None means until it is revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) selector: Selector,
    pub(crate) decision: Override,
    pub(crate) until: Option<Instant>,
}

/// All decisions in force. They are about names, not about what a configuration has at the moment:
/// a real server that leaves the configuration and returns is still drained.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decisions {
    /// Later ones win.
    all: Vec<Decision>,
}

impl Decisions {
    /// Records a decision in place of those that it covers.
    pub(crate) fn put(&mut self, decision: Decision) {
        self.all.retain(|it| !decision.selector.covers(&it.selector));
        self.all.push(decision);
    }

    /// Ends the decisions about what `selector` names.
    ///
    /// # Errors
    ///
    /// If one of them is about more than that.
    pub(crate) fn end(&mut self, selector: &Selector) -> Result<(), DecideError> {
        let broader =
            |it: &&Decision| it.selector.covers(selector) && !selector.covers(&it.selector);
        if let Some(broader) = self.all.iter().find(broader) {
            return Err(DecideError::Broader(broader.selector));
        }
        self.all.retain(|it| !selector.covers(&it.selector));
        Ok(())
    }

    /// Forgets what has expired; returns whether there was anything.
    pub(crate) fn expire(&mut self, now: Instant) -> bool {
        let before = self.all.len();
        self.all.retain(|it| it.until.is_none_or(|until| until > now));
        self.all.len() != before
    }

    /// When the next one expires.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.all.iter().filter_map(|it| it.until).min()
    }

    /// What holds for a real server.
    pub(crate) fn of(&self, service: &ServiceKey, server: &DestinationKey) -> Option<&Decision> {
        self.all.iter().rev().find(|it| it.selector.names(service, server))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Decision> {
        self.all.iter()
    }
}
