//! Choosing between the kernel's two interfaces to IPVS.

use std::fmt;
use std::io;
use std::time::Instant;

use ipvs_sys::{Body, Messages, nl};
use rustix::io::Errno;

use crate::error::Error;
use crate::trace;
use crate::transport::Transport;
use crate::transport::netlink_socket::NetlinkSocket;
use crate::transport::netns::Namespace;
use crate::transport::proc_files::ProcFiles;
use crate::transport::sockopt::SocketOptions;

/// One of the kernel's interfaces to IPVS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KernelInterface {
    /// Generic netlink, which has everything and requires CAP_NET_ADMIN in the initial user
    /// namespace.
    Netlink,
    /// Socket options, which are [limited](SocketOptions) and require CAP_NET_ADMIN in the user
    /// namespace that owns the network namespace.
    SocketOptions,
}

impl fmt::Display for KernelInterface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Netlink => "generic netlink",
            Self::SocketOptions => "socket options",
        })
    }
}

/// The transport that reaches the kernel's IPVS by generic netlink, or else by socket options.
///
/// Generic netlink is tried first. If it refuses the caller (EPERM) and the socket options don't,
/// they execute the refused requests and all that follow.
///
/// Both sockets stay in the network namespace of the thread that opened them.
#[derive(Debug)]
pub struct KernelSocket {
    netlink: NetlinkSocket,
    /// Opened once generic netlink has refused the caller, or at once if that wouldn't be possible
    /// later.
    options: Option<SocketOptions>,
    chosen: Option<KernelInterface>,
    /// The datagram sent last, until an interface is chosen.
    sent: Vec<u8>,
}

impl KernelSocket {
    /// Opens the sockets in the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// As socket(2) and connect(2).
    pub fn open() -> io::Result<Self> {
        let netlink = NetlinkSocket::open()?;
        // Without a handle to the namespace (without `/proc`) there is no way back to it later.
        let options = match netlink.namespace() {
            Some(_) => None,
            None => SocketOptions::open().ok(),
        };
        Ok(Self { options, ..Self::new(netlink) })
    }

    /// Opens the sockets in `namespace`. The calling thread stays where it is.
    ///
    /// # Errors
    ///
    /// As [`NetlinkSocket::open_in`].
    pub fn open_in(namespace: &Namespace) -> Result<Self, Error> {
        Ok(Self::new(NetlinkSocket::open_in(namespace)?))
    }

    fn new(netlink: NetlinkSocket) -> Self {
        Self { netlink, options: None, chosen: None, sent: Vec::new() }
    }

    /// Which interface is used; `None` until one has accepted a request.
    pub fn kernel_interface(&self) -> Option<KernelInterface> {
        self.chosen
    }

    /// The socket options, if they were chosen.
    fn chosen_options(&mut self) -> Option<&mut SocketOptions> {
        self.options.as_mut().filter(|_| self.chosen == Some(KernelInterface::SocketOptions))
    }

    /// Chooses according to the first reply to a request. If it chooses the socket options, they
    /// execute the refused requests, and their first reply replaces the refusal.
    fn choose(&mut self, answer: &mut Vec<u8>) -> io::Result<bool> {
        let Some(family) = family_of(&self.sent) else { return Ok(true) };
        if !is_refused(answer) {
            self.chosen = Some(KernelInterface::Netlink);
            trace::kernel_interface(&KernelInterface::Netlink);
            self.options = None;
            self.sent = Vec::new();
            return Ok(true);
        }
        if self.options.is_none() {
            // If opening fails, generic netlink's refusal says what is wrong.
            self.options =
                self.netlink.namespace().and_then(|here| SocketOptions::open_in(here).ok());
        }
        match &mut self.options {
            Some(options) if options.is_usable() => {
                // All requests of a window are refused alike, so none was executed.
                self.netlink.reset()?;
                options.set_family(family);
                self.chosen = Some(KernelInterface::SocketOptions);
                trace::kernel_interface(&KernelInterface::SocketOptions);
                options.send(&self.sent)?;
                self.sent = Vec::new();
                options.receive(answer)
            }
            _ => Ok(true),
        }
    }
}

impl Transport for KernelSocket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        if let Some(options) = self.chosen_options() {
            return options.send(datagram);
        }
        if self.chosen.is_none() {
            self.sent.clear();
            self.sent.extend_from_slice(datagram);
        }
        self.netlink.send(datagram)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        if let Some(options) = self.chosen_options() {
            return options.receive(buffer);
        }
        let received = self.netlink.receive(buffer)?;
        if received && self.chosen.is_none() {
            return self.choose(buffer);
        }
        Ok(received)
    }

    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        match self.chosen_options() {
            Some(options) => options.wait(deadline),
            None => self.netlink.wait(deadline),
        }
    }

    fn reset(&mut self) -> io::Result<()> {
        match self.chosen_options() {
            Some(options) => options.reset(),
            None => self.netlink.reset(),
        }
    }

    fn files(&mut self) -> Option<&mut dyn ProcFiles> {
        self.netlink.files()
    }
}

/// The id of IPVS's family in a datagram of requests to it; `None` if the datagram is for the
/// controller, which replies to everyone.
fn family_of(datagram: &[u8]) -> Option<u16> {
    let first = Messages::new(datagram).next()?.ok()?;
    Some(first.header.message_type).filter(|&id| id != nl::GENL_ID_CTRL)
}

/// Whether the first message of a datagram of replies refuses the caller (EPERM).
fn is_refused(datagram: &[u8]) -> bool {
    let first = Messages::new(datagram).next();
    matches!(
        first.and_then(Result::ok).map(|frame| frame.body),
        Some(Body::Error(answer)) if answer.errno == Errno::PERM.raw_os_error()
    )
}
