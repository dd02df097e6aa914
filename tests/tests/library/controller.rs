//! The example `controller` in the direct-routing cluster: its file changes while clients keep
//! sending requests, and none of them may notice.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs::sysctl;
use ipvs_testkit::{Background, Cluster, Context, Layout, Suite, WebServer, eventually};
use ipvs_tests::{Reader, connect};

use crate::test;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(no_request_fails_while_servers_come_and_go).limit(Duration::from_secs(180)));
}

/// How long real servers may drain. Closed connections count as inactive for another two minutes,
/// so while there is traffic, this timeout is what takes a real server out.
const DRAIN: Duration = Duration::from_secs(2);

/// How long the controller may take to apply its file.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The successive contents of the file: the scheduler, and the weight of each wanted web server.
const STATES: [(&str, [Option<u32>; 2]); 21] = [
    ("rr", [Some(1), Some(1)]),
    ("rr", [None, Some(1)]),
    ("rr", [Some(1), Some(1)]),
    ("rr", [Some(1), None]),
    ("rr", [None, Some(1)]),
    ("wrr", [None, Some(1)]),
    ("wrr", [Some(3), Some(1)]),
    ("wrr", [Some(1), Some(3)]),
    ("wrr", [Some(5), Some(5)]),
    ("wlc", [Some(5), Some(5)]),
    ("wlc", [Some(0), Some(5)]),
    ("wlc", [Some(5), Some(0)]),
    ("wlc", [Some(5), None]),
    ("lc", [Some(5), Some(1)]),
    ("lc", [None, Some(1)]),
    ("sh", [Some(1), Some(1)]),
    ("rr", [Some(1), Some(1)]),
    ("rr", [Some(0), Some(1)]),
    ("rr", [None, Some(7)]),
    ("rr", [Some(7), Some(7)]),
    ("rr", [Some(1), Some(1)]),
];

fn no_request_fails_while_servers_come_and_go(context: &mut Context) -> Result<()> {
    let cluster = context.cluster(Layout::OneSubnet)?;
    let _web_servers = cluster
        .servers
        .iter()
        .map(|server| WebServer::start_new(&server.netns, server.name))
        .collect::<Result<Vec<_>>>()?;
    // A client may reuse a port while IPVS still remembers a closed connection from it, for two
    // minutes. If that connection went to a real server that is gone, its packets are dropped
    // unless this is on.
    connect(&cluster.director.netns)?.set_sysctl(sysctl::EXPIRE_NODEST_CONN, true)?;
    let file = env::temp_dir().join(format!("{}.toml", cluster.director.netns.name()));
    write(&file, &cluster, STATES[0])?;
    let mut command = cluster.director.netns.command(program()?);
    command.arg(&file).arg("10.10.10.0/24").arg(DRAIN.as_secs().to_string()).stdin(Stdio::null());
    let mut controller = Background::start(&mut command)?;
    reaches(&cluster, &mut controller, STATES[0])?;

    let stream = Stream::default();
    let (done, failed) = thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| stream.flow(&cluster));
        }
        let changed = STATES[1..].iter().try_for_each(|&state| {
            write(&file, &cluster, state)?;
            let before = stream.done.load(Ordering::Relaxed);
            reaches(&cluster, &mut controller, state)
                .with_context(|| format!("{state:?}\n{}", controller_said(&controller)))?;
            // Too few requests would prove nothing.
            eventually(TIMEOUT, || {
                let done = stream.done.load(Ordering::Relaxed) - before;
                ensure!(done >= 10, "only {done} requests");
                Ok(())
            })
        });
        stream.stop.store(true, Ordering::Relaxed);
        changed.map(|()| (&stream.done, &stream.failed))
    })?;
    let (done, failed) = (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    let changes = STATES.len() - 1;
    println!("{done} requests during {changes} changes, {failed} failed");
    ensure!(failed == 0, "{failed} of {done} requests failed");
    ensure!(controller.stderr()?.is_empty(), "{}", controller.stderr()?);
    fs::remove_file(&file)?;
    Ok(())
}

/// Sends requests without end.
#[derive(Default)]
struct Stream {
    stop: AtomicBool,
    done: AtomicUsize,
    failed: AtomicUsize,
}

impl Stream {
    fn flow(&self, cluster: &Cluster) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = cluster.request() {
                println!("{error:#}");
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            self.done.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The example, whose path is in `CONTROLLER`.
fn program() -> Result<PathBuf> {
    env::var_os("CONTROLLER").map(PathBuf::from).context("CONTROLLER doesn't name the example")
}

/// Writes the file of a state so that readers see it whole.
fn write(file: &Path, cluster: &Cluster, state: (&str, [Option<u32>; 2])) -> Result<()> {
    let (scheduler, weights) = state;
    let mut text =
        format!("[[service]]\nkey = \"tcp/10.10.10.53:80\"\nscheduler = \"{scheduler}\"\n");
    for (server, weight) in cluster.servers.iter().zip(weights) {
        if let Some(weight) = weight {
            let addr = server.addr;
            text += &format!("[[service.destination]]\nkey = \"{addr}:80\"\nweight = {weight}\n");
        }
    }
    let new = file.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, file)?;
    Ok(())
}

/// Waits until the C ipvsadm lists what the file says.
fn reaches(
    cluster: &Cluster,
    controller: &mut Background,
    state: (&str, [Option<u32>; 2]),
) -> Result<()> {
    let (scheduler, weights) = state;
    let mut wanted = BTreeSet::from([format!("-A -t 10.10.10.53:80 -s {scheduler}")]);
    for (server, weight) in cluster.servers.iter().zip(weights) {
        if let Some(weight) = weight {
            let addr = server.addr;
            wanted.insert(format!("-a -t 10.10.10.53:80 -r {addr}:80 -g -w {weight}"));
        }
    }
    let reader = Reader::new(&cluster.director.netns)?;
    eventually(TIMEOUT, || {
        controller.still_running()?;
        let saved: BTreeSet<String> = reader.saved()?.into_iter().collect();
        if saved != wanted {
            bail!("{saved:?} instead of {wanted:?}");
        }
        Ok(())
    })
}

fn controller_said(controller: &Background) -> String {
    let said = |text: Result<String>| text.unwrap_or_default();
    format!("{}{}", said(controller.stdout()), said(controller.stderr()))
}
