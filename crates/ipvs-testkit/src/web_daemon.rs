//! Real web servers, nginx and Apache of Debian bookworm, as tests start, stop, freeze and kill them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::process::Signal;

use crate::namespace::Namespace;
use crate::poll::eventually;
use crate::process_group::ProcessGroup;
use crate::temp_dir::TempDir;
use crate::userland::Userland;

/// How long a server may take to start or to stop.
const LIMIT: Duration = Duration::from_secs(30);

/// The folder of a server's pages, in its own.
const PAGES: &str = "pages";

/// The log of requests, in a server's folder.
const LOG: &str = "access.log";

/// The programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Nginx,
    Apache,
}

/// A running web server; dropping it kills it. Its files are in a folder of its own, `pages` in it
/// is the root of its documents, and relative paths in its configuration start from the folder.
///
/// ```no_run
/// use ipvs_testkit::{Namespace, WebDaemon};
///
/// let netns = Namespace::create("web")?;
/// let snippet = "server { listen 80; location = /gone { return 410; } }";
/// let mut web = WebDaemon::nginx(&netns, snippet, &[("pages/check.txt", b"works")])?;
/// web.freeze()?; // Connections are accepted by the kernel, and nothing is said on them.
/// web.thaw()?;
/// web.stop()?; // Its port is closed: connections are refused.
/// web.start()?;
/// assert!(web.requests()?.is_empty());
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct WebDaemon {
    program: Program,
    process: Option<ProcessGroup>,
    command: Command,
    // The server needs the folder until it has ended, and fields are dropped in this order.
    folder: TempDir,
}

/// A request that a server has answered, from its log.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// When the server had answered, since the epoch; to a millisecond.
    pub at: Duration,
    /// Who asked.
    pub client: IpAddr,
    /// The address that it asked.
    pub server: IpAddr,
    /// The status of the answer.
    pub status: u16,
    /// The request line: `GET /check.txt HTTP/1.1`.
    pub line: String,
    /// The header `Host`, `-` if there was none.
    pub host: String,
}

impl WebDaemon {
    /// Starts an nginx (a master and a worker process) and waits until it listens. `snippet` goes
    /// into its `http` block; `files` are put into its folder first, by their paths in it.
    ///
    /// # Errors
    ///
    /// If a file can't be written, or nginx refuses the configuration or can't listen.
    pub fn nginx(netns: &Namespace, snippet: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        Self::new(Program::Nginx, netns, snippet, files)
    }

    /// Starts an Apache (`mpm_event`) and waits until it listens. `snippet` comes at the end of its
    /// configuration, begins with a `Listen` therefore, and may load more modules from
    /// `/usr/lib/apache2/modules`; the MPM, `authz_core`, dir, alias, headers and
    /// setenvif are loaded.
    ///
    /// # Errors
    ///
    /// See [`WebDaemon::nginx`].
    pub fn apache(netns: &Namespace, snippet: &str, files: &[(&str, &[u8])]) -> Result<Self> {
        Self::new(Program::Apache, netns, snippet, files)
    }

