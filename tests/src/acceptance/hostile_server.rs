//! Servers that behave badly, and how long clients put up with it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipvs_testkit::Namespace;
use nix::sys::socket::{Shutdown, shutdown};

use super::pulse::now;

/// How long a read or a write waits. A client's end wakes it earlier.
const LOOK: Duration = Duration::from_millis(250);

/// Nobody is kept longer than this, so that no thread stays.
const LONGEST: Duration = Duration::from_secs(60);

/// What a server does on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Nothing.
    Silent,
    /// Sends the page a byte a second.
    Drips,
    /// Sends headers as fast as they are taken, and never ends them.
    Headers,
    /// Sends a body as fast as it is taken, and never ends it.
    Body,
    /// Sends ten million bytes of which none is what a check looks for.
    Large,
}

/// A server that behaves like that to everybody. Dropping it stops it.
#[derive(Debug)]
pub struct HostileServer {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
    visits: Arc<Mutex<Vec<[Duration; 2]>>>,
}

impl HostileServer {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// If it can't listen.
    pub fn start(netns: &Namespace, addr: SocketAddrV4, behaviour: Behaviour) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind(addr))?;
        let listener = listener.with_context(|| format!("cannot listen on {addr}"))?;
        let (accepting, visits) = (listener.try_clone()?, Arc::default());
        let kept: Arc<Mutex<Vec<_>>> = Arc::clone(&visits);
        let thread = thread::Builder::new().name(format!("{behaviour:?}")).spawn(move || {
            while let Ok((client, _)) = accepting.accept() {
                let (kept, begin) = (Arc::clone(&kept), now());
                let serve = move || {
                    // An error is the client's end.
                    let _ = serve(client, behaviour, Instant::now());
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    kept.push([begin, now()]);
                };
                if thread::Builder::new().stack_size(128 << 10).spawn(serve).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { listener, thread: Some(thread), visits })
    }

    /// When clients were accepted and when they had gone, since the epoch.
    pub fn visits(&self) -> Vec<[Duration; 2]> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for HostileServer {
    fn drop(&mut self) {
        // Makes `accept` fail, so that the thread ends.
        let ended = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        let thread = self.thread.take().filter(|_| ended.is_ok());
        if thread.is_some_and(|thread| thread.join().is_err()) {
            eprintln!("a hostile server panicked");
        }
    }
}

/// Returns when the client is gone.
fn serve(mut client: TcpStream, behaviour: Behaviour, start: Instant) -> std::io::Result<()> {
    client.set_read_timeout(Some(LOOK))?;
    client.set_write_timeout(Some(LOOK))?;
    let begin: &[u8] = match behaviour {
        Behaviour::Silent => b"",
        Behaviour::Headers => b"HTTP/1.1 200 OK\r\n",
        Behaviour::Drips | Behaviour::Body | Behaviour::Large => b"HTTP/1.1 200 OK\r\n\r\n",
    };
    let chunk = match behaviour {
        Behaviour::Silent | Behaviour::Drips => Vec::new(),
        Behaviour::Headers => b"X-Header: another one\r\n".repeat(400),
        Behaviour::Body | Behaviour::Large => vec![b'x'; 10_000],
    };
    client.write_all(begin)?;
    let (mut sent, mut dripped) = (0, 0);
    while start.elapsed() < LONGEST {
        if behaviour == Behaviour::Drips && start.elapsed().as_secs() > dripped {
            dripped += 1;
            client.write_all(b"w")?;
        }
        let more = !chunk.is_empty() && (behaviour != Behaviour::Large || sent < 10_000_000);
        if more {
            match client.write(&chunk) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        if behaviour == Behaviour::Large {
            client.shutdown(std::net::Shutdown::Write)?;
        }
        match client.read(&mut [0; 4096]) {
            Ok(0) => return Ok(()),
            Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
