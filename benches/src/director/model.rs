//! The model of IPVS in a process of its own, where a kernel would be: what it costs isn't the
//! program's.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::Instant;
use std::{io, thread};

use anyhow::{Context as _, Result};
use ipvs::Transport;
use ipvs_model::Kernel;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with,
    bind, connect, listen, recv, send, socket_with,
};

/// The word after which `ldirectord-model` is the model.
pub const SERVE: &str = "--serve-model";

/// Where it listens, in the abstract namespace of the network namespace.
const NAME: &[u8] = b"ipvs-model";

/// A request for an echo, by which the replies before it are known to be complete. No netlink message is
/// so short.
const ECHO: &[u8] = b"e";

/// The longest reply, as the kernel's.
const REPLY: usize = 32 * 1024;

/// The longest request is shorter.
const REQUEST: usize = 256 * 1024;

/// A transport to the model's process. It connects with the first request.
#[derive(Debug, Default)]
pub struct Socket {
    socket: Option<OwnedFd>,
    /// Replies that came while there was no room for a request.
    replies: VecDeque<Vec<u8>>,
}

impl Socket {
    fn socket(&mut self) -> io::Result<&OwnedFd> {
        if self.socket.is_none() {
            let socket = open()?;
            connect(&socket, &SocketAddrUnix::new_abstract_name(NAME)?)?;
            self.socket = Some(socket);
        }
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// The next datagram, if one is there.
    fn receive_now(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        buffer.resize(REPLY, 0);
        let socket = self.socket()?;
        let result = retry_on_intr(|| recv(socket, &mut **buffer, RecvFlags::DONTWAIT));
        let length = match result {
            Ok((_, 0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok((_, length)) => length,
            Err(Errno::AGAIN) => 0,
            Err(error) => return Err(error.into()),
        };
        buffer.truncate(length);
        Ok(length > 0)
    }
}

impl Transport for Socket {
    fn send(&mut self, datagram: &[u8]) -> io::Result<()> {
        loop {
            let socket = self.socket()?;
            match retry_on_intr(|| {
                send(socket, datagram, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
            }) {
                Ok(_) => return Ok(()),
                Err(Errno::AGAIN) => {}
                Err(error) => return Err(error.into()),
            }
            // The model may wait for room for its replies.
            let mut ready = [PollFd::new(self.socket()?, PollFlags::IN | PollFlags::OUT)];
            retry_on_intr(|| poll(&mut ready, None))?;
            let mut reply = Vec::new();
            while self.receive_now(&mut reply)? {
                self.replies.push_back(reply.as_slice().into());
            }
        }
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<bool> {
        match self.replies.pop_front() {
            Some(reply) => {
                *buffer = reply;
                Ok(true)
            }
            None => self.receive_now(buffer),
        }
    }

    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        if !self.replies.is_empty() {
            return Ok(true);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut ready = [PollFd::new(self.socket()?, PollFlags::IN)];
        Ok(retry_on_intr(|| poll(&mut ready, Some(&left)))? > 0)
    }

    fn reset(&mut self) -> io::Result<()> {
        self.send(ECHO)?;
        let mut reply = Vec::new();
        while reply != ECHO {
            if !self.receive(&mut reply)? {
                let mut ready = [PollFd::new(self.socket()?, PollFlags::IN)];
                retry_on_intr(|| poll(&mut ready, None))?;
            }
        }
        Ok(())
    }
}

/// Is the kernel for whoever connects. It prints `ready` once they can.
///
/// # Errors
///
/// If it can't listen.
pub fn serve() -> Result<()> {
    let listener = open()?;
    bind(&listener, &SocketAddrUnix::new_abstract_name(NAME)?).context("can't listen")?;
    listen(&listener, 8)?;
    println!("ready");
    let kernel = Kernel::new();
    loop {
        let client = retry_on_intr(|| accept_with(&listener, SocketFlags::CLOEXEC))?;
        // Another socket to the same table.
        let kernel = kernel.clone();
        thread::spawn(move || answer(&client, kernel));
    }
}

/// Answers one client until it goes.
fn answer(client: &OwnedFd, mut kernel: Kernel) -> io::Result<()> {
    let (mut request, mut reply) = (vec![0; REQUEST], Vec::new());
    loop {
        let (_, length) = retry_on_intr(|| recv(client, &mut *request, RecvFlags::empty()))?;
        match &request[..length] {
            [] => return Ok(()),
            ECHO => drop(send(client, ECHO, SendFlags::NOSIGNAL)?),
            datagram => {
                kernel.send(datagram)?;
                while kernel.receive(&mut reply)? {
                    send(client, &reply, SendFlags::NOSIGNAL)?;
                }
            }
        }
    }
}

fn open() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}
