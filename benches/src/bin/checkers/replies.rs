//! How soon ldirectord replies when it is asked about itself, while it makes its checks.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The control socket of the instance that is measured.
const SOCKET: &str = "/run/ldirectord/ldirectord.cf.sock";

/// How long to wait between two questions.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a reply may take.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks for the status and for metrics in turn, until a window is over. Returns how long each reply took
/// until all of it was there, in milliseconds.
pub(crate) fn ask(window: Duration) -> Result<Vec<f64>> {
    let stream = UnixStream::connect(SOCKET).with_context(|| format!("connecting to {SOCKET}"))?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut stream = BufReader::with_capacity(1 << 20, stream);
    let (mut took, mut reply) = (Vec::new(), String::new());
    let begin = Instant::now();
    for request in ["status", "metrics"].into_iter().cycle() {
        if begin.elapsed() >= window {
            break;
        }
        reply.clear();
        let asked = Instant::now();
        let line = format!("{{\"v\":1,\"id\":1,\"request\":\"{request}\"}}\n");
        stream.get_mut().write_all(line.as_bytes())?;
        stream.read_line(&mut reply)?;
        if request == "metrics" {
            let head: Value = serde_json::from_str(&reply)?;
            let length = head["ok"]["length"].as_u64();
            let length = length.with_context(|| format!("no length in {reply}"))?;
            reply.clear();
            (&mut stream).take(length).read_to_string(&mut reply)?;
        }
        took.push(asked.elapsed().as_secs_f64() * 1e3);
        thread::sleep(PAUSE);
    }
    Ok(took)
}
