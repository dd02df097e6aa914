//! The real servers: one process that answers at every address of 127/8.

use std::collections::HashMap;
use std::io::{BufRead as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, thread};

use anyhow::{Context as _, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, accept_with, bind, connect,
    listen, recv, send, socket_with, sockopt,
};

use super::Manner;

const REPLY: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// The longest queue that a default kernel grants.
const BACKLOG: i32 = 4096;

const EVENTS: usize = 256;

/// How many connections fill a queue of length 0, with one to spare.
const FILLING: usize = 2;

/// Serves until standard input ends. For each line there, it prints how many requests it has
/// answered so far. It prints `ready` once every address answers.
///
/// # Errors
///
/// Those of the sockets.
pub fn serve() -> Result<()> {
    let answered = Arc::new(AtomicU64::new(0));
    let mut farm = Farm::open(Arc::clone(&answered)).context("can't open the real servers")?;
    let _full = fill().context("can't fill the queue of those that drop")?;
    println!("ready");
    thread::spawn(move || match report(&answered) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("farm: {error}");
            std::process::exit(1);
        }
    });
    loop {
        farm.turn()?;
    }
}

fn report(answered: &AtomicU64) -> io::Result<()> {
    for line in io::stdin().lock().lines() {
        line?;
        println!("{}", answered.load(Ordering::Relaxed));
        io::stdout().flush()?;
    }
    Ok(())
}

/// A listener that never accepts, and connections that keep its queue full: the kernel drops further
/// SYNs.
fn fill() -> io::Result<Vec<OwnedFd>> {
    let mut held = vec![listener(Manner::Drops, 0)?];
    for _ in 0..FILLING {
        let socket = tcp()?;
        match connect(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, Manner::Drops.port())) {
            Ok(()) | Err(Errno::INPROGRESS) => held.push(socket),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(held)
}

fn tcp() -> io::Result<OwnedFd> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?)
}

fn listener(manner: Manner, backlog: i32) -> io::Result<OwnedFd> {
    let socket = tcp()?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, manner.port()))?;
    listen(&socket, backlog)?;
    Ok(socket)
}

struct Farm {
    epoll: OwnedFd,
    answering: OwnedFd,
    hanging: OwnedFd,
    /// Open connections by descriptor, and whether they get an answer.
    connections: HashMap<u64, (OwnedFd, bool)>,
    answered: Arc<AtomicU64>,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
}

impl Farm {
    fn open(answered: Arc<AtomicU64>) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let [answering, hanging] = [Manner::Answers, Manner::Hangs].map(|it| listener(it, BACKLOG));
        let (answering, hanging) = (answering?, hanging?);
        for socket in [&answering, &hanging] {
            epoll::add(&epoll, socket, data(socket), EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            answering,
            hanging,
            connections: HashMap::new(),
            answered,
            events: Vec::with_capacity(EVENTS),
            buffer: vec![0; 4096],
        })
    }

    /// Waits for events and handles them.
    fn turn(&mut self) -> io::Result<()> {
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            let id = event.data.u64();
            if id == data(&self.answering).u64() {
                self.accept(true)?;
            } else if id == data(&self.hanging).u64() {
                self.accept(false)?;
            } else if let Some((socket, answers)) = self.connections.remove(&id) {
                if self.keeps(&socket, answers) {
                    self.connections.insert(id, (socket, answers));
                }
            }
        }
        self.events = events;
        Ok(())
    }

    fn accept(&mut self, answers: bool) -> io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        loop {
            let listener = if answers { &self.answering } else { &self.hanging };
            let socket = match accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                // The client has gone.
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            // A request usually comes with the connection.
            if self.keeps(&socket, answers) {
                epoll::add(&self.epoll, &socket, data(&socket), EventFlags::IN)?;
                self.connections.insert(data(&socket).u64(), (socket, answers));
            }
        }
    }

    /// Reads what has come and answers a request. Returns whether the connection goes on.
    fn keeps(&mut self, socket: &OwnedFd, answers: bool) -> bool {
        match recv(socket, self.buffer.as_mut_slice(), RecvFlags::empty()) {
            Err(Errno::AGAIN) => true,
            Err(_) | Ok((0, _)) => false,
            // All these clients send a request at once.
            Ok((length, _)) if answers && self.buffer[..length].ends_with(b"\r\n\r\n") => {
                if send(socket, REPLY, SendFlags::NOSIGNAL) == Ok(REPLY.len()) {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                false
            }
            Ok(_) => true,
        }
    }
}

/// What epoll says about a descriptor: its number.
fn data(fd: &OwnedFd) -> EventData {
    EventData::new_u64(fd.as_raw_fd() as u64)
}
