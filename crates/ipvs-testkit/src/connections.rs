//! Connections that stay open, to servers that identify themselves.
//!
//! Schedulers decide by who is connected, so these tests hold many connections at a time, each from
//! an address and port that the test knows.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, shutdown, socket,
};
use rustix::event::{PollFd, PollFlags, poll};

use crate::namespace::Namespace;

/// How long a client waits for each packet from the other side.
const PACKET_LIMIT: Duration = Duration::from_secs(10);

/// How much a server reads at once; clients write one byte at a time.
const REQUEST: usize = 64;

/// A server that writes its name as a line to every client that connects, and again each time it
/// reads something. It closes a connection only after the client has. Dropping it stops it.
#[derive(Debug)]
pub struct NameServer {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// Starts a server on an address of `netns`.
    ///
    /// # Errors
    ///
    /// If the server can't listen on the address.
    pub fn start(netns: &Namespace, addr: SocketAddrV4, name: &str) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind(addr))?;
        let listener = listener.with_context(|| format!("cannot listen on {addr}"))?;
        let (line, accepting) = (format!("{name}\n"), listener.try_clone()?);
        let thread = thread::Builder::new()
            .name(format!("server {name}"))
            .spawn(move || serve(&accepting, line.as_bytes()))?;
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        // Wake the listener and make `accept` fail, so that the thread ends.
        let ended = shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        let thread = self.thread.take().filter(|_| ended.is_ok());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the server on {:?} panicked", self.listener.local_addr());
        }
    }
}

/// Serves clients until the listener is shut down.
fn serve(listener: &TcpListener, line: &[u8]) {
    let mut clients: Vec<TcpStream> = Vec::new();
    loop {
        let mut ready = vec![PollFd::new(listener, PollFlags::IN)];
        ready.extend(clients.iter().map(|client| PollFd::new(client, PollFlags::IN)));
        if rustix::io::retry_on_intr(|| poll(&mut ready, None)).is_err() {
            return;
        }
        let mut waiting = ready.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
        drop(ready);
        let accept = waiting.remove(0);
        // A write error means that the client has gone, which is no reason for a server to stop.
        let mut waiting = waiting.into_iter();
        clients.retain_mut(|client| waiting.next() != Some(true) || answer(client, line).is_ok());
        if accept {
            let Ok((mut client, _)) = listener.accept() else { return };
            if client.write_all(line).is_ok() {
                clients.push(client);
            }
        }
    }
}

fn answer(client: &mut TcpStream, line: &[u8]) -> io::Result<()> {
    if client.read(&mut [0; REQUEST])? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    client.write_all(line)
}

/// A connection that stays open until it is closed or dropped.
#[derive(Debug)]
pub struct Held {
    stream: TcpStream,
    /// The client's address.
    pub client: SocketAddrV4,
    /// The address that the client connected to.
    pub target: SocketAddrV4,
    /// The name that the server sent.
    pub server: String,
}

impl Held {
    /// Connects to a [`NameServer`] from an address of `netns` and reads its name. Port 0 means any
    /// port. Returns `None` if the connection is refused.
    ///
    /// # Errors
    ///
    /// If the address can't be used, or nothing arrives for 10 seconds.
    pub fn open(
        netns: &Namespace,
        client: SocketAddrV4,
        target: SocketAddrV4,
    ) -> Result<Option<Self>> {
        let opened = netns.run(|| Self::open_here(client, target))?;
        opened.with_context(|| format!("from {client} to {target}"))
    }

    /// [`Held::open`] in the network namespace of the calling thread, to open many on one thread.
    ///
    /// # Errors
    ///
    /// See [`Held::open`].
    pub fn open_here(client: SocketAddrV4, target: SocketAddrV4) -> Result<Option<Self>> {
        let Some(mut stream) = connect_from(client, target)? else { return Ok(None) };
        let std::net::SocketAddr::V4(client) = stream.local_addr()? else {
            unreachable!("an IPv4 socket has an IPv4 address")
        };
        let server = read_line(&mut stream).context("the server doesn't give its name")?;
        Ok(Some(Self { stream, client, target, server }))
    }

    /// Asks the server for its name again, to check that the connection still works and still leads
    /// to the same server.
    ///
    /// # Errors
    ///
    /// If it doesn't, or nothing arrives for 10 seconds.
    pub fn ask(&mut self) -> Result<()> {
        let what = format!("the connection from {} to {}", self.client, self.server);
        self.stream.write_all(b"?").with_context(|| what.clone())?;
        let name = read_line(&mut self.stream).with_context(|| what.clone())?;
        ensure!(name == self.server, "{what}: {name} answers");
        Ok(())
    }

    /// Closes the connection and waits for the server to close its side. By then the client's FIN
    /// has passed everything between the client and the server.
    ///
    /// # Errors
    ///
    /// If the server doesn't close its side within 10 seconds.
    pub fn close(mut self) -> Result<()> {
        let what = format!("closing the connection from {} to {}", self.client, self.server);
        self.stream.shutdown(Shutdown::Write).with_context(|| what.clone())?;
        let rest = self.stream.read(&mut [0; REQUEST]).with_context(|| what.clone())?;
        ensure!(rest == 0, "{what}: the server says more");
        Ok(())
    }
}

/// Binds the client's address before connecting, which the standard library can't.
fn connect_from(client: SocketAddrV4, target: SocketAddrV4) -> Result<Option<TcpStream>> {
    let socket: OwnedFd =
        socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(client))
        .with_context(|| format!("cannot bind to {client}"))?;
    let stream = TcpStream::from(socket);
    // The send timeout also applies to connecting (socket(7), SO_SNDTIMEO).
    stream.set_write_timeout(Some(PACKET_LIMIT))?;
    stream.set_read_timeout(Some(PACKET_LIMIT))?;
    match connect(stream.as_fd().as_raw_fd(), &SockaddrIn::from(target)) {
        Ok(()) => Ok(Some(stream)),
        Err(Errno::ECONNREFUSED) => Ok(None),
        Err(Errno::EINPROGRESS) => Err(io::Error::from(ErrorKind::TimedOut).into()),
        Err(error) => Err(error).context("cannot connect"),
    }
}

/// Reads a line one byte at a time, which is fine for short lines.
fn read_line(stream: &mut TcpStream) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        if byte == *b"\n" {
            return Ok(String::from_utf8_lossy(&line).into_owned());
        }
        line.push(byte[0]);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn local(listener: &TcpListener) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port())
    }

    #[test]
    fn connections_are_held_asked_and_closed() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (addr, accepting) = (local(&listener), listener.try_clone().unwrap());
        let thread = thread::spawn(move || serve(&accepting, b"one\n"));
        let server = NameServer { listener, thread: Some(thread) };

        let any = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 9), 0);
        let mut held: Vec<_> =
            (0..3).map(|_| Held::open_here(any, addr).unwrap().unwrap()).collect();
        assert_eq!(*held[0].client.ip(), *any.ip());
        for connection in &mut held {
            assert_eq!(connection.server, "one");
            connection.ask().unwrap();
        }
        held.remove(1).close().unwrap();
        held[1].ask().unwrap();

        drop(server);
        assert!(held[0].ask().is_err(), "the server is gone");
        assert!(Held::open_here(any, addr).unwrap().is_none(), "nobody listens");
    }
}
