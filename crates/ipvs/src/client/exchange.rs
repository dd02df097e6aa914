//! How requests get to the kernel and answers back: what every call of the client goes through.

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
use crate::wire::Implausible;

impl<T: Transport> Client<T> {
    pub(super) fn get<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&sys::Message) -> Result<R, Implausible>,
    ) -> Result<R, Error> {
        let mut entries = self.list(operation, object, request, decode)?;
        entries.pop().ok_or_else(|| {
            Trouble::Implausible(Implausible::Missing("message")).into_error(operation, object)
        })
    }

    pub(super) fn list<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&sys::Message) -> Result<R, Implausible>,
    ) -> Result<Vec<R>, Error> {
        self.list_payloads(operation, object, request, |payload| {
            Ok(decode(&sys::Message::decode(payload)?)?)
        })
    }

    /// As [`list`](Self::list), for whoever reads messages in another way.
    pub(super) fn list_payloads<R>(
        &mut self,
        operation: Operation,
        object: Option<Object>,
        request: &Request<'_>,
        decode: impl Fn(&[u8]) -> Result<R, Trouble>,
    ) -> Result<Vec<R>, Error> {
        let entries = self.request(request, &decode).map_err(|trouble| {
            let error = trouble.into_error(operation, object);
            trace::ended(operation, object.as_ref(), Err(&error));
            error
        })?;
        trace::read(operation, object.as_ref(), entries.len());
        Ok(entries)
    }

    /// Asks a question.
    ///
    /// ENOENT may mean that the family's id is no longer IPVS', because the module was loaded
    /// anew: then the id is resolved again, and the question asked once more.
    fn request<R>(
        &mut self,
        request: &Request<'_>,
        decode: &impl Fn(&[u8]) -> Result<R, Trouble>,
    ) -> Result<Vec<R>, Trouble> {
        let outcome = self.request_once(request, decode);
        match outcome {
            Err(Trouble::Failure(ref failure)) if failure.is_enoent() => {
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
        decode: &impl Fn(&[u8]) -> Result<R, Trouble>,
    ) -> Result<Vec<R>, Trouble> {
        let mut entries = Vec::new();
        let id = self.engine.push(request)?;
        self.finish(id, &mut |payload: &[u8]| {
            entries.push(decode(payload)?);
            Ok(())
        })?;
        Ok(entries)
    }

    /// Resolves the family's id again, and says whether it is another one than before.
    pub(super) fn family_changed(&mut self) -> Result<bool, Trouble> {
        let before = self.family;
        self.resolve_family()?;
        Ok(self.family != before)
    }

    pub(super) fn resolve_family(&mut self) -> Result<(), Trouble> {
        let mut found = None;
        let id = self.engine.push_get_family()?;
        let outcome = self.finish(id, &mut |payload: &[u8]| {
            found = Some(sys::Family::decode(payload)?.id);
            Ok(())
        });
        match outcome {
            Err(Trouble::Failure(failure)) if failure.is_enoent() => {
                return Err(Trouble::NoFamily);
            }
            other => other?,
        }
        let family = found.ok_or(Trouble::Implausible(Implausible::Missing("family id")))?;
        trace::family(self.family, family);
        self.family = family;
        self.engine.set_family(self.family);
        Ok(())
    }

    /// Sends what was pushed, and receives until it has ended.
    fn finish(
        &mut self,
        question: RequestId,
        on_reply: &mut impl FnMut(&[u8]) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut outcome = Ok(());
        let mut bad_reply = None;
        self.drive(&mut |event: Event<'_>| match event {
            Event::Reply { id, payload } if id == question && bad_reply.is_none() => {
                bad_reply = on_reply(payload).err();
            }
            Event::Settled { id, outcome: settled } if id == question => outcome = settled,
            _ => {}
        })?;
        match bad_reply {
            Some(trouble) => Err(trouble),
            None => Ok(outcome?),
        }
    }

    /// Sends what was pushed, and receives until all of it has ended. If something goes wrong below
    /// the protocol, what hasn't ended by then never will.
    pub(super) fn drive(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> Result<(), Trouble> {
        while !self.engine.is_idle() {
            if let Err(trouble) = self.step(on_event) {
                trace::abandons(&trouble);
                self.engine.abandon(|_| {});
                // If it fails, so will the next call, and say why; here the first cause counts.
                let _ = self.transport.reset();
                return Err(trouble);
            }
        }
        Ok(())
    }

    fn step(&mut self, on_event: &mut impl FnMut(Event<'_>)) -> Result<(), Trouble> {
        if let Some(datagram) = self.engine.poll_transmit() {
            trace::sends(datagram.len());
            self.transport.send(datagram).map_err(Trouble::Unsent)?;
        }
        let received = self.transport.receive(&mut self.buffer)?;
        if received {
            trace::received(self.buffer.len());
            if self.engine.feed(&self.buffer, on_event)? {
                return Ok(());
            }
        }
        // Answers are there when sending returns, so only now is there need to know the time. What
        // comes and is no answer to what was asked doesn't count, else there might be no end to it.
        let now = Instant::now();
        match self.engine.deadline(now) {
            Some(deadline) if now >= deadline => Err(Failure::Unknown.into()),
            Some(deadline) if !received && !self.transport.wait(deadline)? => {
                Err(Failure::Unknown.into())
            }
            _ => Ok(()),
        }
    }
}

/// What can go wrong with a request, before it is known what it was about.
#[derive(Debug)]
pub(super) enum Trouble {
    Failure(Failure),
    NoFamily,
    /// Sending failed, so that nothing has been carried out.
    Unsent(io::Error),
    /// Receiving failed.
    Io(io::Error),
    Decode(sys::DecodeError),
    Implausible(Implausible),
    /// The engine took less than a window; only a caller that pushes more than fits meets this.
    Push(PushError),
    /// It was sent, and for this reason its answer isn't known.
    Unanswered(Box<Self>),
}

impl Trouble {
    /// The same trouble once more, for another request that met it.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Failure(failure) => Self::Failure(failure.clone()),
            Self::NoFamily => Self::NoFamily,
            Self::Unsent(cause) => Self::Unsent(again(cause)),
            Self::Io(cause) => Self::Io(again(cause)),
            Self::Decode(cause) => Self::Decode(*cause),
            Self::Implausible(cause) => Self::Implausible(cause.clone()),
            Self::Push(cause) => Self::Push(*cause),
            Self::Unanswered(cause) => Self::Unanswered(Box::new(cause.again())),
        }
    }

    /// The same trouble for a change that was in the window and has no answer.
    pub(super) fn unanswered(&self) -> Self {
        match self {
            Self::Unsent(_) => self.again(),
            other => Self::Unanswered(Box::new(other.again())),
        }
    }

    /// The same trouble, met by a question that was asked about a change.
    pub(super) fn for_change(&self) -> Self {
        match self {
            Self::Decode(_) | Self::Implausible(_) => self.unanswered(),
            other => other.again(),
        }
    }

    /// Whether the kernel had to drop answers, and can be asked on nevertheless.
    pub(super) fn is_lost_answers(&self) -> bool {
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
            Self::Implausible(cause) => error(ErrorKind::Protocol).with_source(cause),
            Self::Push(cause) => error(ErrorKind::Other).with_source(cause),
            Self::Unanswered(cause) => {
                cause.into_error(operation, object).with_kind(ErrorKind::OutcomeUnknown)
            }
        }
    }
}

fn again(cause: &io::Error) -> io::Error {
    match cause.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(cause.kind(), cause.to_string()),
    }
}

macro_rules! trouble_from {
    ($($variant:ident($type:ty)),*) => {
        $(impl From<$type> for Trouble {
            fn from(cause: $type) -> Self {
                Self::$variant(cause)
            }
        })*
    };
}

trouble_from!(
    Failure(Failure),
    Io(io::Error),
    Decode(sys::DecodeError),
    Implausible(Implausible),
    Push(PushError)
);
