//! Rewrites requests on their way to the kernel into ones that the library never makes.

use std::fmt;
use std::io;
use std::time::Instant;

use ipvs::{Client, Error, NetlinkSocket, Transport};
use ipvs_sys as sys;
use ipvs_sys::nl;
use ipvs_testkit::Namespace;

use anyhow::{Context as _, Result};

/// A socket that sends other requests than those it is given. This shows how the library handles
/// replies that its own requests never cause.
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
    /// Opens a socket in `netns`. `rewrite` is called with each request alone. It may change the
    /// request, and insert others before it that ask for no acknowledgement.
    ///
    /// # Errors
    ///
    /// If the namespace can't be entered or the socket can't be opened.
    pub fn open(netns: &Namespace, rewrite: fn(&mut Vec<sys::Message>)) -> Result<Self> {
        let socket = netns.run(NetlinkSocket::open)?.context("cannot open a socket")?;
        Ok(Self { socket, rewrite, asked: Vec::new(), answered: Vec::new() })
    }

    /// Creates a client that uses this socket.
    ///
    /// # Errors
    ///
    /// See [`Client::with_transport`].
    pub fn client(&mut self) -> Result<Client<&mut Self>, Error> {
        Client::with_transport(self)
    }

    /// For each request with that command, in the order sent: whether the kernel replied to it.
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
            // The engine doesn't know these requests: its own never have the sequence number 0.
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
