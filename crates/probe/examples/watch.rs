//! Checks pages, and reports when one goes down or comes back.
//!
//! `watch [--every SECONDS] URL…`, with addresses for hosts: `http://10.10.10.102/check.txt`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use probe::{
    Check, Health, Http, Limits, Probe, Runner, Schedule, State, Thresholds, Tls, Verdict,
};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

const TIMEOUT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let mut every = Duration::from_secs(2);
    let mut urls = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--every" {
            match arguments.next().and_then(|seconds| seconds.parse().ok()) {
                Some(seconds) => every = Duration::from_secs(seconds),
                None => return usage("--every needs a number of seconds"),
            }
            continue;
        }
        match probe_of(&argument) {
            Some(probe) => urls.push((argument, probe)),
            None => return usage(&format!("{argument} is not http:// or https:// and an address")),
        }
    }
    if urls.is_empty() {
        return usage("no page is given");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return usage(&error.to_string()),
    };
    LocalSet::new().block_on(&runtime, watch(&urls, every));
    ExitCode::SUCCESS
}

fn usage(what: &str) -> ExitCode {
    eprintln!("watch: {what}\nusage: watch [--every SECONDS] URL…");
    ExitCode::from(2)
}

/// `http://10.10.10.102:8080/check.txt` as a check.
fn probe_of(url: &str) -> Option<Probe> {
    let (scheme, rest) = url.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let http = Http::new(path);
    let (port, check) = match scheme {
        "http" => (80, Check::Http(http)),
        "https" => (443, Check::Https(http, Tls::default())),
        _ => return None,
    };
    let ip = || host.trim_matches(['[', ']']).parse().ok().map(|ip| SocketAddr::new(ip, port));
    Some(Probe::new(host.parse().ok().or_else(ip)?, check, TIMEOUT))
}

/// Makes the checks, forever.
async fn watch(urls: &[(String, Probe)], every: Duration) {
    let runner = Rc::new(Runner::new(Limits::default()));
    let mut schedule = Schedule::new(Instant::now());
    let mut healths: HashMap<usize, Health> = HashMap::new();
    for id in 0..urls.len() {
        schedule.insert(id, every, Duration::from_millis(500), Instant::now());
    }
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    loop {
        while let Some(due) = schedule.due(Instant::now()) {
            let (runner, probe) = (Rc::clone(&runner), urls[due.id].1.clone());
            let sender = sender.clone();
            tokio::task::spawn_local(async move {
                // Sending fails only while this program ends.
                let _ = sender.send((due.id, runner.run(&probe).await));
            });
        }
        // With all checks in flight, there is only an outcome to wait for.
        let next = schedule.next().unwrap_or_else(|| Instant::now() + every);
        let outcome = tokio::time::timeout_at(next.into(), outcomes.recv()).await;
        let Ok(Some((id, outcome))) = outcome else { continue };
        let now = Instant::now();
        if let Verdict::Inconclusive(reason) = &outcome.verdict {
            eprintln!("watch: {}: {reason}", urls[id].0);
            schedule.repeat(id, now);
            continue;
        }
        schedule.finished(id, now);
        let health = healths.entry(id).or_default();
        match health.observe(&outcome.verdict, Thresholds::default(), now) {
            Some(State::Up | State::Unknown) => println!("{} is up", urls[id].0),
            Some(State::Down) => println!("{} is {}", urls[id].0, outcome.verdict),
            None => {}
        }
    }
}
