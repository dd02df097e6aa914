//! Web servers for the real servers of a cluster.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::process::Background;

use crate::namespace::Namespace;
use crate::poll::eventually;
use crate::temp_dir::TempDir;

/// How long nginx may take to start listening.
const START_LIMIT: Duration = Duration::from_secs(20);

/// An nginx on port 80 of every address of its namespace, and on 8080 for IPv4. It answers each
/// request with one line, and the one for `/check.txt`, the page for health checks, with
/// "webserverisworking". Dropping it stops it.
#[derive(Debug)]
pub struct WebServer {
    nginx: Option<Background>,
    command: Command,
    // nginx needs the directory until it has ended, and fields are dropped in this order.
    _files: TempDir,
}

impl WebServer {
    /// Starts an nginx in `netns` that responds with `answer`, one or a few words, and waits until
    /// it listens.
    ///
    /// # Errors
    ///
    /// If nginx doesn't listen within 20 seconds, because it isn't on `PATH` or the port is taken.
    pub fn start_new(netns: &Namespace, answer: &str) -> Result<Self> {
        let folder = TempDir::create(&format!("{}-nginx", netns.name()))?;
        // This also has to work on a machine without IPv6.
        let ipv6 = netns.run(|| UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)))?.is_ok();
        let config = folder.write("nginx.conf", &configuration(answer, ipv6))?;
        let mut command = netns.command("nginx");
        command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&config);
        let mut server = Self { nginx: None, command, _files: folder };
        server.start(netns)?;
        Ok(server)
    }

    /// Restarts it in `netns`, its namespace, and waits until it listens.
    ///
    /// # Errors
    ///
    /// See [`WebServer::start_new`].
    pub fn start(&mut self, netns: &Namespace) -> Result<()> {
        let nginx = self.nginx.insert(Background::start(&mut self.command)?);
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        eventually(START_LIMIT, || {
            nginx.still_running()?;
            netns.run(|| TcpStream::connect_timeout(&local, START_LIMIT))??;
            Ok(())
        })
        .context("nginx doesn't listen on port 80")
    }

    /// Kills it, which closes its port, as when a web server crashes.
    pub fn stop(&mut self) {
        self.nginx = None;
    }
}

/// A configuration for a single process that stays in the foreground and writes only to its own
/// directory.
fn configuration(answer: &str, ipv6: bool) -> String {
    let listen6 = if ipv6 { "listen [::]:80;" } else { "" };
    format!(
        "daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    default_type text/plain;
    server {{
        listen 80;
        listen 8080;
        {listen6}
        location / {{ return 200 \"{answer}\\n\"; }}
        location = /check.txt {{ return 200 \"webserverisworking\\n\"; }}
    }}
}}
"
    )
}
