//! Servers for protocols other than HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lab::process::Background;

use crate::namespace::Namespace;
use crate::poll::eventually;

/// How long socat may take to start listening.
const START_LIMIT: Duration = Duration::from_secs(20);

/// A socat that answers each datagram, or each connection, with one line. Dropping it stops it.
#[derive(Debug)]
pub struct LineServer {
    _socat: Background,
}

impl LineServer {
    /// Starts a server in `netns` that answers each UDP datagram to `addr` with `answer`, a single
    /// word, from that same address. Waits until the server listens.
    ///
    /// # Errors
    ///
    /// If socat doesn't listen within 20 seconds, because it isn't on `PATH` or `addr` isn't local.
    pub fn udp(netns: &Namespace, addr: SocketAddr, answer: &str) -> Result<Self> {
        // Read the request before answering; otherwise socat would take its peer to be gone.
        let answer = format!("SYSTEM:cat >/dev/null; echo {answer}");
        // -t: how long to wait for an answer; the default is half a second.
        let mut command = netns.command("socat");
        command.args(["-d", "-d", "-t", "10", &address("UDP", "RECVFROM", addr), &answer]);
        Self::start(Background::start(&mut command)?, "receiving on")
    }

    /// Starts a server in `netns` that sends `answer`, a single word, to every client that connects
    /// to `addr` over SCTP, then closes the connection. Waits until the server listens.
    ///
    /// # Errors
    ///
    /// See [`LineServer::udp`].
    pub fn sctp(netns: &Namespace, addr: SocketAddr, answer: &str) -> Result<Self> {
        let answer = format!("SYSTEM:echo {answer}");
        let mut command = netns.command("socat");
        command.args(["-d", "-d", "-U", &address("SCTP", "LISTEN", addr), &answer]);
        Self::start(Background::start(&mut command)?, "listening on")
    }

    fn start(mut socat: Background, ready: &str) -> Result<Self> {
        eventually(START_LIMIT, || {
            socat.still_running()?;
            let said = socat.stderr()?;
            ensure!(said.contains(ready), "{said}");
            Ok(())
        })
        .context("socat doesn't listen")?;
        Ok(Self { _socat: socat })
    }
}

/// The socat address of a server socket that forks for each client.
fn address(protocol: &str, role: &str, addr: SocketAddr) -> String {
    let (family, port) = (if addr.is_ipv6() { 6 } else { 4 }, addr.port());
    let ip = match addr {
        SocketAddr::V4(addr) => addr.ip().to_string(),
        SocketAddr::V6(addr) => format!("[{}]", addr.ip()),
    };
    format!("{protocol}{family}-{role}:{port},bind={ip},fork")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_socat_reads_them() {
        let v4 = address("UDP", "RECVFROM", "10.10.10.53:53".parse().unwrap());
        assert_eq!(v4, "UDP4-RECVFROM:53,bind=10.10.10.53,fork");
        let v6 = address("SCTP", "LISTEN", "[2001:db8::53]:9".parse().unwrap());
        assert_eq!(v6, "SCTP6-LISTEN:9,bind=[2001:db8::53],fork");
    }
}
