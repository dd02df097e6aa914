//! The control socket, with real sockets: clients that behave, and clients that don't.
//!
//! Where a test of times is made, it is in `src/control/server/tests.rs`, whose clock is its own.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use director::control::{
    Client, ClientError, ErrorKind, Handler, Order, PoolState, Refusal, Reloaded, Server, Stopped,
    bind,
};
use director::status::{ServerStatus, ServiceStatus};
use director::{Decided, Override, Status};
use tokio::sync::watch;

/// Longer than anything takes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A daemon with one pool. It notes what it is asked to do.
struct Fake {
    asked: mpsc::Sender<String>,
    servers: usize,
}

impl Handler for Fake {
    async fn status(&self, status: &mut Status) -> Result<(), Refusal> {
        *status = Status::new("web");
        let mut service = ServiceStatus::default();
        service.service = "tcp/10.10.10.53:80".to_owned();
        service.servers = (0..self.servers)
            .map(|number| {
                let mut server = ServerStatus::default();
                server.server = format!("10.10.{}.{}:80", number / 250, number % 250);
                server.takes_traffic = true;
                server
            })
            .collect();
        status.services.push(service);
        Ok(())
    }

    async fn decide(&self, order: Order) -> Result<Decided, Refusal> {
        let Order { server, service, decision, duration, .. } = order;
        self.asked.send(format!("{server} {service:?} {decision:?} {duration:?}")).unwrap();
        let mut decided = Decided::default();
        decided.not_saved = decision.is_none().then(|| "no space left".to_owned());
        Ok(decided)
    }

    async fn reload(&self) -> Result<Reloaded, Refusal> {
        self.asked.send("reload".to_owned()).unwrap();
        let mut reloaded = Reloaded::new("one warning");
        reloaded.held_back.push("tcp/10.10.10.54:80: no such scheduler".to_owned());
        Ok(reloaded)
    }

    async fn stop(&self, keep_table: bool) -> Result<(), Refusal> {
        if keep_table {
            return Err(Refusal::from("the table can't be kept".to_owned()));
        }
        Ok(())
    }
}

/// A served socket in a folder of its own.
struct Served {
    _folder: tempfile::TempDir,
    path: PathBuf,
    changes: watch::Sender<u64>,
    asked: mpsc::Receiver<String>,
    thread: Option<JoinHandle<Stopped>>,
}

impl Served {
    fn new(servers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let listening = bind(&path, None).unwrap();
        let (changes, receiver) = watch::channel(0);
        let (asked, asks) = mpsc::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime.unwrap(), async {
                let listener = tokio::net::UnixListener::from_std(listening.listener).unwrap();
                Server::new(Fake { asked, servers }, receiver).run(listener).await
            })
        });
        Self { _folder: folder, path, changes, asked: asks, thread: Some(thread) }
    }

    fn client(&self) -> Client {
        Client::connect(&self.path).unwrap().timeout(LONG)
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_write_timeout(Some(LONG)).unwrap();
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let stopped = Client::connect(&self.path).and_then(|mut it| it.stop(false));
            if stopped.is_ok() {
                let _ = thread.join();
            }
        }
    }
}

/// What comes until the other end closes.
fn rest(mut stream: UnixStream) -> String {
    let mut text = Vec::new();
    // After a reset, what came before it counts.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_client_gets_what_it_asks_for() {
    let served = Served::new(3);
    let mut client = served.client();
    let status = client.status().unwrap();
    assert_eq!((status.instance.as_str(), status.services[0].servers.len()), ("web", 3));
    assert_eq!(client.metrics().unwrap(), director::metrics::render(&status));
    let reloaded = client.reload().unwrap();
    assert_eq!(reloaded.message, "one warning");
    assert_eq!(reloaded.held_back, ["tcp/10.10.10.54:80: no such scheduler"]);
    assert_eq!(served.asked.recv_timeout(LONG).unwrap(), "reload");
    let order = Order::new("10.10.0.1:80".parse().unwrap(), Some(Override::Drain));
    let decided = client.decide(order.duration(Duration::from_secs(600))).unwrap();
    assert_eq!(decided.not_saved, None);
    assert_eq!(
        served.asked.recv_timeout(LONG).unwrap(),
        "10.10.0.1:80 None Some(Drain) Some(600s)"
    );
    let decided = client.decide(Order::new("10.10.0.1:80".parse().unwrap(), None)).unwrap();
    assert_eq!(decided.not_saved.as_deref(), Some("no space left"));
    let error = client.stop(true).unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::Failed));
    assert_eq!(error.to_string(), "the table can't be kept");
    // A refusal is not the end of the connection.
    client.status().unwrap();
}

