//! Our own implementation, at both levels.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs::proto::{Engine, Event, Request, RequestKind};
use ipvs::{Client, ServiceKey};
use ipvs_sys::{Body, Command, Dest, Message, Messages, Service, Writer};

use super::replay::{Replay, renumber};
use super::samples;

/// Appends the request that adds a real server.
pub fn encode(buffer: &mut Vec<u8>, service: &Service, dest: &Dest) {
    Writer::message(buffer, &samples::header(), Command::NewDest)
        .service(service)
        .dest(dest)
        .finish();
}

/// Reads all entries of a datagram.
pub fn decode(datagram: &[u8], mut entry: impl FnMut(Message)) -> Result<()> {
    for frame in Messages::new(datagram) {
        if let Body::Data(payload) = frame?.body {
            entry(Message::decode(payload)?);
        }
    }
    Ok(())
}

/// An engine that handles one window after the other.
#[derive(Debug)]
pub struct Windows {
    engine: Engine,
    acknowledgement: Vec<u8>,
}

impl Windows {
    /// Creates an engine that knows the family.
    pub fn new() -> Self {
        let mut engine = Engine::new(Duration::from_secs(5));
        engine.set_family(samples::FAMILY);
        let mut acknowledgement = Vec::new();
        Writer::error(&mut acknowledgement, 1, 0, &samples::success());
        Self { engine, acknowledgement }
    }

    /// Pushes a request `times` times, transmits the window and handles its acknowledgement.
    /// Returns how many requests that completed.
    ///
    /// # Errors
    ///
    /// If the requests don't fit in one window.
    pub fn turn(&mut self, request: &Request<'_>, times: usize) -> Result<usize> {
        let mut last = None;
        for _ in 0..times {
            last = Some(self.engine.push(request)?);
        }
        let datagram = self.engine.poll_transmit().context("nothing to send")?;
        renumber(&mut self.acknowledgement, last_seq(datagram)?);
        let (mut count, mut ended) = (0, None);
        self.engine.handle_datagram(&self.acknowledgement, |event| {
            if let Event::Completed { id, .. } = event {
                (count, ended) = (count + 1, Some(id));
            }
        })?;
        ensure!(ended == last, "the window hasn't ended");
        Ok(count)
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self::new()
    }
}

fn last_seq(datagram: &[u8]) -> Result<u32> {
    let frame = Messages::new(datagram).last().context("an empty datagram")??;
    Ok(frame.header.seq)
}

/// A request that changes a real server.
pub fn set_dest<'a>(service: &'a Service, dest: &'a Dest) -> Request<'a> {
    Request::new(Command::SetDest, RequestKind::Change).service(service).dest(dest)
}

/// Creates a client that gets this many real servers in every list.
///
/// # Errors
///
/// None that a caller could cause.
pub fn client(count: u32) -> Result<Client<Replay>> {
    Ok(Client::with_transport(Replay::new(samples::list_of_dests(count)))?)
}

/// The key of the service that has these real servers.
pub fn key() -> ServiceKey {
    samples::TABLE.key(0)
}
