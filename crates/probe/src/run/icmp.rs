//! Pings: one raw socket for each family, and one task that reads all replies.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::UdpSocket as StdSocket;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};
use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::{PrepareError, Progress, failure, local};
use crate::checks::ping::{Echo, Heard};
use crate::verdict::{ReasonKind, Stage, Verdict};

/// The maximum number of bytes read of a packet.
const PACKET: usize = 2048;

/// The sockets, opened when they are first needed.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    v4: RefCell<Option<Rc<Socket>>>,
    v6: RefCell<Option<Rc<Socket>>>,
    sequence: Cell<u16>,
    /// Distinguishes this runner's requests from others on this machine, and generates tokens.
    random: RandomState,
}

#[derive(Debug)]
struct Socket {
    /// A raw socket. A `UdpSocket` works: the calls it makes are the same for both.
    socket: UdpSocket,
    /// The requests that are waiting for a reply.
    waiting: RefCell<HashMap<u16, (Echo, oneshot::Sender<Heard>)>>,
    reader: RefCell<Option<AbortHandle>>,
}

/// Checks that raw sockets are allowed.
pub(super) fn prepare(target: IpAddr) -> Result<(), PrepareError> {
    open(target).map(drop).map_err(|source| PrepareError::Ping { source })
}

fn open(target: IpAddr) -> io::Result<StdSocket> {
    let (family, protocol) = match target {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::RAW, flags, Some(protocol))?.into())
}

impl Sockets {
    /// Sends an echo request and waits for the reply.
    pub(super) async fn ping(&self, target: IpAddr, progress: &Progress) -> Verdict {
        let socket = match self.socket(target) {
            Ok(socket) => socket,
            Err(error) => return local(format!("cannot ping: {error}")),
        };
        let sequence = self.sequence.get();
        self.sequence.set(sequence.wrapping_add(1));
        let id = self.random.hash_one("id") as u16;
        let mut token = self.random.build_hasher();
        token.write_u16(sequence);
        // The time makes the token differ when the sequence numbers wrap around.
        token.write_u128(progress.started.elapsed().as_nanos());
        let echo = Echo::new(target, id, sequence, token.finish());

        let (sender, receiver) = oneshot::channel();
        socket.waiting.borrow_mut().insert(sequence, (echo, sender));
        let _waiting = Waiting { socket: &socket, sequence };
        progress.stage.set(Stage::Reply);
        if let Err(error) = socket.socket.send_to(&echo.message(), SocketAddr::new(target, 0)).await
        {
            return failure::verdict(&error, Stage::Connect);
        }
        match receiver.await {
            Ok(Heard::Reply) => Verdict::Up,
            Ok(Heard::Undeliverable) => {
                Verdict::down(ReasonKind::Unreachable, Stage::Reply, "no way to the server")
            }
            Err(_) => local("cannot receive ICMP any more"),
        }
    }

    /// Pings again until there is a reply, `most` times within `limit`.
    pub(super) async fn pings(
        &self,
        target: IpAddr,
        most: NonZeroU16,
        limit: Duration,
        progress: &Progress,
    ) -> Verdict {
        let each = limit / u32::from(most.get());
        for _ in 1..most.get() {
            match timeout(each, self.ping(target, progress)).await {
                Ok(Verdict::Down(_)) | Err(_) => {}
                Ok(verdict) => return verdict,
            }
        }
        // The last one ends with the check.
        self.ping(target, progress).await
    }

    fn socket(&self, target: IpAddr) -> io::Result<Rc<Socket>> {
        let place = if target.is_ipv4() { &self.v4 } else { &self.v6 };
        if let Some(socket) = &*place.borrow() {
            if socket.reader.borrow().as_ref().is_some_and(|reader| !reader.is_finished()) {
                return Ok(Rc::clone(socket));
            }
        }
        let socket = Rc::new(Socket {
            socket: UdpSocket::from_std(open(target)?)?,
            waiting: RefCell::default(),
            reader: RefCell::default(),
        });
        let reader = tokio::task::spawn_local(Rc::clone(&socket).read());
        *socket.reader.borrow_mut() = Some(reader.abort_handle());
        *place.borrow_mut() = Some(Rc::clone(&socket));
        Ok(socket)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        for socket in [&self.v4, &self.v6].into_iter().filter_map(|place| place.borrow_mut().take())
        {
            if let Some(reader) = socket.reader.borrow_mut().take() {
                reader.abort();
            }
        }
    }
}

/// A pending request; dropping it gives up waiting.
struct Waiting<'a> {
    socket: &'a Socket,
    sequence: u16,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.socket.waiting.borrow_mut().remove(&self.sequence);
    }
}

impl Socket {
    /// Reads packets for as long as a check may be waiting.
    async fn read(self: Rc<Self>) {
        let mut packet = [0; PACKET];
        loop {
            match self.socket.recv_from(&mut packet).await {
                Ok((length, from)) => self.heard(from.ip(), &packet[..length]),
                // The error is about a packet that was sent; its sender will see that no reply
                // comes. Let other tasks run meanwhile, in case the error persists.
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    fn heard(&self, from: IpAddr, packet: &[u8]) {
        let mut waiting = self.waiting.borrow_mut();
        let Some(sequence) = Echo::sequence_in(from.is_ipv4(), packet) else { return };
        let heard = waiting.get(&sequence).and_then(|(echo, _)| echo.hear(from, packet));
        if let (Some(heard), Some((_, sender))) = (heard, heard.and(waiting.remove(&sequence))) {
            // The receiver may have given up.
            let _ = sender.send(heard);
        }
    }
}
