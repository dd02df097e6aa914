//! What [`Needs`] promises, against the runner: every check hangs, having taken all it can take.
//!
//! Descriptors and memory are those of a whole process, so the servers are in another one, and this
//! file has one test.

mod support;

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use probe::{
    BODY_LIMIT, Check, External, Http, Limits, Needs, Pattern, Probe, ReasonKind, Runner, Tls,
    Verdict,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::{ServerConnection, StreamOwned};
use support::{LONG, block_on, read_request, server, tls_server, why};

const NAME: &str = "as_many_checks_as_can_hang_need_no_more_than_was_said";
const SERVES: &str = "HEALTH_PROBE_TEST_SERVES";
/// How many checks there are of each kind.
const EACH: usize = 60;
const COMMANDS: usize = 20;

/// Sends all of a page except its last byte, and waits.
fn serve(mut stream: impl Read + Write) {
    read_request(&mut stream);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_LIMIT}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(&vec![b'x'; BODY_LIMIT - 1]);
    let _ = stream.flush();
    thread::sleep(10 * LONG);
}

/// Serves until its parent goes away.
fn serve_all() {
    let plain = server(serve);
    let config = tls_server("good.pem", false);
    let secure = server(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
        serve(StreamOwned::new(session, stream));
    });
    println!("\nserves {plain} {secure}");
    let _ = std::io::stdin().read(&mut [0]);
}

fn open_files() -> usize {
    // The directory itself is open while it is read. 0 if no file can be opened any more.
    fs::read_dir("/proc/self/fd").map_or(0, |files| files.count() - 1)
}

/// Limits the files that this process may open to so many more. Returns the limits before.
fn allow(more: usize) -> Rlimit {
    let open = fs::read_dir("/proc/self/fd").expect("there is a /proc").flatten();
    let open: HashSet<u64> = open.filter_map(|it| it.file_name().to_str()?.parse().ok()).collect();
    // The limit is on the number of a descriptor, and a new one gets the lowest that is free.
    let limit = (0..).filter(|number| !open.contains(number)).nth(more);
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit, ..before }).expect("a lower limit");
    before
}

fn resident() -> usize {
    // 0 likewise.
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|it| it.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}

fn page() -> Http {
    Http::new("/").receive(Pattern::perl("never").expect("a pattern"))
}

fn within(probe: &Probe, seconds: u64) -> Probe {
    Probe::new(probe.target, probe.check.clone(), Duration::from_secs(seconds))
}

/// Makes all checks at once, until enough files are open and enough memory is resident, or all have
/// ended. Returns the verdicts of those that have, and by how much both grew.
fn hang(probes: &[Probe], limits: Limits, enough: (usize, usize)) -> (Vec<Verdict>, usize, usize) {
    block_on(async {
        let runner = Rc::new(Runner::new(limits));
        let (files, memory) = (open_files(), resident());
        let tasks: Vec<_> = probes
            .iter()
            .map(|probe| {
                let (runner, probe) = (Rc::clone(&runner), probe.clone());
                tokio::task::spawn_local(async move { runner.run(&probe).await.verdict })
            })
            .collect();
        let (mut more_files, mut more_memory) = (0, 0);
        while !tasks.iter().all(tokio::task::JoinHandle::is_finished)
            && (more_files < enough.0 || more_memory < enough.1)
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
            more_files = more_files.max(open_files().saturating_sub(files));
            more_memory = more_memory.max(resident().saturating_sub(memory));
        }
        let mut verdicts = Vec::new();
        for task in tasks {
            if task.is_finished() {
                verdicts.push(task.await.expect("no panic"));
            } else {
                task.abort();
            }
        }
        (verdicts, more_files, more_memory)
    })
}

#[test]
fn as_many_checks_as_can_hang_need_no_more_than_was_said() {
    if std::env::var_os(SERVES).is_some() {
        return serve_all();
    }
    let mut servers = Command::new(std::env::current_exe().unwrap());
    let servers = servers.args(["--exact", NAME, "--nocapture"]).env(SERVES, "1");
    let mut servers = servers.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(servers.stdout.take().unwrap()).lines();
    let line =
        lines.by_ref().map_while(Result::ok).find(|line| line.starts_with("serves ")).unwrap();
    let ports: Vec<SocketAddr> = line.split(' ').skip(1).map(|it| it.parse().unwrap()).collect();

    let sleep = External { program: "/bin/sleep".into(), arguments: vec!["1000".into()] };
    let probes: Vec<Probe> = [
        (ports[0], Check::Http(page())),
        (ports[1], Check::Https(page(), Tls::default())),
        (ports[0], Check::External(sleep)),
    ]
    .iter()
    .flat_map(|(addr, check)| (0..EACH).map(|_| Probe::new(*addr, check.clone(), LONG)))
    .collect();
    let mut limits = Limits::default();
    limits.commands = COMMANDS;
    let needs = Needs::of(&probes, limits);

    // What the process needs once: the runtime's signal handler, the allocator's arenas.
    let few: Vec<Probe> = [0, EACH, 2 * EACH].map(|at| within(&probes[at], 1)).into();
    let all = (usize::MAX, usize::MAX);
    let _ = hang(&few, limits, all);

    // With exactly the descriptors that were said, none is missing. The runtime has some, and this
    // test reads directories.
    let spare = 8;
    let before = allow(needs.descriptors + spare);
    let (expected, pages) = (2 * EACH + COMMANDS, 2 * EACH * BODY_LIMIT);
    let (verdicts, files, memory) = hang(&probes, limits, (expected, pages));
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(verdicts.is_empty(), "{} ended, as {}", verdicts.len(), verdicts[verdicts.len() - 1]);
    assert_eq!(needs.processes, COMMANDS);
    assert!(files >= expected, "{files} files: not all were in flight at once");
    assert!(files <= needs.descriptors, "{files} files, {} were said", needs.descriptors);
    assert!(needs.descriptors <= expected + 5, "{needs:?}");
    assert!(memory >= pages, "{memory} bytes: not every page was taken");
    assert!(memory <= needs.memory, "{memory} bytes, {} were said", needs.memory);
    assert!(needs.memory <= 6 * memory, "{memory} bytes, but {} were said", needs.memory);
    println!("{needs:?}: {files} files, {memory} bytes");

    // With fewer, some checks say nothing, and no server is down for it.
    let quick: Vec<Probe> = probes[..2 * EACH].iter().map(|probe| within(probe, 2)).collect();
    let before = allow(EACH + spare);
    let (verdicts, ..) = hang(&quick, limits, all);
    setrlimit(Resource::Nofile, before).unwrap();
    assert_eq!(verdicts.len(), quick.len());
    let local = verdicts.iter().filter(|it| why(it).0 == ReasonKind::Local);
    assert!(local.clone().count() >= EACH - spare, "{} of {}", local.count(), verdicts.len());
    for verdict in local {
        assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict}");
    }

    drop(servers.stdin.take());
    let _ = servers.wait();
}
