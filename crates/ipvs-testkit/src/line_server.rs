//! Servers for protocols other than HTTP.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::Background;

use crate::namespace::Namespace;
use crate::poll::eventually;

/// How long socat may take to start listening.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How often a responder looks whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// A server that answers each datagram, or each connection, with one line. Dropping it stops it.
#[derive(Debug)]
pub struct LineServer {
    _server: Server,
}

#[derive(Debug)]
enum Server {
    Datagrams { _responder: Responder },
    Connections { _socat: Background },
}

impl LineServer {
    /// Starts a server in `netns` that answers each UDP datagram to `addr` with `answer`, from that
    /// same address.
    ///
    /// # Errors
    ///
    /// If `addr` isn't local, or taken.
    pub fn udp(netns: &Namespace, addr: SocketAddr, answer: &str) -> Result<Self> {
        let socket = netns.run(|| UdpSocket::bind(addr))?;
        let socket = socket.with_context(|| format!("cannot bind {addr} in {}", netns.name()))?;
        let responder = Responder::start(socket, format!("{answer}\n"))?;
        Ok(Self { _server: Server::Datagrams { _responder: responder } })
    }

    /// Starts a socat in `netns` that sends `answer`, a single word, to every client that connects
    /// to `addr` over SCTP, then closes the connection. Waits until the server listens.
    ///
    /// # Errors
    ///
    /// If socat doesn't listen within 20 seconds, because it isn't on `PATH` or `addr` isn't local.
    pub fn sctp(netns: &Namespace, addr: SocketAddr, answer: &str) -> Result<Self> {
        let answer = format!("SYSTEM:echo {answer}");
        let mut command = netns.command("socat");
        command.args(["-d", "-d", "-U", &sctp_listener(addr), &answer]);
        let mut socat = Background::start(&mut command)?;
        eventually(START_LIMIT, || {
            socat.still_running()?;
            let said = socat.stderr()?;
            ensure!(said.contains("listening on"), "{said}");
            Ok(())
        })
        .context("socat doesn't listen")?;
        Ok(Self { _server: Server::Connections { _socat: socat } })
    }
}

/// A thread that answers datagrams. socat can't do this for certain: it forks for each datagram, and
/// waits for the child in a way that misses it now and then, after which it answers none.
#[derive(Debug)]
struct Responder {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Responder {
    fn start(socket: UdpSocket, answer: String) -> Result<Self> {
        socket.set_read_timeout(Some(LOOK))?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || respond(&socket, answer.as_bytes(), &stopped));
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Responder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It ends within LOOK. If it has panicked, it has said so.
            let _ = thread.join();
        }
    }
}

fn respond(socket: &UdpSocket, answer: &[u8], stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let sent = match socket.recv_from(&mut [0; 1]) {
            Ok((_, client)) => socket.send_to(answer, client),
            Err(error) => Err(error),
        };
        match sent {
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            // What an earlier answer met on its way (ICMP) shows at the next call.
            Err(error) => eprintln!("a datagram to or from {:?}: {error}", socket.local_addr()),
        }
    }
}

/// The socat address of a server socket that forks for each client.
fn sctp_listener(addr: SocketAddr) -> String {
    let (family, port) = (if addr.is_ipv6() { 6 } else { 4 }, addr.port());
    let ip = match addr {
        SocketAddr::V4(addr) => addr.ip().to_string(),
        SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
    };
    format!("SCTP{family}-LISTEN:{port},bind={ip},fork")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_socat_reads_them() {
        let v4 = sctp_listener("10.10.10.53:9".parse().unwrap());
        assert_eq!(v4, "SCTP4-LISTEN:9,bind=10.10.10.53,fork");
        let v6 = sctp_listener("[2001:db8::53]:9".parse().unwrap());
        assert_eq!(v6, "SCTP6-LISTEN:9,bind=[2001:db8::53],fork");
    }

    #[test]
    fn each_datagram_gets_an_answer_until_the_end() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let responder = Responder::start(socket, "web1\n".to_owned()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(START_LIMIT)).unwrap();
        for question in ["", "who?", "who is it that answers?"] {
            client.send_to(question.as_bytes(), addr).unwrap();
            let mut answer = [0; 16];
            let (length, from) = client.recv_from(&mut answer).unwrap();
            assert_eq!((&answer[..length], from), (b"web1\n".as_slice(), addr));
        }
        drop(responder);
        UdpSocket::bind(addr).expect("its port is free again");
    }
}
