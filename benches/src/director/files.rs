//! The configuration files: the same real servers and the same checks for each program.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::{TIMEOUT, real_servers};

/// The virtual service that they all belong to.
pub const VIRTUAL_SERVICE: &str = "10.64.0.1:80";

/// How long keepalived spreads its first checks over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WarmUp {
    /// As long as the interval.
    Default,
    /// This many seconds.
    Seconds(f64),
}

/// A configuration of ldirectord: a check of the page `/` by its status.
pub fn ldirectord(count: usize, interval: Duration, log: &Path) -> String {
    let mut text = format!(
        "logfile=\"{}\"\ncheckinterval={}\nchecktimeout={}\nquiescent=no\n\nvirtual={VIRTUAL_SERVICE}\n",
        log.display(),
        interval.as_secs(),
        TIMEOUT.as_secs(),
    );
    for server in real_servers(count) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "\treal={} masq", server.address);
    }
    text.push_str("\tservice=http\n\trequest=\"/\"\n\tscheduler=wlc\n\tprotocol=tcp\n");
    text
}

/// A configuration of keepalived that does the same. `alpha` means that a real server gets traffic
/// only once it has answered.
pub fn keepalived(count: usize, interval: Duration, warm_up: WarmUp) -> String {
    let (ip, port) = VIRTUAL_SERVICE.split_once(':').unwrap_or_default();
    let mut text = format!(
        "virtual_server {ip} {port} {{\n delay_loop {}\n lb_algo wlc\n lb_kind NAT\n protocol TCP\n alpha\n",
        interval.as_secs_f64(),
    );
    if let WarmUp::Seconds(seconds) = warm_up {
        let _ = writeln!(text, " warmup {seconds}");
    }
    let timeout = TIMEOUT.as_secs();
    for server in real_servers(count) {
        let (ip, port) = (server.address.ip(), server.address.port());
        let _ = writeln!(
            text,
            " real_server {ip} {port} {{\n  HTTP_GET {{\n   url {{\n    path /\n    status_code 200\n   }}\n   \
             connect_timeout {timeout}\n   retry 0\n  }}\n }}",
        );
    }
    text.push_str("}\n");
    text
}
