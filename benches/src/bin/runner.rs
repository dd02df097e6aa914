//! The runner and the schedule of `health-probe` alone: `runner COUNT INTERVAL`, in milliseconds.
//! What the daemon costs above this is the pools, the table and its log.

#![forbid(unsafe_code)]

use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ipvs_benches::director::{TIMEOUT, real_servers};
use probe::{Check, Http, Limits, Probe, Runner, Schedule, Verdict};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

const WARM_UP: Duration = Duration::from_millis(500);

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let count = words.next().context("how many?")?.parse()?;
    let interval = Duration::from_millis(words.next().context("which interval?")?.parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, check(count, interval));
    Ok(())
}

async fn check(count: usize, interval: Duration) {
    let runner = Rc::new(Runner::new(Limits::default()));
    let probes: Vec<Rc<Probe>> = real_servers(count)
        .map(|server| {
            Rc::new(Probe::new(server.address.into(), Check::Http(Http::new("/")), TIMEOUT))
        })
        .collect();
    let mut schedule = Schedule::new(Instant::now());
    for id in 0..count {
        schedule.insert(id, interval, WARM_UP, Instant::now());
    }
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    loop {
        while let Some(due) = schedule.due(Instant::now()) {
            let (runner, probe) = (Rc::clone(&runner), Rc::clone(&probes[due.id]));
            let sender = sender.clone();
            tokio::task::spawn_local(async move {
                // Sending fails only while this program ends.
                let _ = sender.send((due.id, runner.run(&probe).await));
            });
        }
        let next = schedule.next().unwrap_or_else(|| Instant::now() + interval);
        let outcome = tokio::time::timeout_at(next.into(), outcomes.recv()).await;
        let Ok(Some((id, outcome))) = outcome else { continue };
        match outcome.verdict {
            Verdict::Inconclusive(_) => schedule.repeat(id, Instant::now()),
            _ => schedule.finished(id, Instant::now()),
        }
    }
}
