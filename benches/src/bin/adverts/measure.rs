//! Watches each program in turn.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipvs_benches::vipd::report::{Cost, Native, Process};
use ipvs_benches::vipd::settings::Settings;
use ipvs_benches::vipd::{Load, network};

use crate::contender::Contender;

const CONTENDERS: [Contender; 3] = [Contender::Bare, Contender::Keepalived, Contender::Ours];

const LOADS: [Load; 3] = [
    Load { routers: 255, interval: 100, is_spread: false },
    Load { routers: 255, interval: 100, is_spread: true },
    Load { routers: 1, interval: 1000, is_spread: false },
];

/// How long a program runs before it is watched: a router becomes Active after 3.6 s at the most, and
/// announces its addresses again 5 s later.
const WARM_UP: Duration = Duration::from_secs(10);

/// How long after an advert the window begins and ends, so that all of its work is done and none of the
/// next one's.
const PAUSE: Duration = Duration::from_millis(20);

const LOOK: Duration = Duration::from_millis(2);

pub(crate) fn measure(settings: &Settings) -> Result<()> {
    let mut costs = Vec::new();
    for load in LOADS {
        let name =
            format!("{} {}", load.routers, if load.is_spread { "spread" } else { "at once" });
        let wanted = |it: &Contender| format!("{it} {name}").contains(&settings.filter);
        let contenders: Vec<Contender> = CONTENDERS.into_iter().filter(wanted).collect();
        let mut found: Vec<Cost> = contenders.iter().map(|it| nothing(*it, load)).collect();
        for round in 0..settings.rounds {
            // Each takes its turn to go first.
            for at in (0..contenders.len()).map(|at| (at + round) % contenders.len()) {
                let cost = &mut found[at];
                watch(settings, contenders[at], cost)?;
                println!(
                    "{} {name}: {:.2} %, {:.3}, {:?}",
                    cost.program, cost.cpu[round], cost.sent[round], cost.processes
                );
            }
        }
        costs.append(&mut found);
    }
    ensure!(!costs.is_empty(), "nothing has `{}` in its name", settings.filter);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let native = Native { kernel, window: settings.window, costs };
    fs::write(settings.folder.join("report.json"), serde_json::to_vec_pretty(&native)?)?;
    Ok(())
}

fn nothing(contender: Contender, load: Load) -> Cost {
    Cost {
        program: contender.to_string(),
        load,
        cpu: Vec::new(),
        sent: Vec::new(),
        processes: Vec::new(),
    }
}

/// Watches one program for a window.
fn watch(settings: &Settings, contender: Contender, cost: &mut Cost) -> Result<()> {
    network::make()?;
    let mut running = contender.start(settings, cost.load)?;
    thread::sleep(WARM_UP);
    let first = after_advert(cost)?;
    let (from, before) = (Instant::now(), running.usage()?);
    thread::sleep(Duration::from_secs(settings.window));
    let last = after_advert(cost)?;
    let (elapsed, after) = (from.elapsed(), running.usage()?);
    ensure!(before.waits.len() == after.waits.len(), "{contender} has other processes than before");
    let sent = (last - first) as f64;
    let expected = elapsed.div_duration_f64(cost.load.interval()) * f64::from(cost.load.routers);
    cost.cpu.push((after.cpu - before.cpu).div_duration_f64(elapsed) * 100.0);
    cost.sent.push(sent / expected);
    cost.processes.resize(after.waits.len(), Process::default());
    let resident =
        |processes: &[Process]| -> u64 { processes.iter().map(|it| it.memory.resident).sum() };
    let most = after.memory.iter().map(|it| it.resident).sum::<u64>() > resident(&cost.processes);
    for (at, process) in cost.processes.iter_mut().enumerate() {
        process.waits.push((after.waits[at] - before.waits[at]) as f64 / sent);
        if most {
            process.memory = after.memory[at];
        }
    }
    running.end()
}

/// Waits until an advert has just been sent, and returns how many have been.
fn after_advert(cost: &Cost) -> Result<u64> {
    let start = network::sent()?;
    let deadline = Instant::now() + cost.load.interval() * 10;
    while network::sent()? == start {
        ensure!(Instant::now() < deadline, "{} sends no adverts", cost.program);
        thread::sleep(LOOK);
    }
    thread::sleep(PAUSE);
    network::sent()
}
