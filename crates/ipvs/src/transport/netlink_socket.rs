//! The generic-netlink socket.

use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::AsFd;
use std::time::Instant;

use ipvs_os::receive_datagrams;
use netlink_sys::protocols::NETLINK_GENERIC;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::error::Error;
#[cfg(doc)]
use crate::error::kind::ErrorKind;
use crate::error::operation::Operation;
use crate::transport::Transport;
use crate::transport::netns::Namespace;
use crate::transport::proc_files::{NamespaceFiles, ProcFiles};

/// The kernel sizes the datagrams of a list by the largest receive buffer it has seen, up to 32
/// KiB, so it has to see this one from the first receive on. No other reply is nearly as long.
const RECEIVE_BUFFER: usize = 32 * 1024;

/// How many datagrams one system call receives: a list that fits in one datagram has its end in a
/// second one.
const AT_ONCE: usize = 2;

/// A generic-netlink socket: the transport that reaches the kernel.
///
/// It stays in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct NetlinkSocket {
    // Private, because netlink-sys's Socket has traps for users of this type: its Clone closes the
    // descriptor twice.
    socket: Socket,
    files: NamespaceFiles,
    /// What one system call received.
    incoming: [Vec<u8>; AT_ONCE],
    /// Which of them haven't been returned yet.
    pending: Range<usize>,
}

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// As socket(2) and connect(2).
    pub fn open() -> io::Result<Self> {
        Ok(Self::new(socket()?, NamespaceFiles::of_current()))
    }

    /// Opens a socket in `namespace`. The calling thread stays where it is.
    ///
    /// # Errors
    ///
    /// If the namespace can't be entered: [`ErrorKind::PermissionDenied`] without `CAP_SYS_ADMIN`,
    /// [`ErrorKind::NotANamespace`]. [`ErrorKind::Io`] as socket(2) and connect(2).
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        let socket = namespace
            .run(socket)?
            .map_err(|cause| Error::from_io(Operation::Connect, None, cause))?;
        Ok(Self::new(socket, NamespaceFiles::of(namespace)))
    }

    /// Its namespace, if it has a handle to it.
    pub(crate) fn namespace(&self) -> Option<&Namespace> {
        self.files.namespace()
    }

    fn new(socket: Socket, files: NamespaceFiles) -> Self {
        Self { socket, files, incoming: [const { Vec::new() }; AT_ONCE], pending: 0..0 }
    }

    /// Receives as many pending datagrams as one system call can; false if there are none.
    fn receive_several(&mut self) -> io::Result<bool> {
        for buffer in &mut self.incoming {
            buffer.clear();
            buffer.reserve(RECEIVE_BUFFER);
        }
        match receive_datagrams(&self.socket, &mut self.incoming) {
            Ok(count) => {
                self.pending = 0..count;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(NETLINK_GENERIC)?;
    // A socket connected to the kernel gets messages from nobody else. This also binds it.
    socket.connect(&SocketAddr::new(0, 0))?;
    // Kernels before 4.12 have neither: their errors come without an explanation, and with a copy
    // of the request.
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

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        if self.pending.is_empty() && !self.receive_several()? {
            return Ok(false);
        }
        let Some(next) = self.pending.next() else { return Ok(false) };
        mem::swap(buffer, &mut self.incoming[next]);
        Ok(true)
    }

    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        Ok(!self.pending.is_empty() || wait_readable(&self.socket, deadline)?)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.pending = 0..0;
        // Receiving makes the kernel go on with a list in progress, so this ends it, too. The
        // kernel works inside send: once there is nothing left to receive, nothing more will come.
        loop {
            match self.receive_several() {
                Ok(true) => self.pending = 0..0,
                Ok(false) => return Ok(()),
                // Replies were dropped, or one was cut off: neither matters now.
                Err(error)
                    if matches!(
                        Errno::from_io_error(&error),
                        Some(Errno::NOBUFS | Errno::MSGSIZE)
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn files(&mut self) -> Option<&mut dyn ProcFiles> {
        Some(&mut self.files)
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
