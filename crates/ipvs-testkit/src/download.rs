//! A long download that is checked byte by byte and that the test can pause.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::namespace::Namespace;

/// How long either side waits for the other.
const LIMIT: Duration = Duration::from_secs(20);

/// How often a server checks whether it should stop.
const PAUSE: Duration = Duration::from_millis(50);

/// The content repeats after this many bytes. The number is prime, so that no lost or duplicated
/// buffer or segment goes unnoticed.
const PERIOD: usize = 65_521;

/// How much is read or written at a time.
const CHUNK: usize = 32 << 10;

/// A server that sends a fixed number of bytes to every client that connects, then closes the
/// connection. Dropping it stops it.
#[derive(Debug)]
pub struct DownloadServer {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DownloadServer {
    /// Starts a server on an address of `netns`.
    ///
    /// # Errors
    ///
    /// If the server can't listen on the address.
    pub fn start(netns: &Namespace, addr: SocketAddrV4, length: usize) -> Result<Self> {
        let listener = netns.run(|| TcpListener::bind(addr))?;
        let listener = listener.with_context(|| format!("cannot listen on {addr}"))?;
        listener.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread =
            thread::Builder::new().name("download server".to_owned()).spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    match listener.accept() {
                        // A client that disconnects is no reason to stop.
                        Ok((client, _)) => drop(send(client, length, &stopped)),
                        Err(_) => thread::sleep(PAUSE),
                    }
                }
            })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for DownloadServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("a download server panicked");
        }
    }
}

fn send(mut client: TcpStream, length: usize, stopped: &AtomicBool) -> Result<()> {
    client.set_nonblocking(false)?;
    client.set_write_timeout(Some(PAUSE))?;
    let content = content();
    let mut sent = 0;
    while sent < length && !stopped.load(Ordering::Relaxed) {
        let rest = &content[sent % PERIOD..];
        match client.write(&rest[..rest.len().min(length - sent)]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The first period of the content: bytes without a pattern that an error could preserve.
fn content() -> Vec<u8> {
    let byte = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0];
    (0..PERIOD as u64).map(byte).collect()
}

/// The client's side of a download, which progresses only while it is read.
#[derive(Debug)]
pub struct Download {
    stream: TcpStream,
    content: Vec<u8>,
    /// The client's address.
    pub client: SocketAddrV4,
    /// How many bytes have been received.
    pub received: usize,
}

impl Download {
    /// Connects from `netns`.
    ///
    /// # Errors
    ///
    /// If connecting fails or takes more than 20 seconds.
    pub fn start(netns: &Namespace, server: SocketAddrV4) -> Result<Self> {
        let stream = netns.run(|| TcpStream::connect_timeout(&server.into(), LIMIT))?;
        let stream = stream.with_context(|| format!("cannot connect to {server}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        let client = stream.local_addr()?.to_string().parse()?;
        Ok(Self { stream, content: content(), client, received: 0 })
    }

    /// Reads until this many bytes have been received in total, and checks them.
    ///
    /// # Errors
    ///
    /// If the connection ends or breaks early, nothing arrives for 20 seconds, or a byte differs.
    pub fn read_to(&mut self, length: usize) -> Result<()> {
        let mut buffer = vec![0; CHUNK];
        while self.received < length {
            let offset = self.received % PERIOD;
            let most = CHUNK.min(PERIOD - offset).min(length - self.received);
            let count = self.stream.read(&mut buffer[..most]);
            let count = count.with_context(|| format!("after {} bytes", self.received))?;
            ensure!(count > 0, "the download ends after {} bytes", self.received);
            let expected = &self.content[offset..offset + count];
            ensure!(buffer[..count] == *expected, "wrong bytes after {}", self.received);
            self.received += count;
        }
        Ok(())
    }

    /// Checks that nothing more arrives.
    ///
    /// # Errors
    ///
    /// If more data arrives, or the server doesn't close the connection within 20 seconds.
    pub fn end(mut self) -> Result<()> {
        let rest = self.stream.read(&mut [0]).context("at the download's end")?;
        ensure!(rest == 0, "there is more than {} bytes", self.received);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn content_is_checked_to_the_last_byte() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let length = 3 * PERIOD + 1;
        let download = || {
            let stream = TcpStream::connect(addr).unwrap();
            let client = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0);
            Download { stream, content: content(), client, received: 0 }
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let stopped = AtomicBool::new(false);
                send(listener.accept().unwrap().0, length, &stopped).unwrap();
                send(listener.accept().unwrap().0, length, &stopped).unwrap();
                let mut other = listener.accept().unwrap().0;
                other.write_all(&content()[1..]).unwrap();
            });
            let mut whole = download();
            whole.read_to(length).unwrap();
            whole.end().unwrap();
            assert!(download().read_to(length + 1).is_err(), "it's shorter");
            let error = download().read_to(PERIOD).unwrap_err().to_string();
            assert!(error.contains("wrong bytes"), "{error}");
        });
    }
}
