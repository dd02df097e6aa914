//! What carries datagrams to the kernel and back.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::Instant;

use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

#[cfg(doc)]
use crate::error::ErrorKind;
use crate::error::{Error, Operation};
use crate::netns::{Namespace, NamespaceFiles};

/// What carries datagrams to the kernel and back: the seam at which [`Client`](crate::Client)
/// can be tested without a kernel.
pub trait Transport {
    /// Sends one datagram. The kernel carries out the requests in it before this returns.
    ///
    /// # Errors
    ///
    /// As send(2).
    fn send(&mut self, datagram: &[u8]) -> io::Result<()>;

    /// Waits for one datagram and puts it into `buffer`, in place of what was there. Returns
    /// false if none came until `deadline`.
    ///
    /// # Errors
    ///
    /// As recv(2); `ENOBUFS` says that the kernel had to drop answers.
    fn receive(&mut self, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<bool>;

    /// Gets rid of whatever is under way, answers that are still to come included.
    ///
    /// # Errors
    ///
    /// As recv(2).
    fn reset(&mut self) -> io::Result<()>;

    /// Opens a file under `/proc` for reading, as a thread in the network namespace at the other
    /// end sees it: `thread-self/net/ip_vs_conn` for the connections,
    /// `sys/net/ipv4/vs/NAME` for a [setting](crate::sysctl).
    ///
    /// # Errors
    ///
    /// As open(2); `ENOENT` says that there is no such file. A transport that doesn't implement
    /// this has no files at all, which is [`io::ErrorKind::Unsupported`].
    fn open_file(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Writes `text` to such a file, in one write.
    ///
    /// # Errors
    ///
    /// As open(2) and write(2); see [`open_file`](Self::open_file).
    fn write_file(&mut self, path: &str, text: &str) -> io::Result<()> {
        let _ = (path, text);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether rates are estimated at the other end. If not, what it reports as rates means
    /// nothing, and isn't passed on.
    fn estimates_rates(&mut self) -> bool {
        true
    }
}

/// The kernel sizes the datagrams of a list by the largest buffer it has seen, up to 32 KiB, and
/// wants to see it from the first receive on.
const RECEIVE_BUFFER: usize = 64 * 1024;

/// A generic-netlink socket: the transport that reaches the kernel.
///
/// It belongs to the network namespace of the thread that opened it, for good.
#[derive(Debug)]
pub struct NetlinkSocket {
    // Private, because netlink-sys' Socket has traps (its Clone closes the descriptor twice) that
    // users of this type are to be spared.
    socket: Socket,
    files: NamespaceFiles,
}

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// As socket(2) and connect(2).
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: socket()?, files: NamespaceFiles::of_current() })
    }

    /// Opens a socket in `namespace`. The calling thread stays where it is.
    ///
    /// # Errors
    ///
    /// If the namespace can't be entered: [`ErrorKind::PermissionDenied`] for who lacks
    /// `CAP_SYS_ADMIN`, [`ErrorKind::NotANamespace`]. [`ErrorKind::Io`] as socket(2) and
    /// connect(2).
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        let socket = namespace
            .run(socket)?
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        Ok(Self { socket, files: NamespaceFiles::of(namespace) })
    }
}

fn socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    // Connected to the kernel, it takes messages from nobody else.
    socket.connect(&SocketAddr::new(0, 0))?;
    // Both are refinements that kernels before 4.12 don't have: their errors come without
    // words, and with a copy of the request.
    let _ = socket.set_ext_ack(true);
    let _ = socket.set_cap_ack(true);
    Ok(socket)
}

impl Transport for NetlinkSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        let sent = rustix::io::retry_on_intr(|| {
            rustix::net::send(&self.socket, datagram, SendFlags::empty())
        })?;
        if sent != datagram.len() {
            return Err(io::Error::new(
                io::ErrorKind::WriteZero,
                format!("the kernel took {sent} of {} bytes", datagram.len()),
            ));
        }
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>, deadline: Instant) -> io::Result<bool> {
        loop {
            // Answers are there when send returns, so most receives need no wait.
            match self.receive_now(buffer) {
                Err(Errno::AGAIN) => {
                    if !wait_readable(&self.socket, deadline)? {
                        return Ok(false);
                    }
                }
                other => return Ok(other.map(|()| true)?),
            }
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        // Receiving drives a list on that is under way, so this ends it too. The kernel works
        // inside send, so there is nothing still to come once there's nothing left to receive.
        let mut buffer = Vec::new();
        loop {
            match self.receive_now(&mut buffer) {
                // Answers were dropped, or one was cut: neither matters any more.
                Ok(()) | Err(Errno::NOBUFS | Errno::MSGSIZE) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn open_file(&mut self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.files.open(path)?))
    }

    fn write_file(&mut self, path: &str, text: &str) -> io::Result<()> {
        self.files.write(path, text.as_bytes())
    }

    fn estimates_rates(&mut self) -> bool {
        self.files.estimates_rates()
    }
}

impl NetlinkSocket {
    fn receive_now(&mut self, buffer: &mut Vec<u8>) -> Result<(), Errno> {
        buffer.clear();
        buffer.reserve(RECEIVE_BUFFER);
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.socket, spare_capacity(buffer), flags)
        })?;
        if length > buffer.len() { Err(Errno::MSGSIZE) } else { Ok(()) }
    }
}

/// Waits until there's something to receive; false if there's nothing until `deadline`.
fn wait_readable(socket: impl AsFd, deadline: Instant) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the deadline is too far"))?;
        match poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