    fn new(
        program: Program,
        netns: &Namespace,
        snippet: &str,
        files: &[(&str, &[u8])],
    ) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let userland = Userland::servers()?;
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = TempDir::create(&format!("{}-web{number}", netns.name()))?;
        folder.inner(PAGES)?;
        for (name, contents) in files {
            let path = folder.path().join(name);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).with_context(|| format!("cannot make {parent:?}"))?;
            }
            fs::write(&path, contents).with_context(|| format!("cannot write {path:?}"))?;
        }
        let mut command;
        match program {
            Program::Nginx => {
                let config = folder.write("nginx.conf", &nginx(folder.path(), snippet))?;
                command = userland.command(netns, "/usr/sbin/nginx");
                command.args(["-e", "stderr", "-p"]).arg(folder.path()).arg("-c").arg(&config);
            }
            Program::Apache => {
                let config = folder.write("apache.conf", &apache(folder.path(), snippet))?;
                command = userland.command(netns, "/usr/sbin/apache2");
                command.args(["-D", "FOREGROUND", "-d"]).arg(folder.path());
                command.arg("-f").arg(&config);
            }
        }
        let mut server = Self { program, process: None, command, folder };
        server.start()?;
        Ok(server)
    }

    /// Starts it again, and waits until it listens.
    ///
    /// # Errors
    ///
    /// If it is running, or doesn't listen within 30 seconds.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the server is running");
        // It is written once the server listens, and a server that was killed leaves it.
        let pid_file = self.folder.path().join("pid");
        let _ = fs::remove_file(&pid_file);
        let process = self.process.insert(ProcessGroup::start(&mut self.command)?);
        let listening = eventually(LIMIT, || {
            process.still_running()?;
            let text = fs::read_to_string(&pid_file).context("it has no pid file")?;
            ensure!(text.trim().parse::<u32>().is_ok(), "its pid file is {text:?}");
            Ok(())
        });
        if listening.is_err() {
            self.kill();
        }
        listening.with_context(|| format!("{:?} doesn't start: {}", self.program, self.errors()))
    }

    /// Ends it in order, at once: its port is closed afterwards, and so are its connections.
    ///
    /// # Errors
    ///
    /// If it isn't running, or doesn't end within 30 seconds.
    pub fn stop(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("the server isn't running")?;
        rustix::process::kill_process(process.pid(), Signal::TERM)
            .context("cannot stop the server")?;
        let ended = process.wait(LIMIT)?;
        self.kill();
        ensure!(ended.is_some(), "{:?} doesn't stop: {}", self.program, self.errors());
        Ok(())
    }

    /// Kills all of its processes, as a crash of its machine's memory would.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops all of its processes where they are. The kernel goes on accepting connections for it,
    /// until its backlog is full; nothing is said on them.
    ///
    /// # Errors
    ///
    /// If it isn't running, or goes on for 30 seconds.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.freeze()
    }

    /// Lets it go on after [`WebDaemon::freeze`].
    ///
    /// # Errors
    ///
    /// If it isn't running.
    pub fn thaw(&self) -> Result<()> {
        self.running()?.thaw()
    }

    fn running(&self) -> Result<&ProcessGroup> {
        self.process.as_ref().context("the server isn't running")
    }

    /// Writes a file into its folder: `pages/check.txt` is the page `/check.txt`.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        let path = self.path(name);
        fs::write(&path, contents).with_context(|| format!("cannot write {path:?}"))
    }

    /// Removes a file of its folder.
    ///
    /// # Errors
    ///
    /// If the file can't be removed.
    pub fn remove(&self, name: &str) -> Result<()> {
        let path = self.path(name);
        fs::remove_file(&path).with_context(|| format!("cannot remove {path:?}"))
    }

    /// The path of a file in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The requests that it has answered so far, in the order in which it logged them. Both servers
    /// write the log at the end of each request, Apache up to a moment after the client has read
    /// the answer.
    ///
    /// # Errors
    ///
    /// If the log can't be read or understood.
    pub fn requests(&self) -> Result<Vec<Request>> {
        let path = self.path(LOG);
        let text = match fs::read(&path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {path:?}")),
        };
        // The last line may be half written.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole
            .lines()
            .map(|line| Request::read(line).with_context(|| format!("in the log: {line}")))
            .collect()
    }

    /// Its error log.
    fn errors(&self) -> String {
        let text = fs::read(self.path("error.log")).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Request {
    /// Reads a line of the log: time in seconds, client, server, status, host, request line.
    fn read(line: &str) -> Result<Self> {
        let mut words = line.splitn(6, ' ');
        let mut word = || words.next().context("it is too short");
        let at = word()?.parse::<f64>().context("no time")?;
        Ok(Self {
            at: Duration::from_secs_f64(at),
            client: word()?.parse().context("no client")?,
            server: word()?.parse().context("no server")?,
            status: word()?.parse().context("no status")?,
            host: word()?.to_owned(),
            line: word()?.to_owned(),
        })
    }
}

fn nginx(folder: &Path, snippet: &str) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
user root;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    log_format plain '$msec $remote_addr $server_addr $status $host $request';
    access_log {folder}/{LOG} plain;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    default_type text/plain;
    root {folder}/{PAGES};
{snippet}
}}
"
    )
}

fn apache(folder: &Path, snippet: &str) -> String {
    let folder = folder.display();
    let modules =
        ["mpm_event", "authz_core", "dir", "alias", "headers", "setenvif"].map(|module| {
            format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
        });
    format!(
        "ServerRoot {folder}
PidFile {folder}/pid
DefaultRuntimeDir {folder}
ErrorLog {folder}/error.log
{}ServerName localhost
User www-data
Group www-data
LogFormat \"%{{sec}}t.%{{msec_frac}}t %a %A %>s %{{Host}}i %r\" plain
CustomLog {folder}/{LOG} plain
DocumentRoot {folder}/{PAGES}
<Directory {folder}/{PAGES}>
Require all granted
</Directory>
{snippet}
",
        modules.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_read() {
        let line =
            "1700000000.250 10.10.10.52 10.10.10.102 200 web.example GET /check.txt HTTP/1.1";
        let expected = Request {
            at: Duration::from_millis(1_700_000_000_250),
            client: [10, 10, 10, 52].into(),
            server: [10, 10, 10, 102].into(),
            status: 200,
            line: "GET /check.txt HTTP/1.1".to_owned(),
            host: "web.example".to_owned(),
        };
        assert_eq!(Request::read(line).unwrap(), expected);
        assert!(Request::read("1700000000.250 10.10.10.52 10.10.10.102 200").is_err());
    }
}
