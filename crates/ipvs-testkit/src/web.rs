//! Web servers for the real servers of a cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::exec::Background;
use crate::namespace::Namespace;
use crate::poll::eventually;

/// How long nginx may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// An nginx on port 80 of every address of its namespace, which answers each request with one
/// line. Dropping it ends it.
#[derive(Debug)]
pub struct WebServer {
    nginx: Option<Background>,
    command: Command,
    // The folder is needed until nginx has gone, and fields are dropped in this order.
    _folder: Folder,
}

impl WebServer {
    /// Starts an nginx in `netns` that answers `answer`, a word or a few, and waits until it
    /// listens.
    ///
    /// # Errors
    ///
    /// If nginx doesn't listen within 20 seconds: it isn't on `PATH`, or the port is taken.
    pub fn start_new(netns: &Namespace, answer: &str) -> Result<Self> {
        let folder = Folder::create(&format!("{}-nginx", netns.name()))?;
        let config = folder.path.join("nginx.conf");
        fs::write(&config, configuration(answer))
            .with_context(|| format!("cannot write {config:?}"))?;
        let mut command = netns.command("nginx");
        command.args(["-e", "stderr", "-p"]).arg(&folder.path).arg("-c").arg(&config);
        let mut server = Self { nginx: None, command, _folder: folder };
        server.start(netns)?;
        Ok(server)
    }

    /// Starts it again in `netns`, its namespace, and waits until it listens.
    ///
    /// # Errors
    ///
    /// As [`WebServer::start_new`].
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

    /// Kills it: from now on its port is closed, as when a web server crashes.
    pub fn stop(&mut self) {
        self.nginx = None;
    }
}

/// One process that stays in the foreground and writes nowhere but to its own folder.
fn configuration(answer: &str) -> String {
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
        return 200 \"{answer}\\n\";
    }}
}}
"
    )
}

/// A folder that is removed when this is dropped.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes a folder for temporary files. The name, made from a namespace's, is nobody else's.
    fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(name);
        create(&path)?;
        Ok(Self { path })
    }
}

fn create(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("cannot make the folder {path:?}"))
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{:?} stays behind: {error}", self.path);
        }
    }
}
