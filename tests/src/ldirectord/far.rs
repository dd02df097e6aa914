//! A network in which every real server answers at once: with pings, with a refusal, or on two ports
//! with pages. A name server says that it knows no name.
//!
//! The namespaces of the directors are each joined to one namespace `far`, which is their default
//! route. There, all of 10.0.0.0/8, 192.168.0.0/16, `fd00::/8` and `2001:db8::/32` are local addresses,
//! with a web server on ports 80 and 8080. For a director, 10.66.0.0/16 and `fd66::/16`
//! are unreachable. It is the network in which the tables of ldirectord's own corpus were recorded.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_testkit::Namespace;

use super::refusing_dns;

/// The ports with a web server.
const PORTS: [u16; 2] = [80, 8080];

/// How long a client of the web server may take for its request.
const REQUEST: Duration = Duration::from_secs(20);

/// How often a director has asked for a path.
type Asked = Arc<Mutex<HashMap<(IpAddr, String), u64>>>;

/// The far end.
#[derive(Debug)]
pub struct Far {
    netns: Namespace,
    asked: Asked,
}

/// A director's network namespace.
#[derive(Debug)]
pub struct Director {
    pub(super) netns: Namespace,
    address: IpAddr,
    asked: Asked,
}

impl Far {
    /// Builds it. Its web server stays until the process ends.
    ///
    /// # Errors
    ///
    /// If a command fails, or a port can't be listened on.
    pub fn build() -> Result<Self> {
        let netns = Namespace::create("far")?;
        netns.sysctl("net.ipv4.icmp_ratemask", "0")?;
        netns.sysctl("net.ipv6.icmp.ratelimit", "0")?;
        netns.ip(&[
            "route add local 10.0.0.0/8 dev lo",
            "route add local 192.168.0.0/16 dev lo",
            "route add local fd00::/8 dev lo",
            "route add local 2001:db8::/32 dev lo",
        ])?;
        refusing_dns::start(&netns)?;
        let asked = Asked::default();
        for port in PORTS {
            let listener =
                netns.run(|| TcpListener::bind(("::", port)))?.context("cannot listen")?;
            let asked = Arc::clone(&asked);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let asked = Arc::clone(&asked);
                    // A client that goes away is its own problem.
                    thread::spawn(move || drop(answer(stream, &asked)));
                }
            });
        }
        Ok(Self { netns, asked })
    }

    /// A director, with a number below 250 that no other one has.
    ///
    /// # Errors
    ///
    /// If a command fails.
    pub fn director(&self, number: u8) -> Result<Director> {
        let netns = Namespace::create("director")?;
        let far = self.netns.name();
        netns.ip(&[
            format!("link add eth0 type veth peer name eth{number} netns {far}"),
            "link set eth0 up".to_owned(),
            format!("addr add 172.31.{number}.2/24 dev eth0"),
            format!("addr add 2001:470:1:{number}::2/64 dev eth0 nodad"),
        ])?;
        self.netns.ip(&[
            format!("link set eth{number} up"),
            format!("addr add 172.31.{number}.1/24 dev eth{number}"),
            format!("addr add 2001:470:1:{number}::1/64 dev eth{number} nodad"),
        ])?;
        netns.ip(&[
            format!("route add default via 172.31.{number}.1"),
            format!("route add default via 2001:470:1:{number}::1"),
            "route add unreachable 10.66.0.0/16".to_owned(),
            "route add unreachable fd66::/16".to_owned(),
        ])?;
        let address = Ipv4Addr::new(172, 31, number, 2).into();
        Ok(Director { netns, address, asked: Arc::clone(&self.asked) })
    }
}

impl Director {
    /// How often it has asked for this path.
    pub(super) fn asked(&self, path: &str) -> u64 {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&(self.address, path.to_owned())).copied().unwrap_or(0)
    }
}

/// Answers one request, and closes the connection.
fn answer(mut stream: TcpStream, asked: &Asked) -> std::io::Result<()> {
    stream.set_read_timeout(Some(REQUEST))?;
    let mut head = Vec::new();
    let mut piece = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 1 << 16 {
        match stream.read(&mut piece)? {
            0 => return Ok(()),
            length => head.extend_from_slice(&piece[..length]),
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let host = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("host").then(|| value.trim())
    });
    if let Ok(SocketAddr::V6(peer)) = stream.peer_addr() {
        let from = peer.ip().to_ipv4_mapped().map_or(IpAddr::V6(*peer.ip()), IpAddr::V4);
        let mut asked = asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry((from, path.to_owned())).or_default() += 1;
    }
    let (status, location) = match path {
        _ if path.starts_with("/gone") => ("404 Not Found", ""),
        _ if path.starts_with("/down") => ("503 Service Unavailable", ""),
        _ if path.starts_with("/moved/far") => {
            ("302 Found", "Location: http://10.81.9.9:8080/landing\r\n")
        }
        _ if path.starts_with("/moved") => ("302 Found", "Location: /landing\r\n"),
        _ => ("200 OK", ""),
    };
    let host = host.unwrap_or_default();
    let body = format!(
        "ok Test Page webserverisworking healthy    alive STATE=\"UP\" host={host} path={path} end\n"
    );
    let length = body.len();
    let reply = format!(
        "HTTP/1.1 {status}\r\n{location}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(reply.as_bytes())?;
    if method != "HEAD" {
        stream.write_all(body.as_bytes())?;
    }
    Ok(())
}
