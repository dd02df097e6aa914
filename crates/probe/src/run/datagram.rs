//! Look-ups over UDP.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::{Progress, failure};
use crate::checks::dns::{Lookup, LookupStep};
use crate::verdict::{Stage, Verdict};

/// How many times a query is sent within the timeout of its check, since the network may lose it.
const TRIES: u32 = 4;

/// The shortest time between two of them.
const SHORTEST: Duration = Duration::from_millis(20);

/// Where datagrams go.
pub(super) struct Place<'a> {
    pub(super) target: SocketAddr,
    pub(super) buffer: &'a RefCell<Box<[u8]>>,
    pub(super) progress: &'a Progress,
}

impl Place<'_> {
    /// Looks something up. None if that has to go on over TCP.
    pub(super) async fn look_up(
        &self,
        lookup: &mut Lookup<'_>,
        within: Duration,
    ) -> Option<Verdict> {
        match self.exchange(lookup, within).await {
            Ok(verdict) => verdict,
            Err(error) => Some(failure::verdict(&error, self.progress.stage.get())),
        }
    }

    async fn exchange(
        &self,
        lookup: &mut Lookup<'_>,
        within: Duration,
    ) -> io::Result<Option<Verdict>> {
        let any = match self.target {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await?;
        // From here on the kernel passes on only what comes from the server.
        socket.connect(self.target).await?;
        let pause = (within / TRIES).max(SHORTEST);
        loop {
            socket.send(&lookup.query()).await?;
            self.progress.stage.set(Stage::Reply);
            let Ok(heard) = timeout(pause, self.receive(&socket, lookup)).await else { continue };
            match heard? {
                LookupStep::Done(verdict) => return Ok(Some(verdict)),
                LookupStep::Truncated => return Ok(None),
                LookupStep::Next | LookupStep::Nothing => {}
            }
        }
    }

    /// Receives until a datagram says something.
    async fn receive(&self, socket: &UdpSocket, lookup: &mut Lookup<'_>) -> io::Result<LookupStep> {
        loop {
            let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
            if ready.is_error() {
                if let Some(error) = socket.take_error()? {
                    return Err(error);
                }
                // It has been seen: wait for the next one.
                let _ =
                    socket.try_io(Interest::ERROR, || Err::<(), _>(ErrorKind::WouldBlock.into()));
            }
            let mut buffer = self.buffer.borrow_mut();
            match socket.try_recv(&mut buffer) {
                Ok(length) => match lookup.heard(&buffer[..length]) {
                    LookupStep::Nothing => {}
                    heard => return Ok(heard),
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
