//! Names of real servers that a name server knows, or doesn't say.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Context, Namespace, Suite, WebServer, eventually};
use rustix::process::{Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_worker_that_dies_while_no_name_server_answers_loses_nobody));
}

/// resolv.conf(5): one name server, which gets longer than the daemon waits.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:30 attempts:2\n";

/// nsswitch.conf(5): nobody else is asked.
const NSSWITCH_CONF: &str = "hosts: dns\n";

/// A real server by name.
const NAMED: &str = "web.example";

/// A name server for which every name is 127.0.0.1. Dropping it ends it.
struct DnsServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    /// How many queries of each kind, for IPv4 and IPv6 addresses, it replies to before it falls silent.
    left: [AtomicUsize; 2],
}

impl DnsServer {
    fn start(netns: &Namespace) -> Result<Self> {
        let socket = netns.run(|| UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)))?;
        let socket = socket.context("cannot be a name server")?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let thread = thread::Builder::new().name("name server".to_owned()).spawn(move || {
            while !serving.ended.load(Ordering::Relaxed) {
                serving.serve(&socket);
            }
        })?;
        let server = Self { shared, thread: Some(thread) };
        server.answer(usize::MAX);
        Ok(server)
    }

    /// From now on it replies to this many look-ups, and then to none.
    fn answer(&self, count: usize) {
        for left in &self.shared.left {
            left.store(count, Ordering::Relaxed);
        }
    }
}

impl Shared {
    fn serve(&self, socket: &UdpSocket) {
        let mut query = [0; 512];
        let Ok((length, client)) = socket.recv_from(&mut query) else { return };
        let Some((reply, kind)) = reply(&query[..length]) else { return };
        let take = |left: usize| left.checked_sub(1);
        let took = self.left[kind].fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok();
        if took {
            let _ = socket.send_to(&reply, client);
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("the name server panicked");
        }
    }
}

/// The reply to a query for an address (RFC 1035, 4.1), and 1 if that is for IPv6 (RFC 3596): there is
/// none.
fn reply(query: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut end = 12;
    while *query.get(end)? > 0 {
        end += usize::from(query[end]) + 1;
    }
    let question = query.get(12..end + 5)?;
    let kind = match question[question.len() - 4..] {
        [0, 1, 0, 1] => 0,
        [0, 28, 0, 1] => 1,
        _ => return None,
    };
    let answers = u8::from(kind == 0);
    let mut reply = query[..2].to_vec();
    // A response, recursion wanted and available; one question, the answers.
    reply.extend([0x81, 0x80, 0, 1, 0, answers, 0, 0, 0, 0]);
    reply.extend(question);
    if kind == 0 {
        // The name of the question, an address of the Internet, for a second, four bytes.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some((reply, kind))
}

/// An instance whose real server has a name, and a script that executes a command where that name is
/// looked up with our name server.
fn named<'n>(netns: &'n Namespace, label: &str) -> Result<(Instance<'n>, String)> {
    let mut instance = Instance::new(netns)?;
    // A socket is called like its instance only if the name is short.
    instance.name = format!("{label}-{}.cf", std::process::id());
    instance.configure(&ONE.replace("127.0.0.1", NAMED))?;
    let mut script = String::new();
    for (name, text) in [("resolv.conf", RESOLV_CONF), ("nsswitch.conf", NSSWITCH_CONF)] {
        let file = instance.path(name);
        fs::write(&file, text)?;
        script += &format!("mount --bind {} /etc/{name} && ", file.display());
    }
    Ok((instance, script + "exec \"$@\""))
}

/// The name is looked up once, by the first worker.
fn a_worker_that_dies_while_no_name_server_answers_loses_nobody(
    context: &mut Context,
) -> Result<()> {
    let netns = context.netns("known")?;
    let mut web = WebServer::start_new(&netns, "works")?;
    let dns = DnsServer::start(&netns)?;
    let (instance, script) = named(&netns, "known")?;
    instance.verb_by(&script, "start")?.success()?;
    until(&netns, &[SERVICE, REAL])?;
    let parent = instance.pid()?;
    drop(dns);
    // Nobody listens any more, and then somebody listens who says nothing.
    for silent in [false, true] {
        let dns = silent.then(|| DnsServer::start(&netns)).transpose()?;
        if let Some(dns) = &dns {
            dns.answer(0);
        }
        let worker = instance.worker()?;
        kill_process(worker, Signal::KILL)?;
        eventually(LIMIT, || {
            ensure!(instance.worker()? != worker, "no other worker yet");
            assert_eq!(table(&netns)?, [SERVICE, REAL]);
            let status = instance.expect("status --json", 0)?;
            ensure!(status.stdout.contains("127.0.0.1:80"), "{status:?}");
            Ok(())
        })?;
        assert_eq!(table(&netns)?, [SERVICE, REAL]);
        // The next one checks it, too.
        web.stop();
        until(&netns, &[SERVICE])?;
        web.start(&netns)?;
        until(&netns, &[SERVICE, REAL])?;
    }
    assert_eq!(instance.pid()?, parent);
    instance.expect("stop", 0)?;
    Ok(())
}
