//! All events and spans for the crate `tracing` (feature `tracing`). Without the feature these
//! functions are empty.
//!
//! `DEBUG` is for operations and their outcomes, `TRACE` for how they get to the kernel. A failure
//! is returned to the caller, so it is only `DEBUG` here; `WARN` is for what a caller wouldn't
//! learn otherwise.

#![cfg_attr(
    not(feature = "tracing"),
    allow(unused_variables, clippy::unused_self, reason = "all of it is for the events")
)]

use std::fmt;

use crate::error::Error;
use crate::error::operation::{Object, Operation};
use crate::model::key::{DestinationKey, ServiceKey};

macro_rules! event {
    ($level:ident, $($fields:tt)+) => {
        #[cfg(feature = "tracing")]
        tracing::event!(target: "ipvs", tracing::Level::$level, $($fields)+);
    };
}

macro_rules! span {
    ($($fields:tt)+) => {
        Span {
            #[cfg(feature = "tracing")]
            _entered: tracing::span!(target: "ipvs", tracing::Level::DEBUG, $($fields)+).entered(),
        }
    };
}

/// A span that lasts until it is dropped.
pub(crate) struct Span {
    #[cfg(feature = "tracing")]
    _entered: tracing::span::EnteredSpan,
}

/// The changes of a batch, or a single one.
pub(crate) fn changes(count: usize) -> Span {
    span!("changes", count)
}

pub(crate) fn snapshot() -> Span {
    span!("snapshot")
}

/// The steps of a plan.
pub(crate) fn apply(steps: usize) -> Span {
    span!("apply", steps)
}

pub(crate) fn drain(service: &ServiceKey, destination: &DestinationKey) -> Span {
    span!("drain", %service, %destination)
}

/// How an operation ended.
pub(crate) fn ended(operation: Operation, object: Option<&Object>, outcome: Result<(), &Error>) {
    #[cfg(feature = "tracing")]
    {
        let object = object.map(tracing::field::display);
        match outcome {
            Ok(()) => {
                event!(DEBUG, ?operation, object, "done");
            }
            Err(error) => {
                event!(DEBUG, ?operation, object, kind = ?error.kind(), errno = error.raw_os_error(), "failed");
            }
        }
    }
}

/// A complete list, or a single object that was read.
pub(crate) fn read(operation: Operation, object: Option<&Object>, entries: usize) {
    #[cfg(feature = "tracing")]
    {
        let object = object.map(tracing::field::display);
        event!(DEBUG, ?operation, object, entries, "read");
    }
}

/// Generic netlink reported the id of IPVS's family.
pub(crate) fn family(before: u16, id: u16) {
    if before != 0 && before != id {
        event!(WARN, before, id, "the module was reloaded: IPVS's previous state is gone");
    } else {
        event!(DEBUG, id, "family resolved");
    }
}

/// From which change on requests of a window, or the only question, are sent again.
pub(crate) fn repeats(from: usize) {
    event!(DEBUG, from, "repeats, for the new family");
}

pub(crate) fn kernel_interface(interface: &dyn fmt::Display) {
    event!(DEBUG, %interface, "interface chosen");
}

/// Changes that go to the kernel together, and the index of the first one in their batch.
pub(crate) fn window(first: usize, changes: usize) {
    event!(TRACE, first, changes, "window");
}

pub(crate) fn sends(bytes: usize) {
    event!(TRACE, bytes, "sends");
}

pub(crate) fn received(bytes: usize) {
    event!(TRACE, bytes, "received");
}

/// Something went wrong below the protocol; what hasn't completed by then won't.
pub(crate) fn abandons(cause: &dyn fmt::Debug) {
    event!(DEBUG, ?cause, "abandons what is under way");
}

/// A pass of a snapshot, and how many in a row agree with it.
pub(crate) fn pass(number: u32, services: usize, agreeing: u32) {
    event!(DEBUG, number, services, agreeing, "pass");
}

/// A phase of a plan: how many steps were sent, and how many were left out after an error.
pub(crate) fn phase(sent: usize, left_out: usize) {
    event!(DEBUG, sent, left_out, "phase");
}

/// The connections that a draining real server still has.
pub(crate) fn draining(active: u32, inactive: u32) {
    event!(DEBUG, active, inactive, "draining");
}

pub(crate) fn drained(outcome: &dyn fmt::Debug) {
    event!(DEBUG, ?outcome, "drained");
}

/// What a watch found at a look.
pub(crate) fn looked(changes: usize) {
    event!(DEBUG, changes, "looked");
}
