//! Requests that the library never makes, on their way to the kernel.

use std::fmt;
use std::io;
use std::time::Instant;

use ipvs::{Client, Error, NetlinkSocket, Transport};
use ipvs_sys as sys;
use ipvs_sys::nl;
use ipvs_testkit::Namespace;

use anyhow::{Context as _, Result};

/// A socket that sends other requests than those it is given, and so shows what the library makes
/// of answers that its own requests never bring about.
pub struct RewritingTransport {
    socket: NetlinkSocket,
    rewrite: fn(&mut Vec<sys::Message>),
    asked: Vec<(sys::Command, u32)>,
    answered: Vec<u32>,
}

impl fmt::Debug for RewritingTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RewritingTransport")
            .field("asked", &self.asked)
            .field("answered", &self.answered)
            .finish()
    }
}

impl RewritingTransport {
    /// A socket in `netns`. `rewrite` is given each request alone: it may change it, and put others
    /// before it, which want no acknowledgement.
    ///
    /// # Errors
    ///
    /// If the namespace can't be entered or no socket can be had.
    pub fn open(netns: &Namespace, rewrite: fn(&mut Vec<sys::Message>)) -> Result<Self> {
        let socket = netns.run(NetlinkSocket::open)?.context("cannot open a socket")?;
        Ok(Self { socket, rewrite, asked: Vec::new(), answered: Vec::new() })
    }

    /// A client that speaks through it.
    ///
    /// # Errors
    ///
    /// As [`Client::with_transport`].
    pub fn client(&mut self) -> Result<Client<&mut Self>, Error> {
        Client::with_transport(self)
    }

    /// The requests with that command that were sent, and whether the kernel answered each.
    pub fn answers(&self, command: sys::Command) -> Vec<bool> {
        let asked = self.asked.iter().filter(|(asked, _)| *asked == command);
        asked.map(|(_, seq)| self.answered.contains(seq)).collect()
    }
}

fn invalid(cause: sys::DecodeError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

impl Transport for RewritingTransport {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let mut rewritten = Vec::new();
        for frame in sys::Messages::new(datagram) {
            let frame = frame.map_err(invalid)?;
            if frame.header.message_type == nl::GENL_ID_CTRL {
                return self.socket.send(datagram);
            }
            let sys::Body::Data(payload) = frame.body else { continue };
            let mut messages = vec![sys::Message::decode(payload).map_err(invalid)?];
            (self.rewrite)(&mut messages);
            let Some((request, before)) = messages.split_last() else { continue };
            // The engine knows nothing of these: no request of its own has the number 0.
            let header = sys::Header { flags: nl::NLM_F_REQUEST, seq: 0, ..frame.header };
            for message in before {
                message.encode(&mut rewritten, &header);
            }
            request.encode(&mut rewritten, &frame.header);
            self.asked.push((request.command, frame.header.seq));
        }
        self.socket.send(&rewritten)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        let received = self.socket.receive(buffer)?;
        if received {
            for frame in sys::Messages::new(buffer) {
                self.answered.push(frame.map_err(invalid)?.header.seq);
            }
        }
        Ok(received)
    }

    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        self.socket.wait(deadline)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.socket.reset()
    }
}
