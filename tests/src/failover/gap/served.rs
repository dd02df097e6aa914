//! What a real server serves: connections that mean nothing, a steady download, and echoes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipvs::ServiceKey;
use ipvs_testkit::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::site::VIP;

/// TCP: accepted, no more.
pub(super) const PROBES: SocketAddrV4 = SocketAddrV4::new(VIP, 80);
/// TCP: [`CHUNK`] bytes every [`PACE`].
pub(super) const DOWNLOADS: SocketAddrV4 = SocketAddrV4::new(VIP, 81);
/// TCP: what comes goes back.
pub(super) const ECHOES: SocketAddrV4 = SocketAddrV4::new(VIP, 82);
/// UDP: what comes goes back.
pub(super) const DATAGRAMS: SocketAddrV4 = SocketAddrV4::new(VIP, 83);

/// How often a download gets more.
const PACE: Duration = Duration::from_millis(10);

/// How much: less than a packet holds.
const CHUNK: usize = 1000;

/// How often a server looks whether it is to stop.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// The longest that a connection is served: longer than a run takes.
const LONGEST: Duration = Duration::from_secs(120);

/// All services.
pub(super) fn services() -> [ServiceKey; 4] {
    let tcp = |at: SocketAddrV4| ServiceKey::tcp(at.into());
    [tcp(PROBES), tcp(DOWNLOADS), tcp(ECHOES), ServiceKey::udp(DATAGRAMS.into())]
}

/// The services of one real server. Dropping it stops them.
#[derive(Debug)]
pub(super) struct Served {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Served {
    pub(super) fn start(netns: &Namespace) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (at, serve) in
            [(PROBES, None), (DOWNLOADS, Some(download as Serve)), (ECHOES, Some(echo))]
        {
            let listener = netns.run(|| TcpListener::bind(at))?;
            let listener = listener.with_context(|| format!("cannot listen on {at}"))?;
            listener.set_nonblocking(true)?;
            let stopped = Arc::clone(&stop);
            let named = thread::Builder::new().name(format!("served {at}"));
            threads.push(named.spawn(move || accept(&listener, serve, &stopped))?);
        }
        let socket = netns.run(|| UdpSocket::bind(DATAGRAMS))?;
        let socket = socket.with_context(|| format!("cannot bind {DATAGRAMS}"))?;
        socket.set_nonblocking(true)?;
        let stopped = Arc::clone(&stop);
        let named = thread::Builder::new().name("datagrams".to_owned());
        threads.push(named.spawn(move || send_back(&socket, &stopped))?);
        Ok(Self { stop, threads })
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("a server panicked");
            }
        }
    }
}

/// What a connection is for.
type Serve = fn(TcpStream, &AtomicBool);

fn accept(listener: &TcpListener, serve: Option<Serve>, stop: &Arc<AtomicBool>) {
    while !stop.load(Ordering::Relaxed) {
        // An error shows in `accept`.
        let _ = poll(&mut [PollFd::new(listener, PollFlags::IN)], Some(&LOOK));
        while let Ok((client, _)) = listener.accept() {
            let Some(serve) = serve else { continue };
            let stopped = Arc::clone(stop);
            // Without a thread the client sees that its connection ends.
            let _ = thread::Builder::new().spawn(move || serve(client, &stopped));
        }
    }
}

fn download(mut client: TcpStream, stop: &AtomicBool) {
    let end = Instant::now() + LONGEST;
    let _ = client.set_write_timeout(Some(LONGEST));
    let _ = client.set_nodelay(true);
    let mut next = Instant::now();
    while !stop.load(Ordering::Relaxed) && next < end && client.write_all(&[b'd'; CHUNK]).is_ok() {
        // What couldn't be sent in time isn't sent in a burst later.
        next = (next + PACE).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

fn echo(mut client: TcpStream, stop: &AtomicBool) {
    let end = Instant::now() + LONGEST;
    let _ = client.set_read_timeout(Some(Duration::from_millis(500)));
    let mut bytes = [0; 64];
    while !stop.load(Ordering::Relaxed) && Instant::now() < end {
        match client.read(&mut bytes) {
            Ok(count) if count > 0 && client.write_all(&bytes[..count]).is_ok() => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            _ => return,
        }
    }
}

fn send_back(socket: &UdpSocket, stop: &AtomicBool) {
    let mut bytes = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&LOOK));
        while let Ok((count, client)) = socket.recv_from(&mut bytes) {
            let _ = socket.send_to(&bytes[..count], client);
        }
    }
}
