//! What the client does all the time: new connections, a flow of datagrams, a download, and a
//! connection that it doesn't use.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ipvs::ServiceKey;
use ipvs_testkit::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use super::served::{DATAGRAMS, DOWNLOADS, ECHOES, PROBES};
use super::site::Known;
use crate::acceptance::pulse::now;

/// A flow whose gaps are measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    pub(super) title: &'static str,
    /// Whether there is a bar for its gaps. TCP waits longer with each retransmission, whatever
    /// happens below it.
    pub(super) judged: bool,
}

/// The flows, in the order of what [`Traffic::stop`] returns.
pub(super) const FLOWS: [Flow; 3] = [
    Flow { title: "new connections", judged: true },
    Flow { title: "a flow of datagrams", judged: true },
    Flow { title: "the stall of a download", judged: false },
];

/// How often there is a SYN, and how often a datagram.
const PERIOD: Duration = Duration::from_millis(10);

/// A thread that is later than this doesn't make up for it.
const LATE: Duration = Duration::from_millis(100);

/// How long a SYN may go unanswered: it would be sent again after a second (RFC 6298 §2).
const PATIENCE: Duration = Duration::from_millis(500);

/// How long the client waits for anything else.
const LIMIT: Duration = Duration::from_secs(5);

/// The ports of new connections, which aren't among those that the kernel chooses from.
const PORTS: std::ops::Range<u16> = 5_000..32_000;

/// When something arrived, as times since the epoch.
type Arrivals = Arc<Mutex<Vec<Duration>>>;

fn lock(arrivals: &Arrivals) -> std::sync::MutexGuard<'_, Vec<Duration>> {
    arrivals.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Threads that send and receive.
#[derive(Debug)]
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    arrivals: [Arrivals; 3],
    threads: Vec<JoinHandle<Result<()>>>,
    connections: [Known; 3],
    idle: Idle,
}

/// A connection that isn't used.
#[derive(Debug)]
pub(super) struct Idle {
    stream: TcpStream,
    pub(super) connection: Known,
}

impl Idle {
    fn start(client: &Namespace) -> Result<Self> {
        let (stream, connection) = open(client, ECHOES)?;
        let mut idle = Self { stream, connection };
        ensure!(idle.works(), "there is no echo");
        Ok(idle)
    }

    /// Whether it is of use; it is used for that.
    pub(super) fn works(&mut self) -> bool {
        let mut byte = [0];
        self.stream.write_all(b"e").is_ok() && self.stream.read_exact(&mut byte).is_ok()
    }
}

/// Connects to a service.
fn open(client: &Namespace, at: SocketAddrV4) -> Result<(TcpStream, Known)> {
    let stream = client.run(|| TcpStream::connect_timeout(&at.into(), LIMIT))?;
    let stream = stream.with_context(|| format!("cannot connect to {at}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    stream.set_nodelay(true)?;
    let known = Known { client: stream.local_addr()?, service: ServiceKey::tcp(at.into()) };
    Ok((stream, known))
}

impl Traffic {
    /// Starts all of it.
    pub(super) fn start(client: &Namespace) -> Result<Self> {
        let idle = Idle::start(client)?;
        let (download, downloads) = open(client, DOWNLOADS)?;
        let socket = client.run(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))??;
        socket.connect(DATAGRAMS)?;
        socket.set_nonblocking(true)?;
        let datagrams =
            Known { client: socket.local_addr()?, service: ServiceKey::udp(DATAGRAMS.into()) };
        let (stop, arrivals) = (Arc::new(AtomicBool::new(false)), <[Arrivals; 3]>::default());
        let [new, answered, received] = arrivals.clone();
        let stopped = [(); 3].map(|()| Arc::clone(&stop));
        let [stop_1, stop_2, stop_3] = stopped;
        // A thread of a thread that has entered a namespace is there as well.
        let threads = client.run(move || -> Result<_> {
            let named = |name: &str| thread::Builder::new().name(name.to_owned());
            Ok(vec![
                named("new connections").spawn(move || open_and_reset(&stop_1, &new))?,
                named("datagrams").spawn(move || ask(&socket, &stop_2, &answered))?,
                named("download").spawn(move || read(download, &stop_3, &received))?,
            ])
        })??;
        let connections = [idle.connection, downloads, datagrams];
        Ok(Self { stop, arrivals, threads, connections, idle })
    }

    /// What IPVS should know.
    pub(super) fn connections(&self) -> [Known; 3] {
        self.connections
    }

    /// Whether something of each flow has arrived since then; an error names one that stands still.
    pub(super) fn goes_on_since(&self, time: Duration) -> Result<()> {
        for (flow, arrivals) in FLOWS.iter().zip(&self.arrivals) {
            let last = lock(arrivals).last().copied();
            ensure!(last > Some(time), "{} stands still", flow.title);
        }
        Ok(())
    }

    /// Stops the flows. Returns when something of each arrived, and the connection that isn't used.
    pub(super) fn stop(self) -> Result<([Vec<Duration>; 3], Idle)> {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            match thread.join() {
                Ok(result) => result?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok((self.arrivals.each_ref().map(|arrivals| lock(arrivals).clone()), self.idle))
    }
}

/// Points in time that are [`PERIOD`] apart.
struct Beat(Instant);

impl Beat {
    /// Whether it is time for the next; it counts as done.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        if now < self.0 {
            return false;
        }
        self.0 += PERIOD;
        if now > self.0 + LATE {
            self.0 = now;
        }
        true
    }

    /// How long to wait for the next.
    fn rest(&self) -> Timespec {
        let rest = self.0.saturating_duration_since(Instant::now());
        Timespec { tv_sec: 0, tv_nsec: rest.subsec_nanos().into() }
    }
}