#[test]
fn stopping_ends_the_server_after_its_reply() {
    let mut served = Served::new(1);
    let mut other = served.client();
    other.status().unwrap();
    served.client().stop(false).unwrap();
    assert_eq!(served.thread.take().unwrap().join().unwrap(), Stopped { keep_table: false });
    assert!(matches!(other.status(), Err(ClientError::Closed(_))));
    assert!(matches!(Client::connect(&served.path), Err(ClientError::NotRunning(_))));
}

#[test]
fn nothing_there_is_told_from_a_failure() {
    let error = Client::connect("/nowhere/web.sock").unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
    let error = Client::connect(format!("/{}", "x".repeat(200))).unwrap_err();
    assert!(matches!(error, ClientError::Io { .. }), "{error}");
}

#[test]
fn a_subscription_has_the_state_at_once_and_after_changes() {
    let served = Served::new(2);
    let mut states = served.client().subscribe(LONG).unwrap();
    let mut expected = PoolState::default();
    expected.service = "tcp/10.10.10.53:80".to_owned();
    (expected.up, expected.servers) = (2, 2);
    for _ in 0..4 {
        assert_eq!(states.next().unwrap().unwrap(), [expected.clone()]);
        served.changes.send_modify(|it| *it += 1);
    }
    drop(served);
    assert!(states.any(|it| matches!(it, Err(ClientError::Closed(_)))));
    assert!(states.next().is_none());
}

#[test]
fn a_daemon_that_says_nothing_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let listening = bind(&path, None).unwrap();
    let start = Instant::now();
    let time = Duration::from_millis(50);
    let error = Client::connect(&path).unwrap().timeout(time).status().unwrap_err();
    assert!(matches!(error, ClientError::Timeout { .. }), "{error}");
    let mut states = Client::connect(&path).unwrap().subscribe(time).unwrap();
    assert!(matches!(states.next(), Some(Err(ClientError::Timeout { .. }))));
    assert!(states.next().is_none());
    assert!(start.elapsed() >= 2 * time && start.elapsed() < LONG);
    drop(listening);
}

/// Servers that aren't ours: each of these replies is an error, none a panic or a wait.
#[test]
fn a_reply_that_is_none_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let listening = bind(&path, None).unwrap();
    listening.listener.set_nonblocking(false).unwrap();
    let replies: [&[u8]; 8] = [
        b"",
        b"\n",
        b"\xFF\n",
        b"{}\n",
        b"{\"v\":1,\"id\":1,\"ok\":{",
        b"{\"v\":2,\"id\":1,\"ok\":{}}\n",
        b"{\"v\":1,\"id\":2,\"ok\":{}}\n",
        b"{\"v\":1,\"id\":1,\"ok\":{\"version\":1}}\n",
    ];
    for reply in replies {
        let mut client = Client::connect(&path).unwrap().timeout(LONG);
        let (mut stream, _) = listening.listener.accept().unwrap();
        stream.write_all(reply).unwrap();
        drop(stream);
        let error = client.status().unwrap_err();
        let is_expected = matches!(error, ClientError::Malformed { .. } | ClientError::Closed(_));
        assert!(is_expected, "{error}");
    }
}

#[test]
fn a_request_without_a_client_library_works() {
    let served = Served::new(1);
    let mut stream = served.raw();
    stream.write_all(b"{\"v\":1,\"id\":1,\"request\":\"status\"}\n").unwrap();
    // As `nc -N` does: what was asked before is answered.
    stream.shutdown(Shutdown::Write).unwrap();
    let reply = rest(stream);
    let reply: serde_json::Value = serde_json::from_str(&reply).unwrap();
    assert_eq!(reply["ok"]["services"][0]["service"], "tcp/10.10.10.53:80");
}

