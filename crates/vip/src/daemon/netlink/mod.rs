//! The kernel's network interfaces and addresses: read, watched and changed.

mod message;

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use ipvs_sys::nl::NLM_F_ACK;
use ipvs_sys::{Body, Messages, nl};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, send, socket_with,
};

pub use self::message::{Link, LinkAddress, Message};
use self::message::{Request, write_message};
use super::source::Source;
use crate::config::Address;

/// The kernel makes no larger datagram of a list (`NLMSG_GOODSIZE`, `netlink_dump`).
const DATAGRAM: usize = 32 * 1024;

/// Changes that fit into the queue of the watching socket, in bytes as the kernel counts them.
const QUEUE: usize = 1024 * 1024;

/// What is watched: `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// How often a list is asked for that changes while it is read.
const TRIES: usize = 5;

/// How many datagrams are read at a time.
const DATAGRAMS: usize = 4096;

fn open(groups: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kind = SocketType::RAW;
    // The protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, kind, flags, None)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// Asks and orders. The kernel has done what it is told when send(2) returns, so there is no wait for
/// its reply.
#[derive(Debug)]
pub struct Requests {
    socket: OwnedFd,
    seq: u32,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl Requests {
    /// A socket of the calling thread's network namespace.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn open() -> io::Result<Self> {
        let (request, reply) = (Vec::new(), vec![0; DATAGRAM]);
        Ok(Self { socket: open(0)?, seq: 0, request, reply })
    }

    /// All interfaces, then all addresses.
    ///
    /// # Errors
    ///
    /// The kernel's, or `Interrupted` if they change all the time.
    pub fn list(&mut self) -> io::Result<Vec<Message>> {
        let mut messages = self.dump(Request::Links)?;
        messages.extend(self.dump(Request::Addresses)?);
        Ok(messages)
    }

    /// Puts an address on an interface, unless it is there.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn add(&mut self, index: u32, address: Address) -> io::Result<()> {
        self.change(Request::Add(index, address), Errno::EXIST)
    }

    /// Takes an address off an interface, if it is there.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn remove(&mut self, index: u32, address: Address) -> io::Result<()> {
        match self.change(Request::Remove(index, address), Errno::ADDRNOTAVAIL) {
            // An interface that is gone has taken its addresses along.
            Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => Ok(()),
            other => other,
        }
    }

    /// Orders any change of `rtnetlink`(7): the message's type, its flags beside those of a request that
    /// is acknowledged, and its payload.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn order(&mut self, kind: u16, flags: u16, payload: &[u8]) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        write_message(kind, NLM_F_ACK | flags, self.seq, payload, &mut self.request);
        send(&self.socket, &self.request, SendFlags::DONTWAIT)?;
        self.acknowledged(None)
    }

    /// Orders a change; `done` is the error that says that there is nothing to do.
    fn change(&mut self, request: Request, done: Errno) -> io::Result<()> {
        self.send(request)?;
        self.acknowledged(Some(done))
    }

    fn acknowledged(&mut self, done: Option<Errno>) -> io::Result<()> {
        loop {
            let length = self.receive()?;
            for frame in Messages::new(&self.reply[..length]) {
                let frame = frame.map_err(io::Error::other)?;
                if frame.header.seq != self.seq {
                    continue;
                }
                if let Body::Error(reply) = frame.body {
                    return match reply.errno {
                        0 => Ok(()),
                        errno if done.is_some_and(|it| it.raw_os_error() == errno) => Ok(()),
                        errno => Err(io::Error::from_raw_os_error(errno)),
                    };
                }
            }
        }
    }

    fn dump(&mut self, request: Request) -> io::Result<Vec<Message>> {
        for _ in 0..TRIES {
            let (messages, is_whole) = self.dump_once(request)?;
            if is_whole {
                return Ok(messages);
            }
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    /// A list, and whether it is one state of things.
    fn dump_once(&mut self, request: Request) -> io::Result<(Vec<Message>, bool)> {
        self.send(request)?;
        let (mut messages, mut is_whole) = (Vec::new(), true);
        loop {
            let length = self.receive()?;
            for frame in Messages::new(&self.reply[..length]) {
                let frame = frame.map_err(io::Error::other)?;
                if frame.header.seq != self.seq {
                    continue;
                }
                is_whole &= frame.header.flags & nl::NLM_F_DUMP_INTR == 0;
                match frame.body {
                    Body::Data(payload) => {
                        messages.extend(Message::read(frame.header.message_type, payload));
                    }
                    Body::Error(end) | Body::Done(end) if end.errno != 0 => {
                        return Err(io::Error::from_raw_os_error(end.errno));
                    }
                    Body::Done(_) => return Ok((messages, is_whole)),
                    Body::Error(_) | Body::Noop | Body::Overrun => {}
                }
            }
        }
    }

    fn send(&mut self, request: Request) -> io::Result<()> {
        self.seq = self.seq.wrapping_add(1);
        request.write(self.seq, &mut self.request);
        send(&self.socket, &self.request, SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// The length of the next datagram. One that doesn't fit is an error.
    fn receive(&mut self) -> io::Result<usize> {
        receive(&self.socket, &mut self.reply)
    }
}

fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    let (_, length) = recv(socket, &mut *buffer, flags)?;
    if length > buffer.len() { Err(Errno::MSGSIZE.into()) } else { Ok(length) }
}

/// What the watching socket tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Something has changed.
    Message(Message),
    /// Some changes were lost: everything has to be read again.
    Lost,
}

/// What a datagram to the watching socket tells.
pub(crate) fn read_changes(datagram: &[u8]) -> impl Iterator<Item = Change> + '_ {
    Messages::new(datagram).filter_map(|frame| match frame {
        Ok(frame) => match frame.body {
            Body::Data(payload) => {
                Message::read(frame.header.message_type, payload).map(Change::Message)
            }
            _ => None,
        },
        Err(_) => Some(Change::Lost),
    })
}

/// Watches interfaces and addresses.
#[derive(Debug)]
pub(crate) struct Monitor {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Monitor {
    /// What changes from now on is told.
    pub(crate) fn open() -> io::Result<Self> {
        let socket = open(GROUPS)?;
        // Without the right to more, the queue stays as it is, and overflows earlier.
        let _ = set_socket_recv_buffer_size_force(&socket, QUEUE);
        Ok(Self { socket, buffer: vec![0; DATAGRAM] })
    }
}

impl Source for Monitor {
    type Event = Change;

    fn register<'a>(&'a self, to: &mut Vec<PollFd<'a>>) {
        to.push(PollFd::new(&self.socket, PollFlags::IN));
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn turn(&mut self, ready: &[PollFlags], _now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        if ready.iter().all(PollFlags::is_empty) {
            return changes;
        }
        for _ in 0..DATAGRAMS {
            let length = match receive(&self.socket, &mut self.buffer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return changes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // ENOBUFS, or a datagram that doesn't fit.
                Err(_) => {
                    changes.push(Change::Lost);
                    continue;
                }
            };
            changes.extend(read_changes(&self.buffer[..length]));
        }
        // Somebody changes so much that there is no end of it. Whatever is half read is read again.
        changes.push(Change::Lost);
        changes
    }
}
