//! Traffic while the daemon starts and reads its file again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::super::subject::Daemon;
use super::super::table::TableFile;
use super::super::world::{World, get_here, real, vip};
use super::super::{Criterion, Stage};
use super::{by_hand, config, service, start};

/// How many threads make connections, one after the other.
const CLIENTS: usize = 8;

/// How many connections a second they make together, if the guest can.
const RATE: f64 = 1000.0;

/// For how long the same load is measured without a health checker.
const ALONE: Duration = Duration::from_secs(3);

/// How long a client waits.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the file is read again, and the time in between.
const RELOADS: u32 = 20;
const BETWEEN: Duration = Duration::from_millis(600);

/// What the clients have seen.
#[derive(Debug, Default)]
struct Load {
    stop: AtomicBool,
    /// Whether failures count: there is a real server to connect to.
    counts: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
}

/// C2: a real server that serves, and whose check says that it mustn't.
pub(super) fn dead_at_reloads(stage: &Stage) -> Result<Vec<Criterion>> {
    let world = World::build(stage, 3)?;
    let _webs = [world.nginx(1)?, world.nginx(2)?];
    let dead = world.nginx(3)?;
    dead.remove("pages/check.txt")?;
    let alone = without_checker(&world)?;
    let mut daemon = Daemon::new(stage.subject, &world.director)?;
    daemon.configure(&config(service(1..=3)))?;
    let table = TableFile::open(&world.director)?;
    let load = Load::default();
    let visits = || -> Result<usize> {
        Ok(dead.requests()?.iter().filter(|request| request.line.contains("/who.txt")).count())
    };
    let (at_start, elapsed) = thread::scope(|scope| -> Result<_> {
        for _ in 0..CLIENTS {
            scope.spawn(|| world.client.run(|| connect(&load)));
        }
        let mut play = || -> Result<_> {
            start(&mut daemon, &table, |table| table.taking(vip(1)) == [real(1), real(2)])?;
            // The clients that were refused before are through.
            thread::sleep(Duration::from_secs(1));
            let at_start = visits()?;
            load.counts.store(true, Ordering::Relaxed);
            let begin = Instant::now();
            for _ in 0..RELOADS {
                daemon.hup()?;
                thread::sleep(BETWEEN);
            }
            Ok((at_start, begin.elapsed()))
        };
        let played = play();
        load.stop.store(true, Ordering::Relaxed);
        played
    })?;
    let all = visits()?;
    let (answered, failed) =
        (load.answered.load(Ordering::Relaxed), load.failed.load(Ordering::Relaxed));
    let rate = answered as f64 / elapsed.as_secs_f64();
    if answered == 0 {
        return Err(anyhow!("no connection was made: {}", daemon.tail()));
    }
    Ok(vec![
        Criterion::is(
            "connections to the dead one at start",
            "0",
            at_start.to_string(),
            at_start == 0,
        ),
        Criterion::is(
            "connections to the dead one at 20 reloads",
            "0",
            (all - at_start).to_string(),
            all == at_start,
        ),
        Criterion::is(
            "connections that failed meanwhile",
            "0",
            format!("{failed} of {}", answered + failed),
            failed == 0,
        ),
        // A guest on a busy machine makes fewer, with and without a health checker.
        Criterion::is(
            "connections a second meanwhile",
            "≥ 950",
            format!("{rate:.0}; {alone:.0} without a health checker"),
            rate >= RATE * 0.95,
        )
        .of_speed(),
        Criterion::is(
            "the daemon at the end",
            "runs",
            if daemon.runs()? { "runs" } else { "is gone" },
            daemon.runs()?,
        ),
    ])
}

/// How many connections a second the same load makes with a table that nobody looks after: the most
/// that this kernel does here.
fn without_checker(world: &World) -> Result<f64> {
    for command in [
        "-A -t 10.2.0.1:80 -s rr",
        "-a -t 10.2.0.1:80 -r 10.3.1.1:80 -m -w 1",
        "-a -t 10.2.0.1:80 -r 10.3.2.1:80 -m -w 1",
    ] {
        by_hand(&world.director, command)?;
    }
    let load = Load { counts: AtomicBool::new(true), ..Load::default() };
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| world.client.run(|| connect(&load)));
        }
        thread::sleep(ALONE);
        load.stop.store(true, Ordering::Relaxed);
    });
    let rate = load.answered.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64();
    by_hand(&world.director, "-C")?;
    Ok(rate)
}

/// Makes one connection after the other, at this thread's part of the rate: what a connection or a
/// sleep took longer is made up for by the next ones, up to a second of it.
fn connect(load: &Load) {
    let period = Duration::from_secs_f64(CLIENTS as f64 / RATE);
    let mut next = Instant::now();
    while !load.stop.load(Ordering::Relaxed) {
        let counts = load.counts.load(Ordering::Relaxed);
        let answer = get_here(vip(1), "/who.txt", PATIENCE);
        if counts {
            let counter = if answer.is_ok() { &load.answered } else { &load.failed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        next += period;
        match next.checked_duration_since(Instant::now()) {
            Some(early) => thread::sleep(early),
            None if next.elapsed() > Duration::from_secs(1) => next = Instant::now(),
            None => {}
        }
    }
}
