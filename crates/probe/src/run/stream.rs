//! Conversations over TCP.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Shutdown, SocketFlags, SocketType, connect, shutdown, socket_with, sockopt,
};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::{Progress, failure};
use crate::conversation::{Closed, Conversation, Step};
use crate::verdict::{Stage, Verdict};

/// The size of a usual request in bytes.
const REQUEST: usize = 256;

/// Where a conversation takes place.
pub(super) struct Connection<'a> {
    pub(super) target: SocketAddr,
    pub(super) buffer: &'a RefCell<Box<[u8]>>,
    pub(super) progress: &'a Progress,
}

impl Connection<'_> {
    /// Checks that a connection can be made, then closes it in the usual way.
    pub(super) async fn knock(&self) -> Verdict {
        match self.connect(true).await {
            Ok(_) => Verdict::Up,
            Err(error) => failure::verdict(&error, Stage::Connect),
        }
    }

    /// Runs a conversation, over as many connections as it asks for.
    pub(super) async fn hold(&self, conversation: &mut dyn Conversation) -> Verdict {
        loop {
            self.progress.stage.set(Stage::Connect);
            let stream = match self.connect(false).await {
                Ok(stream) => stream,
                Err(error) => return failure::verdict(&error, Stage::Connect),
            };
            let step = match self.converse(&stream, conversation).await {
                Ok(step) => step,
                Err(error) => return failure::verdict(&error, self.progress.stage.get()),
            };
            // There is nothing more to say, so a reset avoids keeping a TIME_WAIT. If setting it
            // fails, the connection ends in an orderly way.
            let _ = sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            if let Step::Done(verdict) = step {
                return verdict;
            }
        }
    }

    /// Makes a connection. Unless only the handshake is wanted, its last acknowledgement rides on
    /// the first data, which saves a packet.
    ///
    /// `tokio::net::TcpSocket` would do, but asks for the socket's error after every connection.
    async fn connect(&self, acknowledge: bool) -> io::Result<TcpStream> {
        let family = match self.target {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(family, SocketType::STREAM, flags, None)?;
        if !acknowledge {
            // A hint: if it fails, there is one packet more.
            let _ = sockopt::set_tcp_quickack(&socket, false);
        }
        match connect(&socket, &self.target) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error.into()),
        }
        let stream = TcpStream::from_std(socket.into())?;
        let ready = stream.ready(Interest::WRITABLE | Interest::ERROR).await?;
        if ready.is_error() || ready.is_write_closed() {
            if let Some(error) = stream.take_error()? {
                return Err(error);
            }
        }
        self.progress.connected();
        Ok(stream)
    }

    /// Runs a conversation over one connection, up to the first step that isn't [`Step::Continue`].
    async fn converse(
        &self,
        stream: &TcpStream,
        conversation: &mut dyn Conversation,
    ) -> io::Result<Step> {
        let mut out = Vec::with_capacity(REQUEST);
        // Whether this side may still send.
        let mut open = true;
        let mut step = conversation.start(&mut out);
        loop {
            self.progress.stage.set(conversation.stage());
            // Output left at the end needs no sending: closing the connection says it all.
            if step != Step::Continue {
                return Ok(step);
            }
            let mut sent = send(stream, &mut out).await;
            if sent.is_ok() && open && conversation.is_done_sending() {
                open = false;
                sent = shutdown(stream, Shutdown::Write).map_err(io::Error::from);
            }
            // The reply may have arrived before the server stopped listening.
            if let Err(error) = sent.and(stream.readable().await) {
                if !is_reset(&error) {
                    return Err(error);
                }
            }
            step = self.receive(stream, conversation, &mut out)?;
        }
    }

    /// Passes what has arrived to the conversation.
    fn receive(
        &self,
        stream: &TcpStream,
        conversation: &mut dyn Conversation,
        out: &mut Vec<u8>,
    ) -> io::Result<Step> {
        let mut buffer = self.buffer.borrow_mut();
        match stream.try_read(&mut buffer) {
            Ok(0) => Ok(ended(conversation, Closed::End)),
            Ok(length) => Ok(conversation.received(&buffer[..length], out)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Step::Continue),
            Err(error) if is_reset(&error) => Ok(ended(conversation, Closed::Reset)),
            Err(error) => Err(error),
        }
    }
}

/// Sends all of `out`.
async fn send(stream: &TcpStream, out: &mut Vec<u8>) -> io::Result<()> {
    let mut sent = 0;
    while sent < out.len() {
        match stream.try_write(&out[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    out.clear();
    Ok(())
}

/// A conversation that continued after the end would wait forever.
fn ended(conversation: &mut dyn Conversation, how: Closed) -> Step {
    match conversation.closed(how) {
        Step::Continue => Step::Done(Verdict::down(
            crate::ReasonKind::Closed,
            conversation.stage(),
            "connection ended before the end of the reply",
        )),
        step => step,
    }
}

fn is_reset(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected};
    // shutdown(2) says that a connection that was reset isn't connected.
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected)
}
