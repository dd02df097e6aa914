//! A download over HTTP whose bytes a test checks.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::Namespace;

/// How long the other side may take.
const LIMIT: Duration = Duration::from_secs(20);

/// The length of the page: more than sockets on both sides hold.
const LENGTH: usize = 12 << 20;

/// The page in a web server's folder, and the path to ask for.
pub const FILE: &str = "pages/large";
/// See [`FILE`].
pub const PATH: &str = "/large";

/// The same for a page that nginx sends at [`SLOWLY`] bytes a second, so that bytes are on their way
/// for a minute.
pub const SLOW_FILE: &str = "pages/slow";
/// See [`SLOW_FILE`].
pub const SLOW_PATH: &str = "/slow";

/// So fast is the slow page sent, in bytes a second.
pub const SLOWLY: usize = LENGTH / 62;

/// A download that goes on only while it is read.
#[derive(Debug)]
pub struct Transfer {
    stream: TcpStream,
    received: usize,
}

/// The page: bytes without a pattern.
pub fn content() -> Vec<u8> {
    let byte = |i: u64| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()[0];
    (0..LENGTH as u64).map(byte).collect()
}

impl Transfer {
    /// Begins one, and reads until the page's first byte.
    ///
    /// # Errors
    ///
    /// If the connection or the request fails.
    pub fn start(netns: &Namespace, server: SocketAddrV4, path: &str) -> Result<Self> {
        let server = SocketAddr::V4(server);
        let stream = netns.run(|| TcpStream::connect_timeout(&server, LIMIT))?;
        let mut stream = stream.with_context(|| format!("cannot connect to {server}"))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        ensure!(head.contains(" 200 "), "{head}");
        Ok(Self { stream, received: 0 })
    }

    /// Reads the rest, and compares everything.
    ///
    /// # Errors
    ///
    /// If the download breaks or ends early, or a byte is wrong.
    pub fn finish(mut self, content: &[u8]) -> Result<()> {
        let mut chunk = vec![0; 64 << 10];
        while self.received < content.len() {
            let count = self.stream.read(&mut chunk);
            let count = count.with_context(|| format!("after {} bytes", self.received))?;
            ensure!(count > 0, "it ends after {} bytes", self.received);
            let expected = content.get(self.received..self.received + count);
            ensure!(expected == Some(&chunk[..count]), "wrong bytes after {}", self.received);
            self.received += count;
        }
        Ok(())
    }
}
