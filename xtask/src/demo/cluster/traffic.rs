//! What the clients do: short requests without pause, and a long download.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs_testkit::{Download, Namespace};

/// How long a request may wait for anything: longer than TCP waits before it sends again.
const TIMEOUT: Duration = Duration::from_secs(3);

/// How much of the download is read at a time, and how long the client sleeps then.
const PIECE: usize = 64 << 10;

/// See [`PIECE`].
const PAUSE: Duration = Duration::from_millis(100);

/// A request, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) begin: Instant,
    pub(super) end: Instant,
    /// Who answered, or why nobody did.
    pub(super) answer: Result<String, String>,
}

/// Requests without pause, each on a connection of its own. Dropping it ends them.
#[derive(Debug)]
pub(super) struct Requests {
    made: Arc<Mutex<Vec<Request>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Requests {
    pub(super) fn start(netns: &Arc<Namespace>, server: SocketAddrV4) -> Self {
        let (made, stop) = (Arc::<Mutex<Vec<Request>>>::default(), Arc::<AtomicBool>::default());
        let (netns, log, stopped) = (Arc::clone(netns), Arc::clone(&made), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            netns.run(|| {
                while !stopped.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    let answer = request(server).map_err(|error| error.kind().to_string());
                    let request = Request { begin, end: Instant::now(), answer };
                    log.lock().unwrap_or_else(PoisonError::into_inner).push(request);
                }
            })
        });
        Self { made, stop, thread: Some(thread) }
    }

    /// Those that have ended after a moment.
    pub(super) fn since(&self, moment: Instant) -> Vec<Request> {
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.iter().filter(|it| it.end >= moment).cloned().collect()
    }

    /// All of them.
    pub(super) fn end(mut self) -> Result<Vec<Request>> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("they have ended")?;
        thread.join().map_err(|_| anyhow!("the requests panicked"))??;
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(made.clone())
    }
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Requests the page, and returns its text.
fn request(server: SocketAddrV4) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server.into(), TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("GET / HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (_, page) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(page.trim_end().to_owned())
}

/// How many of them failed.
pub(super) fn failed(requests: &[Request]) -> usize {
    requests.iter().filter(|it| it.answer.is_err()).count()
}

/// The longest time between the ends of two requests that were answered, one after the other.
pub(super) fn longest_gap(requests: &[Request]) -> Duration {
    let ends: Vec<Instant> =
        requests.iter().filter(|it| it.answer.is_ok()).map(|it| it.end).collect();
    ends.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}

/// A download that a client reads slowly, and checks byte by byte.
#[derive(Debug)]
pub(super) struct SlowDownload {
    /// The client's end of the connection.
    pub(super) client: SocketAddrV4,
    received: Arc<AtomicUsize>,
    hurry: Arc<AtomicBool>,
    thread: JoinHandle<Result<Duration>>,
}

impl SlowDownload {
    pub(super) fn start(netns: &Namespace, server: SocketAddrV4, length: usize) -> Result<Self> {
        let mut download = Download::start(netns, server)?;
        let client = download.client;
        let (received, hurry) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, is_late) = (Arc::clone(&received), Arc::clone(&hurry));
        let thread = thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while download.received < length {
                let begin = Instant::now();
                download.read_to(length.min(download.received + PIECE))?;
                longest = longest.max(begin.elapsed());
                count.store(download.received, Ordering::Relaxed);
                if !is_late.load(Ordering::Relaxed) {
                    thread::sleep(PAUSE);
                }
            }
            download.end()?;
            Ok(longest)
        });
        Ok(Self { client, received, hurry, thread })
    }

    pub(super) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Checks that it goes on.
    pub(super) fn goes_on(&self) -> Result<()> {
        ensure!(!self.thread.is_finished(), "the download has ended");
        Ok(())
    }

    /// Reads the rest, and returns the longest time that the client waited for a piece.
    pub(super) fn finish(self) -> Result<Duration> {
        self.hurry.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the download panicked"))?
    }
}
