//! The network of the scenarios: a client, a director that translates addresses, and real servers
//! each in a namespace of its own.
//!
//! ```text
//!   client                    director                      server N
//!   10.0.0.1 ──────── 10.0.0.254     10.3.N.254 ──────── 10.3.N.1
//!                           10.2.0.0/16                   10.1N.0.0/16
//! ```
//!
//! The director has every address of 10.2.0.0/16, and real server N every one of 10.1N.0.0/16.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_testkit::{Namespace, WebDaemon, output};

use super::Stage;
use super::transfer::{SLOW_PATH, SLOWLY};

/// The network.
#[derive(Debug)]
pub struct World {
    /// Sends the requests.
    pub client: Namespace,
    /// Has the virtual addresses, the IPVS table and the health checker.
    pub director: Namespace,
    /// The real servers; the first is number 1.
    pub servers: Vec<Namespace>,
}

/// The director's address as the client sees it.
pub const DIRECTOR: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 254);

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

impl World {
    /// Builds it with up to 9 real servers.
    ///
    /// # Errors
    ///
    /// If a command fails.
    pub fn build(stage: &Stage, servers: u8) -> Result<Self> {
        let (client, director) = (stage.netns("client")?, stage.netns("director")?);
        let mut commands = vec![
            format!("link add eth0 type veth peer name eth0 netns {}", client.name()),
            "link set eth0 up".to_owned(),
            format!("addr add {DIRECTOR}/24 dev eth0"),
            "route add local 10.2.0.0/16 dev lo".to_owned(),
        ];
        let mut namespaces = Vec::new();
        for number in 1..=servers {
            let netns = stage.netns(&format!("web{number}"))?;
            commands.extend([
                format!("link add eth{number} type veth peer name eth0 netns {}", netns.name()),
                format!("link set eth{number} up"),
                format!("addr add 10.3.{number}.254/24 dev eth{number}"),
                format!("route add 10.1{number}.0.0/16 via 10.3.{number}.1"),
            ]);
            namespaces.push(netns);
        }
        // A route needs its device's peer only once packets use it.
        director.ip(&commands)?;
        director.sysctl("net.ipv4.ip_forward", "1")?;
        director.sysctl("net.ipv4.icmp_ratemask", "0")?;
        client.ip(&[
            "link set eth0 up".to_owned(),
            format!("addr add {CLIENT}/24 dev eth0"),
            format!("route add 10.2.0.0/16 via {DIRECTOR}"),
        ])?;
        // Connections that the client has closed must not use up its ports.
        client.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
        client.sysctl("net.ipv4.tcp_tw_reuse", "1")?;
        for (number, netns) in (1..).zip(&namespaces) {
            netns.ip(&[
                "link set eth0 up".to_owned(),
                format!("addr add 10.3.{number}.1/24 dev eth0"),
                format!("route add local 10.1{number}.0.0/16 dev lo"),
                format!("route add default via 10.3.{number}.254"),
            ])?;
        }
        Ok(Self { client, director, servers: namespaces })
    }

    /// The namespace of real server `number`.
    pub fn server(&self, number: u8) -> &Namespace {
        &self.servers[usize::from(number) - 1]
    }

    /// An nginx on real server `number`, with the page that checks ask for.
    ///
    /// # Errors
    ///
    /// If it doesn't start.
    pub fn nginx(&self, number: u8) -> Result<WebDaemon> {
        let who = format!("web{number}\n");
        let files: [(&str, &[u8]); 2] =
            [("pages/check.txt", b"works\n"), ("pages/who.txt", who.as_bytes())];
        let server = format!(
            "server {{ listen 80 backlog=4096; location = {SLOW_PATH} {{ limit_rate {SLOWLY}; }} }}"
        );
        WebDaemon::nginx(self.server(number), &server, &files)
    }

    /// An Apache on real server `number`, with the page that checks ask for.
    ///
    /// # Errors
    ///
    /// If it doesn't start.
    pub fn apache(&self, number: u8) -> Result<WebDaemon> {
        let who = format!("web{number}\n");
        let files: [(&str, &[u8]); 2] =
            [("pages/check.txt", b"works\n"), ("pages/who.txt", who.as_bytes())];
        WebDaemon::apache(self.server(number), "Listen 80", &files)
    }

    /// Makes real server `number` lose every IPv4 packet, while it goes on answering ARP.
    ///
    /// # Errors
    ///
    /// If tc fails.
    pub fn black_hole(&self, number: u8) -> Result<()> {
        let netns = self.server(number);
        for arguments in [
            "qdisc add dev eth0 clsact",
            "filter add dev eth0 ingress protocol ip matchall action drop",
        ] {
            output(netns.command("tc").args(arguments.split(' ')))
                .context("cannot drop packets")?;
        }
        Ok(())
    }
}

/// Port 80 of real server `number`.
pub fn real(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 3, number, 1), 80)
}

/// Port 80 of a virtual address.
pub fn vip(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 2, 0, number), 80)
}

/// The body of the answer to a request for `path`, whatever its status.
///
/// # Errors
///
/// If there is none within `limit` for each step.
pub fn get(
    netns: &Namespace,
    server: SocketAddrV4,
    path: &str,
    limit: Duration,
) -> Result<io::Result<String>> {
    netns.run(|| get_here(server, path, limit))
}

/// [`get`] in the network namespace of the calling thread.
///
/// # Errors
///
/// See [`get`].
pub fn get_here(server: SocketAddrV4, path: &str, limit: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(server), limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| io::Error::other(format!("no answer: {answer:?}")))
}
