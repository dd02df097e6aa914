//! The minimum cost of a health check: a loop around epoll that connects, sends a request, reads the
//! start of the reply, and closes.
//!
//! It saves what the checks of `health-probe` save: starts lie on a grid of 20 ms, the handshake's
//! acknowledgement rides on the request, and the connection ends with a reset. It remembers nothing
//! and reports nothing.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, connect, recv, send, socket_with,
    sockopt,
};

use super::{TIMEOUT, real_servers};

const GRID: Duration = Duration::from_millis(20);

const EVENTS: usize = 256;

#[derive(Debug)]
struct Check {
    address: SocketAddrV4,
    request: Box<[u8]>,
    in_flight: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    socket: OwnedFd,
    started: Instant,
    asked: bool,
}

/// Checks this many real servers every `interval`, forever.
///
/// # Errors
///
/// If this machine has no room for another socket.
pub fn check(count: usize, interval: Duration) -> io::Result<()> {
    let mut checks: Vec<Check> = real_servers(count)
        .map(|server| Check {
            address: server.address,
            request: format!(
                "GET / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                server.address
            )
            .into_bytes()
            .into(),
            in_flight: None,
        })
        .collect();
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let slots = (interval.as_millis() / GRID.as_millis()).max(1) as usize;
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffer = vec![0; 4096];
    let (mut slot, mut due) = (0, Instant::now());
    loop {
        let now = Instant::now();
        if now >= due {
            let share = slot * count / slots..(slot + 1) * count / slots;
            for (index, check) in share.clone().zip(&mut checks[share]) {
                check.start(&epoll, index)?;
            }
            slot = (slot + 1) % slots;
            due += GRID;
            continue;
        }
        let wait = Timespec { tv_sec: 0, tv_nsec: (due - now).subsec_nanos().into() };
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events.drain(..) {
            checks[event.data.u64() as usize].go_on(event.flags, &mut buffer);
        }
    }
}

impl Check {
    /// Connects, unless the last check is still waiting within its time.
    fn start(&mut self, epoll: &OwnedFd, index: usize) -> io::Result<()> {
        if self.in_flight.as_ref().is_some_and(|it| it.started.elapsed() < TIMEOUT) {
            return Ok(());
        }
        self.in_flight = None;
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        let _ = sockopt::set_tcp_quickack(&socket, false);
        match connect(&socket, &self.address) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(_) => return Ok(()),
        }
        let all = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(epoll, &socket, EventData::new_u64(index as u64), all)?;
        self.in_flight = Some(Connection { socket, started: Instant::now(), asked: false });
        Ok(())
    }

    fn go_on(&mut self, flags: EventFlags, buffer: &mut [u8]) {
        let Some(Connection { socket, asked, .. }) = &mut self.in_flight else { return };
        if flags.intersects(EventFlags::ERR) {
            self.in_flight = None;
            return;
        }
        if !*asked && flags.contains(EventFlags::OUT) {
            *asked = send(&*socket, &self.request, SendFlags::NOSIGNAL) == Ok(self.request.len());
        }
        if !flags.contains(EventFlags::IN) {
            return;
        }
        match recv(&*socket, &mut *buffer, RecvFlags::empty()) {
            Err(Errno::AGAIN) => return,
            Ok((length, _)) if buffer[..length].starts_with(b"HTTP/1.1 200 ") => {
                let _ = sockopt::set_socket_linger(&*socket, Some(Duration::ZERO));
            }
            _ => {}
        }
        self.in_flight = None;
    }
}
