//! What is told to the crate `tracing`, with the feature of that name: all events and spans are
//! here, and nothing else knows of them. Without the feature these functions are empty.
//!
//! `DEBUG` is what was asked for and what came of it, `TRACE` how it got to the kernel. What fails
//! is told to the caller, and so is no more than `DEBUG` here; only what a caller isn't told
//! otherwise is `WARN`.

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

/// What happens until it is dropped is part of it.
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

/// A list that came as a whole, or one thing that was asked for.
pub(crate) fn read(operation: Operation, object: Option<&Object>, entries: usize) {
    #[cfg(feature = "tracing")]
    {
        let object = object.map(tracing::field::display);
        event!(DEBUG, ?operation, object, entries, "read");
    }
}

/// The kernel's generic netlink has told what id IPVS' family has.
pub(crate) fn family(before: u16, id: u16) {
    if before != 0 && before != id {
        event!(WARN, before, id, "the module was loaded anew: what IPVS had before is gone");
    } else {
        event!(DEBUG, id, "family resolved");
    }
}

/// From which change on those of a window, or the only question, are sent once more.
pub(crate) fn repeats(from: usize) {
    event!(DEBUG, from, "repeats, for the new family");
}

pub(crate) fn kernel_interface(interface: &dyn fmt::Display) {
    event!(DEBUG, %interface, "interface chosen");
}

/// Changes that go to the kernel together, and where in their batch they begin.
pub(crate) fn window(first: usize, changes: usize) {
    event!(TRACE, first, changes, "window");
}

pub(crate) fn sends(bytes: usize) {
    event!(TRACE, bytes, "sends");
}

pub(crate) fn received(bytes: usize) {
    event!(TRACE, bytes, "received");
}

/// Something went wrong below the protocol; what hadn't ended by then won't.
pub(crate) fn abandons(cause: &dyn fmt::Debug) {
    event!(DEBUG, ?cause, "abandons what is under way");
}

/// A pass of a snapshot, and how many in a row agree with it.
pub(crate) fn pass(number: u32, services: usize, agreeing: u32) {
    event!(DEBUG, number, services, agreeing, "pass");
}

/// A phase of a plan: the steps that were sent, and those that were left out after an error.
pub(crate) fn phase(sent: usize, left_out: usize) {
    event!(DEBUG, sent, left_out, "phase");
}

/// What a real server that is draining still has.
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
