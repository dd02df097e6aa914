//! Sending requests and receiving replies: what every call of the client goes through.

use std::io;
use std::time::Instant;

use ipvs_sys as sys;
use rustix::io::Errno;

use crate::client::Client;
use crate::error::Error;
use crate::error::kind::ErrorKind;
use crate::error::operation::{Object, Operation};
use crate::proto::engine::{Event, Failure, PushError, RequestId};
use crate::proto::request::Request;
use crate::trace;
use crate::transport::Transport;
use crate::wire::MalformedReply;

impl<T: Transport> Client<T> {
    pub(super) fn get<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&sys::Message) -> Result<R, MalformedReply>,
    ) -> Result<R, Error> {
        let mut entries = self.list(operation, object, request, decode)?;
        entries.pop().ok_or_else(|| {
            ExchangeError::MalformedReply(MalformedReply::Missing("message"))
                .into_error(operation, object)
        })
    }

    pub(super) fn list<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&sys::Message) -> Result<R, MalformedReply>,
    ) -> Result<Vec<R>, Error> {
        self.list_payloads(operation, object, request, |payload| {
            Ok(decode(&sys::Message::decode(payload)?)?)
        })
    }

    /// As [`list`](Self::list), with a decoder that reads the bytes of a message.
    pub(super) fn list_payloads<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&[u8]) -> Result<R, ExchangeError>,
    ) -> Result<Vec<R>, Error> {
        let entries = self.request(request, &decode).map_err(|error| {
            let error = error.into_error(operation, object);
            trace::ended(operation, object.as_ref(), Err(&error));
            error
        })?;
        trace::read(operation, object.as_ref(), entries.len());
        Ok(entries)
    }

    /// Sends a request that reads.
    ///
    /// ENOENT may mean that the family's id is no longer IPVS's, because the module was reloaded:
    /// then the id is resolved again, and the question is repeated.
    fn request<R>(
        &mut self,
        request: &Request<'_>,
        decode: &impl Fn(&[u8]) -> Result<R, ExchangeError>,
    ) -> Result<Vec<R>, ExchangeError> {
        let outcome = self.request_once(request, decode);
        match outcome {
            Err(ExchangeError::Failure(ref failure)) if failure.is_enoent() => {
                if self.family_changed()? {
                    trace::repeats(0);
                    self.request_once(request, decode)
                } else {
                    outcome
                }
            }
            other => other,
        }
    }

    fn request_once<R>(
        &mut self,
        request: &Request<'_>,
        decode: &impl Fn(&[u8]) -> Result<R, ExchangeError>,
    ) -> Result<Vec<R>, ExchangeError> {
        let mut entries = Vec::new();
        let id = self.engine.push(request)?;
        self.finish(id, &mut |payload: &[u8]| {
            entries.push(decode(payload)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Resolves the family's id again, and returns whether it has changed.
    pub(super) fn family_changed(&mut self) -> Result<bool, ExchangeError> {
        let before = self.family;
        self.resolve_family()?;
        Ok(self.family != before)
    }

    pub(super) fn resolve_family(&mut self) -> Result<(), ExchangeError> {
        let mut found = None;
        let id = self.engine.push_get_family()?;
        let outcome = self.finish(id, &mut |payload: &[u8]| {
            found = Some(sys::Family::decode(payload)?.id);
            Ok(())
        });
        match outcome {
            Err(ExchangeError::Failure(failure)) if failure.is_enoent() => {
                return Err(ExchangeError::NoFamily);
            }
            other => other?,
        }
        let family =
            found.ok_or(ExchangeError::MalformedReply(MalformedReply::Missing("family id")))?;
        trace::family(self.family, family);
        self.family = family;
        self.engine.set_family(self.family);
        Ok(())
    }

    /// Sends the requests pushed so far, and receives until this one has completed.
    fn finish(
        &mut self,
        question: RequestId,
        on_reply: &mut impl FnMut(&[u8]) -> Result<(), ExchangeError>,
    ) -> Result<(), ExchangeError> {
        let mut outcome = Ok(());
        let mut bad_reply = None;
        self.drive(&mut |event: Event<'_>| match event {
            Event::Reply { id, payload } if id == question && bad_reply.is_none() => {
                bad_reply = on_reply(payload).err();
            }
            Event::Completed { id, outcome: completed } if id == question => outcome = completed,
            _ => {}
        })?;
        match bad_reply {
            Some(error) => Err(error),
            None => Ok(outcome?),
        }
    }

    /// Sends the requests pushed so far, and receives until all of them have completed. If
    /// something goes wrong below the protocol, those that haven't completed by then never will.
    pub(super) fn drive(
        &mut self,
        on_event: &mut impl FnMut(Event<'_>),
    ) -> Result<(), ExchangeError> {
        while !self.engine.is_idle() {
            if let Err(error) = self.step(on_event) {
                trace::abandons(&error);
                self.engine.abandon(|_| {});
                // If this fails, so will the next call, and say why; here the first cause counts.
                let _ = self.transport.reset();
                return Err(error);
            }
        }
        Ok(())
    }

    fn step(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> Result<(), ExchangeError> {
        if let Some(datagram) = self.engine.poll_transmit() {
            trace::sends(datagram.len());
            self.transport.send(datagram).map_err(ExchangeError::Unsent)?;
        }
        let received = self.transport.receive(&mut self.buffer)?;
        if received {
            trace::received(self.buffer.len());
            if self.engine.handle_datagram(&self.buffer, on_event)? {
                return Ok(());
            }
        }
        // Replies are there when sending returns, so only now does the time matter. A datagram that
        // answers no request in flight doesn't extend the deadline, or there might be no end to it.
        let now = Instant::now();
        match self.engine.poll_timeout(now) {
            Some(deadline) if now >= deadline => Err(Failure::Unknown.into()),
            Some(deadline) if !received && !self.transport.wait(deadline)? => {
                Err(Failure::Unknown.into())
            }
            _ => Ok(()),
        }
    }
}

/// What can go wrong with a request, without its operation and object.
#[derive(Debug)]
pub(super) enum ExchangeError {
    Failure(Failure),
    NoFamily,
    /// Sending failed, so nothing was executed.
    Unsent(io::Error),
    /// Receiving failed.
    Io(io::Error),
    Decode(sys::DecodeError),
    MalformedReply(MalformedReply),
    /// The window was full; only happens to a caller that pushes more than fits.
    Push(PushError),
    /// It was sent, and for this reason its outcome is unknown.
    Unanswered(Box<Self>),
}

impl ExchangeError {
    /// A copy, for another request that met the same error.
    fn duplicate(&self) -> Self {
        match self {
            Self::Failure(failure) => Self::Failure(failure.clone()),
            Self::NoFamily => Self::NoFamily,
            Self::Unsent(cause) => Self::Unsent(copy(cause)),
            Self::Io(cause) => Self::Io(copy(cause)),
            Self::Decode(cause) => Self::Decode(*cause),
            Self::MalformedReply(cause) => Self::MalformedReply(cause.clone()),
            Self::Push(cause) => Self::Push(*cause),
            Self::Unanswered(cause) => Self::Unanswered(Box::new(cause.duplicate())),
        }
    }

    /// The same error for a change that was in the window and has no reply.
    pub(super) fn unanswered(&self) -> Self {
        match self {
            Self::Unsent(_) => self.duplicate(),
            other => Self::Unanswered(Box::new(other.duplicate())),
        }
    }

    /// The same error, for a request that asked about the outcome of a change.
    pub(super) fn for_change(&self) -> Self {
        match self {
            Self::Decode(_) | Self::MalformedReply(_) => self.unanswered(),
            other => other.duplicate(),
        }
    }

    /// Whether the kernel had to drop replies, after which it can still be reached.
    pub(super) fn is_lost_replies(&self) -> bool {
        matches!(self, Self::Io(cause) if Errno::from_io_error(cause) == Some(Errno::NOBUFS))
    }

    pub(super) fn into_error(self, operation: Operation, object: Option<Object>) -> Error {
        let error = |kind| Error::new(operation, object, kind);
        match self {
            Self::Failure(Failure::Kernel { errno, message }) => {
                Error::from_kernel(operation, object, errno, message)
            }
            Self::Failure(Failure::Unacknowledged | Failure::Unknown) => {
                error(ErrorKind::OutcomeUnknown)
            }
            Self::NoFamily => error(ErrorKind::NotAvailable),
            Self::Io(cause) if Errno::from_io_error(&cause) == Some(Errno::NOBUFS) => {
                error(ErrorKind::OutcomeUnknown).with_source(cause)
            }
            Self::Io(cause) | Self::Unsent(cause) => Error::from_io(operation, object, cause),
            Self::Decode(cause) => error(ErrorKind::Protocol).with_source(cause),
            Self::MalformedReply(cause) => error(ErrorKind::Protocol).with_source(cause),
            Self::Push(cause) => error(ErrorKind::Other).with_source(cause),
            Self::Unanswered(cause) => {
                cause.into_error(operation, object).with_kind(ErrorKind::OutcomeUnknown)
            }
        }
    }
}

fn copy(cause: &io::Error) -> io::Error {
    match cause.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(cause.kind(), cause.to_string()),
    }
}

macro_rules! exchange_error_from {
    ($($variant:ident($type:ty)),*) => {
        $(impl From<$type> for ExchangeError {
            fn from(cause: $type) -> Self {
                Self::$variant(cause)
            }
        })*
    };
}

exchange_error_from!(
    Failure(Failure),
    Io(io::Error),
    Decode(sys::DecodeError),
    MalformedReply(MalformedReply),
    Push(PushError)
);
