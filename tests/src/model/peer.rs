//! One end of the protocol: sends any request, valid or not, and returns the complete answer.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs::Transport;
use ipvs::proto::{Engine, Event, Failure, Request, RequestId, RequestKind};
use ipvs_sys as sys;
use ipvs_sys::Command;

use super::Operation;

/// No answer takes this long.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A complete answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The replies, or the entries of a list.
    pub replies: Vec<sys::Message>,
    /// On failure, the error number and the kernel's message, if it sent one.
    pub outcome: Result<(), (i32, Option<String>)>,
}

/// Sends requests to a kernel or to the model.
#[derive(Debug)]
pub struct Peer<T> {
    transport: T,
    engine: Engine,
    family: u16,
}

impl<T: Transport> Peer<T> {
    /// Looks up the family of IPVS.
    ///
    /// # Errors
    ///
    /// If there is no such family.
    pub fn new(transport: T) -> Result<Self> {
        let mut peer = Self { transport, engine: Engine::new(TIMEOUT), family: 0 };
        let id = peer.engine.push_get_family()?;
        let (replies, _) = peer.exchange(id)?;
        let reply = replies.first().context("no family of that name")?;
        peer.family = sys::Family::decode(reply)?.id;
        Ok(peer)
    }

    /// Sends a request and waits for the complete answer.
    ///
    /// # Errors
    ///
    /// If no answer comes, or it is malformed.
    pub fn ask(&mut self, operation: &Operation) -> Result<Answer> {
        let message = &operation.message;
        let kind = match message.command {
            _ if operation.dump => RequestKind::Dump,
            Command::GetService | Command::GetConfig | Command::GetInfo => RequestKind::Get,
            Command::DelDaemon => RequestKind::AcknowledgedChange,
            _ => RequestKind::Change,
        };
        let mut request = Request::new(message.command, kind).timeouts(&message.timeouts);
        request.service = message.service.as_ref();
        request.dest = message.dest.as_ref();
        request.daemon = message.daemon.as_ref();
        // IDs are assigned upwards from 17; no system has this many families.
        self.engine.set_family(if operation.stale { 0xfff0 } else { self.family });
        let id = self.engine.push(&request)?;
        if message.command == Command::DelDaemon {
            // The reply to this request shows that the one before it is done, even without an
            // acknowledgement.
            self.engine.push(&Request::new(Command::GetConfig, RequestKind::Get))?;
        }
        let (replies, outcome) = self.exchange(id)?;
        let replies = replies.iter().map(|reply| sys::Message::decode(reply));
        Ok(Answer { replies: replies.collect::<Result<_, _>>()?, outcome })
    }

    #[expect(clippy::type_complexity, reason = "an answer before it is decoded")]
    fn exchange(
        &mut self,
        asked: RequestId,
    ) -> Result<(Vec<Vec<u8>>, Result<(), (i32, Option<String>)>)> {
        let datagram = self.engine.poll_transmit().context("nothing to send")?;
        self.transport.send(datagram)?;
        let (mut replies, mut outcome, mut buffer) = (Vec::new(), Ok(()), Vec::new());
        let mut lost = false;
        while !self.engine.is_idle() {
            if !self.transport.receive(&mut buffer)? {
                let deadline =
                    self.engine.poll_timeout(Instant::now()).context("nothing to wait for")?;
                ensure!(self.transport.wait(deadline)?, "no answer in {TIMEOUT:?}");
                continue;
            }
            self.engine.handle_datagram(&buffer, |event| match event {
                Event::Reply { id, payload } if id == asked => replies.push(payload.to_vec()),
                Event::Completed { id, outcome: settled } if id == asked => match settled {
                    // Interrupted, but done: see `Failure::Unacknowledged`.
                    Ok(()) | Err(Failure::Unacknowledged) => {}
                    Err(Failure::Kernel { errno, message }) => outcome = Err((errno, message)),
                    Err(_) => lost = true,
                },
                _ => {}
            })?;
        }
        ensure!(!lost, "an answer was lost");
        Ok((replies, outcome))
    }
}