/// Sends SYNs, each from a port of its own, and resets what is accepted.
fn open_and_reset(stop: &AtomicBool, accepted: &Arrivals) -> Result<()> {
    let mut beat = Beat(Instant::now());
    let mut ports = PORTS.cycle().skip(usize::from(start_port()));
    let mut pending: VecDeque<(OwnedFd, Instant)> = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        if beat.is_due() {
            let port = ports.next().context("a cycle has an end")?;
            if let Some(socket) = begin(port)? {
                pending.push_back((socket, Instant::now()));
            }
        }
        let mut polled: Vec<PollFd<'_>> =
            pending.iter().map(|(socket, _)| PollFd::new(socket, PollFlags::OUT)).collect();
        match poll(&mut polled, Some(&beat.rest())) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for connections"),
        }
        let mut ready =
            polled.iter().map(|it| !it.revents().is_empty()).collect::<Vec<_>>().into_iter();
        pending.retain(|(socket, since)| {
            if !ready.next().unwrap_or_default() {
                return since.elapsed() < PATIENCE;
            }
            if matches!(sockopt::socket_error(socket), Ok(Ok(()))) {
                lock(accepted).push(now());
                // Closing it sends a reset, so that nothing is left of it.
                let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
            }
            false
        });
    }
    Ok(())
}

/// A port to begin with, another one in each run: a director knows the last ones for a while.
fn start_port() -> u16 {
    static NEXT: std::sync::atomic::AtomicU16 = std::sync::atomic::AtomicU16::new(0);
    NEXT.fetch_add(4_001, Ordering::Relaxed) % (PORTS.end - PORTS.start)
}

/// Sends a SYN; `None` if the port is taken.
fn begin(port: u16) -> Result<Option<OwnedFd>> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    match bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)) {
        Err(Errno::ADDRINUSE) => return Ok(None),
        other => other.with_context(|| format!("cannot take port {port}"))?,
    }
    match connect(&socket, &PROBES) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(Some(socket)),
        // Nobody on the network has the address.
        Err(Errno::HOSTUNREACH) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot connect to {PROBES}")),
    }
}

/// Sends datagrams and receives answers.
fn ask(socket: &UdpSocket, stop: &AtomicBool, answered: &Arrivals) -> Result<()> {
    let mut beat = Beat(Instant::now());
    let mut byte = [0];
    while !stop.load(Ordering::Relaxed) {
        if beat.is_due() {
            // A datagram may be refused like one that is lost.
            let _ = socket.send(b"u");
        }
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&beat.rest())) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("cannot wait for datagrams"),
        }
        while socket.recv(&mut byte).is_ok() {
            lock(answered).push(now());
        }
    }
    Ok(())
}

/// Reads a download.
fn read(mut stream: TcpStream, stop: &AtomicBool, received: &Arrivals) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut bytes = vec![0; 1 << 16];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut bytes) {
            Ok(0) => anyhow::bail!("the download has ended"),
            Ok(_) => lock(received).push(now()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error).context("the download broke"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_is_a_little_late_catches_up() {
        let begin = Instant::now() - Duration::from_millis(45);
        let mut beat = Beat(begin);
        let due = std::iter::from_fn(|| beat.is_due().then_some(())).take(100).count();
        assert!((5..20).contains(&due), "{due}");
        let mut late = Beat(Instant::now() - Duration::from_secs(3));
        assert!(late.is_due());
        let rest = late.rest();
        assert!(rest.tv_sec == 0 && rest.tv_nsec <= 10_000_000);
    }
}
