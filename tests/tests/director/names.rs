//! Names of real servers that a name server knows, or doesn't say.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Background, Context, Namespace, Suite, WebServer, eventually, finish};
use ipvs_tests::acceptance::pulse::{Pulse, now};
use rustix::process::{Signal, kill_process};

use super::instance::{Instance, LIMIT, ONE, REAL, SERVICE, table, until};
use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(a_worker_that_dies_while_no_name_server_answers_loses_nobody));
    suite.add(test!(a_stop_before_it_is_ready_leaves_nothing));
}

/// resolv.conf(5): one name server, which gets longer than the daemon waits.
pub(super) const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:30 attempts:2\n";

/// How long the daemon waits for names. A stop doesn't.
const LOOK_UPS: Duration = Duration::from_secs(20);

/// nsswitch.conf(5): nobody else is asked.
pub(super) const NSSWITCH_CONF: &str = "hosts: dns\n";

/// A real server by name.
pub(super) const NAMED: &str = "web.example";

/// A name server for which every name is 127.0.0.1. Dropping it ends it.
pub(super) struct DnsServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    ended: AtomicBool,
    /// How many queries of each kind, for IPv4 and IPv6 addresses, it replies to before it falls silent.
    left: [AtomicUsize; 2],
    /// How many it hasn't replied to.
    unanswered: AtomicUsize,
}

impl DnsServer {
    pub(super) fn start(netns: &Namespace) -> Result<Self> {
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
    pub(super) fn answer(&self, count: usize) {
        self.shared.unanswered.store(0, Ordering::Relaxed);
        for left in &self.shared.left {
            left.store(count, Ordering::Relaxed);
        }
    }

    /// Waits until somebody waits for a reply.
    fn until_silent(&self) -> Result<()> {
        eventually(LIMIT, || {
            ensure!(self.shared.unanswered.load(Ordering::Relaxed) > 0, "nobody asks");
            Ok(())
        })
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
        } else {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
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

/// The worker waits for a name server that has replied to the verb, and says no more.
fn a_stop_before_it_is_ready_leaves_nothing(context: &mut Context) -> Result<()> {
    let netns = context.netns("early")?;
    let _web = WebServer::start_new(&netns, "works")?;
    let dns = DnsServer::start(&netns)?;
    let (instance, script) = named(&netns, "early")?;
    // A table that an earlier run has left: it was killed.
    instance.verb_by(&script, "start")?.success()?;
    until(&netns, &[SERVICE, REAL])?;
    let worker = instance.worker()?;
    kill_process(instance.pid()?, Signal::KILL)?;
    eventually(LIMIT, || {
        ensure!(!PathBuf::from(format!("/proc/{}", worker.as_raw_nonzero())).exists());
        Ok(())
    })?;
    fs::remove_file(instance.pid_file())?;
    let before = files(&instance)?;
    for signal in [None, Some(Signal::TERM), Some(Signal::INT)] {
        dns.answer(1);
        let mut start = Background::start(&mut instance.command_by(&script, "start"))?;
        dns.until_silent()?;
        ensure!(start.wait(Duration::ZERO)?.is_none(), "it doesn't wait: {:?}", start.stderr());
        assert!(!instance.pid_file().exists(), "it isn't ready");
        let (pulse, begin) = (Pulse::start()?, now());
        match signal {
            None => drop(instance.expect("stop", 0)?),
            Some(signal) => kill_process(instance.locked_by()?, signal)?,
        }
        let status = start.wait(LIMIT)?.context("the start doesn't end")?;
        let end = now();
        let took = end.saturating_sub(begin).saturating_sub(pulse.stalled(begin, end));
        ensure!(took < LOOK_UPS / 2, "{signal:?}: it has taken {took:?}");
        assert_eq!(status.code(), Some(1), "{}", start.stderr()?);
        let said = start.stderr()?;
        assert!(said.contains("stopped before it was ready"), "{said}");
        eventually(LIMIT, || {
            let left = files(&instance)?;
            ensure!(left == before, "{left:?} instead of {before:?}");
            let processes = finish(netns.command("pgrep").args(["-f", &instance.name]), LIMIT)?;
            ensure!(processes.stdout.is_empty(), "{processes:?}");
            Ok(())
        })?;
        assert_eq!(table(&netns)?, [SERVICE, REAL], "nobody knows yet what cleanstop would be");
        instance.expect("status", 2)?;
    }

    // The next one starts as if nothing had been.
    dns.answer(usize::MAX);
    instance.verb_by(&script, "start")?.success()?;
    assert_eq!(table(&netns)?, [SERVICE, REAL]);
    instance.expect("stop", 0)?;
    assert_eq!(table(&netns)?, [""; 0]);
    Ok(())
}

/// The files of an instance, wherever the daemon has any.
fn files(instance: &Instance<'_>) -> Result<BTreeSet<PathBuf>> {
    let mut files = BTreeSet::new();
    for folder in ["/run/ldirectord", "/var/run"] {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.to_string_lossy().contains(&instance.name) {
                files.insert(path);
            }
        }
    }
    Ok(files)
}
