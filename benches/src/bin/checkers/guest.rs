//! How soon the table is complete, and how many checks fit, in a kernel with IPVS.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipvs::{Client, ServiceKey};
use ipvs_benches::director::files::{VIRTUAL_SERVICE, WarmUp};
use ipvs_benches::director::healthy;
use ipvs_benches::director::report::{Capacity, Guest, Start};
use ipvs_benches::director::settings::Settings;
use ipvs_benches::namespace;
use ipvs_benches::running::Processor;

use crate::contender::Contender;
use crate::farm::Farm;
use crate::kernel;

/// How many real servers a program starts with.
const SERVERS: usize = 1_000;

const INTERVAL: Duration = Duration::from_secs(2);

/// keepalived spreads its first checks over its interval. Which of these is best isn't known
/// beforehand.
const STARTS: [Contender; 5] = [
    Contender::Ours,
    Contender::Keepalived(WarmUp::Default),
    Contender::Keepalived(WarmUp::Seconds(1.0)),
    Contender::Keepalived(WarmUp::Seconds(0.5)),
    Contender::Keepalived(WarmUp::Seconds(0.0)),
];

/// How long a program may take to fill the table.
const LONGEST_START: Duration = Duration::from_secs(60);

const LOOK: Duration = Duration::from_millis(25);

const CAPACITIES: [Contender; 3] =
    [Contender::Bare, Contender::Ours, Contender::Keepalived(WarmUp::Default)];

/// The interval while the number of checks grows.
const SHORT_INTERVAL: Duration = Duration::from_secs(1);

/// Periods hold as long as this share of the answers comes.
const HOLDS: f64 = 0.95;

/// Where the search starts, and where it gives up, in real servers.
const FIRST: usize = 400;
const FEWEST: usize = 50;

/// By how much the number grows at first, and how close the search comes.
const GROWTH: f64 = 1.6;
const CLOSE: f64 = 1.08;

pub(crate) fn measure(settings: &Settings) -> Result<Guest> {
    let mut starts = Vec::new();
    let mut capacities = Vec::new();
    let wanted = |it: &Contender, work: &str| format!("{work} {it}").contains(&settings.filter);
    for contender in STARTS.into_iter().filter(|it| wanted(it, "start")) {
        starts.push((contender, Start { program: contender.to_string(), seconds: Vec::new() }));
    }
    for contender in CAPACITIES.into_iter().filter(|it| wanted(it, "capacity")) {
        let none = Capacity { program: contender.to_string(), per_second: Vec::new() };
        capacities.push((contender, none));
    }
    ensure!(starts.len() + capacities.len() > 0, "nothing has `{}` in its name", settings.filter);
    for _ in 0..settings.rounds {
        for (contender, start) in &mut starts {
            start.seconds.push(time_to_fill(settings, *contender)?);
            println!("start, {}: {:?}", start.program, start.seconds);
        }
    }
    for _ in 0..settings.searches {
        for (contender, capacity) in &mut capacities {
            capacity.per_second.push(search(settings, *contender)?);
            println!("capacity, {}: {:?}", capacity.program, capacity.per_second);
        }
    }
    Ok(Guest {
        kernel: kernel(),
        starts: starts.into_iter().map(|it| it.1).collect(),
        capacities: capacities.into_iter().map(|it| it.1).collect(),
    })
}

/// How long a program takes from its start until all healthy real servers are in the table, in
/// seconds.
fn time_to_fill(settings: &Settings, contender: Contender) -> Result<f64> {
    namespace::fresh()?;
    let _farm = Farm::start(settings, Processor::Any)?;
    let mut client = Client::connect()?;
    let service: ServiceKey = format!("tcp/{VIRTUAL_SERVICE}").parse()?;
    let started = Instant::now();
    let running = contender.start(settings, SERVERS, INTERVAL, Processor::Any)?;
    loop {
        // Until the program has added it, there is no such service.
        let found = client.destinations(&service).unwrap_or_default();
        let took = started.elapsed();
        let weighted = found.iter().filter(|it| it.destination.weight > 0).count();
        if weighted >= healthy(SERVERS) {
            ensure!(
                weighted == healthy(SERVERS),
                "{contender} takes dead real servers for healthy"
            );
            running.end()?;
            return Ok(took.as_secs_f64());
        }
        ensure!(took < LONGEST_START, "{contender}: {weighted} real servers after {took:?}");
        thread::sleep(LOOK);
    }
}

/// The most checks a second of healthy real servers with which periods hold.
fn search(settings: &Settings, contender: Contender) -> Result<f64> {
    let grown = |servers: usize, by: f64| (servers as f64 * by).round() as usize;
    let mut most = FIRST;
    while !holds(settings, contender, most)? {
        most /= 2;
        if most < FEWEST {
            // On a busy machine, a program that counts its interval from the end of a check never
            // keeps its periods.
            return Ok(0.0);
        }
    }
    let mut least_too_many = grown(most, GROWTH);
    while holds(settings, contender, least_too_many)? {
        (most, least_too_many) = (least_too_many, grown(least_too_many, GROWTH));
    }
    while least_too_many as f64 / most as f64 > CLOSE {
        let middle = (most as f64 * least_too_many as f64).sqrt().round() as usize;
        match holds(settings, contender, middle)? {
            true => most = middle,
            false => least_too_many = middle,
        }
    }
    Ok(healthy(most) as f64 / SHORT_INTERVAL.as_secs_f64())
}

/// Whether a program keeps its periods with this many real servers.
fn holds(settings: &Settings, contender: Contender, servers: usize) -> Result<bool> {
    namespace::fresh()?;
    let mut farm = Farm::start(settings, Processor::Any)?;
    let running = contender.start(settings, servers, SHORT_INTERVAL, Processor::Any)?;
    // For its configuration, its table, and the first verdicts on the dead.
    thread::sleep(Duration::from_secs(6) + Duration::from_millis(2) * servers as u32);
    let (from, answered) = (Instant::now(), farm.answered()?);
    thread::sleep(Duration::from_secs(settings.window));
    let answers = (farm.answered()? - answered) as f64;
    let expected = from.elapsed().div_duration_f64(SHORT_INTERVAL) * healthy(servers) as f64;
    println!("{contender}, {servers}: {:.3}", answers / expected);
    running.end()?;
    Ok(answers >= expected * HOLDS)
}