#[test]
fn metrics_follow_their_line_as_they_are() {
    let served = Served::new(2000);
    let mut stream = served.raw();
    stream.write_all(b"{\"v\":1,\"id\":1,\"request\":\"metrics\"}\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let reply = rest(stream);
    let (line, text) = reply.split_once('\n').unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(line, serde_json::json!({ "v": 1, "id": 1, "ok": { "length": text.len() } }));
    assert_eq!(text, served.client().metrics().unwrap());
    assert!(text.len() > 1_000_000 && text.starts_with("# HELP director_server_up "));
}

/// Texts that aren't as long as they say, no text, or too long to be true.
#[test]
fn metrics_that_are_none_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("web.sock");
    let listening = bind(&path, None).unwrap();
    listening.listener.set_nonblocking(false).unwrap();
    for (length, text) in [("4", &b"abc"[..]), ("1", b"\xFF"), ("99999999999", b""), ("-1", b"")] {
        let mut client = Client::connect(&path).unwrap().timeout(LONG);
        let (mut stream, _) = listening.listener.accept().unwrap();
        writeln!(stream, "{{\"v\":1,\"id\":1,\"ok\":{{\"length\":{length}}}}}").unwrap();
        stream.write_all(text).unwrap();
        drop(stream);
        let error = client.metrics().unwrap_err();
        let is_expected = matches!(error, ClientError::Malformed { .. } | ClientError::Closed(_));
        assert!(is_expected, "{error}");
    }
}

#[test]
fn half_lines_garbage_and_long_lines_harm_nobody() {
    let served = Served::new(1);
    let mut half = served.raw();
    half.write_all(b"{\"v\":1,\"id\":1,").unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(half), "");

    let mut garbage = served.raw();
    garbage.write_all(b"GET / HTTP/1.0\r\n\r\n\0\0\xFF\n").unwrap();
    garbage.shutdown(Shutdown::Write).unwrap();
    let replies = rest(garbage);
    assert_eq!(replies.lines().count(), 2);
    assert!(replies.lines().all(|it| it.contains("\"malformed\"")), "{replies}");

    let mut long = served.raw();
    let megabyte = vec![b'x'; 1_000_000];
    let sent = (0..10).take_while(|_| long.write_all(&megabyte).is_ok()).count();
    assert!(sent < 2, "{sent} MB were taken");
    assert!(rest(long).contains("\"too_long\""));

    served.client().status().unwrap();
}

#[test]
fn of_a_hundred_connections_some_are_turned_away_and_told_so() {
    let served = Served::new(1);
    let mut clients: Vec<Client> = (0..100).map(|_| served.client()).collect();
    let replies: Vec<_> = clients.iter_mut().map(Client::status).collect();
    let (good, bad): (Vec<_>, Vec<_>) = replies.into_iter().partition(Result::is_ok);
    // The user of this test is the daemon's own: every place is for it.
    assert_eq!((good.len(), bad.len()), (64, 36));
    for reply in bad {
        assert_eq!(reply.unwrap_err().kind(), Some(ErrorKind::Busy));
    }
    drop(clients);
    // The places are free again, once the server has seen it.
    let deadline = Instant::now() + LONG;
    while served.client().status().is_err() {
        assert!(Instant::now() < deadline);
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_subscriber_that_never_reads_delays_nobody_and_is_dropped() {
    let served = Served::new(2000);
    let mut silent = served.raw();
    // A status of this size fills the socket's buffer.
    for _ in 0..20 {
        silent.write_all(b"{\"v\":1,\"id\":1,\"request\":\"status\"}\n").unwrap();
    }
    silent.write_all(b"{\"v\":1,\"id\":1,\"request\":\"subscribe\"}\n").unwrap();
    let mut client = served.client();
    for _ in 0..10 {
        assert_eq!(client.status().unwrap().services[0].servers.len(), 2000);
    }
    // Let go after 5 seconds: what it reads then ends in the middle of a line.
    let deadline = Instant::now() + LONG;
    loop {
        match silent.write_all(b"\n") {
            Err(_) => break,
            Ok(()) => assert!(Instant::now() < deadline),
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert!(!rest(silent).ends_with('\n'));
}

#[test]
fn the_socket_file_is_for_owner_and_group() {
    use std::os::unix::fs::PermissionsExt as _;
    let served = Served::new(1);
    let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&served.path) & 0o7777, 0o660);
}
