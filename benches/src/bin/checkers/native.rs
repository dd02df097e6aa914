//! What a check costs, on this machine's own kernel: processor time can't be measured in User-Mode
//! Linux.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use ipvs_benches::director::files::WarmUp;
use ipvs_benches::director::healthy;
use ipvs_benches::director::report::{Cost, Native, resident, spread};
use ipvs_benches::director::settings::Settings;
use ipvs_benches::namespace;
use ipvs_benches::running::Processor;
use rustix::process::geteuid;

use crate::contender::Contender;
use crate::farm::Farm;
use crate::kernel;
use crate::model::Model;
use crate::replies;

const CONTENDERS: [Contender; 4] =
    [Contender::Bare, Contender::Keepalived(WarmUp::Default), Contender::Ours, Contender::Runner];

const INTERVAL: Duration = Duration::from_secs(2);

/// How many checks, and in how many rounds at most.
const SIZES: [(usize, usize); 2] = [(1_000, usize::MAX), (10_000, 1)];

/// How long a program runs before it is watched: until every real server has had its first verdict
/// and starts are regular.
const WARM_UP: Duration = Duration::from_secs(10);

pub(crate) fn measure(settings: &Settings) -> Result<Native> {
    enter_namespace()?;
    let mut costs = Vec::new();
    for (checks, rounds) in SIZES {
        let rounds = rounds.min(settings.rounds);
        let wanted = |it: &Contender| format!("native {it} {checks}").contains(&settings.filter);
        let contenders: Vec<Contender> = CONTENDERS.into_iter().filter(wanted).collect();
        let mut found: Vec<Cost> = contenders.iter().map(|it| nothing(*it, checks)).collect();
        for round in 0..rounds {
            // Each takes its turn to go first.
            for at in (0..contenders.len()).map(|at| (at + round) % contenders.len()) {
                let cost = &mut found[at];
                watch(settings, contenders[at], cost)?;
                println!(
                    "{} {checks}: {:.1} µs, {:.3}, {:?} KiB, replies {:.1?} ms",
                    cost.program,
                    cost.per_answer[round],
                    cost.answered[round],
                    cost.memory,
                    spread(&cost.replies)
                );
            }
        }
        costs.append(&mut found);
    }
    ensure!(!costs.is_empty(), "nothing has `{}` in its name", settings.filter);
    Ok(Native { kernel: kernel(), window: settings.window, costs })
}

fn nothing(contender: Contender, checks: usize) -> Cost {
    Cost {
        program: contender.to_string(),
        checks,
        per_answer: Vec::new(),
        answered: Vec::new(),
        memory: Vec::new(),
        replies: Vec::new(),
    }
}

/// Watches one program for a window.
fn watch(settings: &Settings, contender: Contender, cost: &mut Cost) -> Result<()> {
    let mut farm = Farm::start(settings, Processor::Nth(1))?;
    let _model = match contender {
        Contender::Ours => Some(Model::start(settings, Processor::Nth(1))?),
        _ => None,
    };
    let mut running = contender.start(settings, cost.checks, INTERVAL, Processor::Nth(0))?;
    thread::sleep(WARM_UP);
    let (from, used, answered) = (Instant::now(), running.usage()?, farm.answered()?);
    thread::sleep(Duration::from_secs(settings.window));
    let usage = running.usage()?;
    let answers = (farm.answered()? - answered) as f64;
    let elapsed = from.elapsed();
    ensure!(answers > 0.0, "{} has checked nothing", cost.program);
    let expected = elapsed.div_duration_f64(INTERVAL) * healthy(cost.checks) as f64;
    cost.per_answer.push((usage.cpu - used.cpu).as_secs_f64() * 1e6 / answers);
    cost.answered.push(answers / expected);
    if resident(&usage.memory) > resident(&cost.memory) {
        cost.memory = usage.memory;
    }
    if contender == Contender::Ours {
        cost.replies.append(&mut replies::ask(Duration::from_secs(settings.window))?);
    }
    running.end()
}

/// A network namespace whose addresses and ports are all free.
fn enter_namespace() -> Result<()> {
    if !geteuid().is_root() {
        lab::namespaces::enter_own()?;
    }
    namespace::fresh()
}
