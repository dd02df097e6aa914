//! Plays the scenarios of failover on this kernel, and writes what was seen as JSON. `cargo xtask
//! acceptance failover` runs it with a suitable kernel; with the word `rows` alone it only lists
//! what integration tests show.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ipvs_tests::acceptance::Outcome;
use ipvs_tests::failover::faults::FAULTS;
use ipvs_tests::failover::gap::SCENARIOS;
use ipvs_tests::failover::rows::ROWS;

/// How often a gap is measured, and how often a fault is played.
const RUNS: [usize; 2] = [20, 25];

const USAGE: &str = "usage: failover rows | failover FILE [--runs N] [ID]...";

fn main() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn play() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let file = arguments.next().context(USAGE)?;
    if file == "rows" {
        println!("{}", serde_json::to_string(ROWS)?);
        return Ok(());
    }
    let mut runs = RUNS;
    if arguments.next_if(|word| word == "--runs").is_some() {
        runs = [arguments.next().context(USAGE)?.parse().context(USAGE)?; 2];
    }
    let ids: Vec<String> = arguments.collect();
    let is_chosen = |id: &str| ids.is_empty() || ids.iter().any(|it| it == id);
    let known = |id: &String| {
        SCENARIOS.iter().any(|scenario| scenario.id == id)
            || FAULTS.iter().any(|fault| fault.id == id)
    };
    ensure!(ids.iter().all(known), "{USAGE}");
    ipvs_tests::load_modules()?;
    let mut outcomes = Vec::new();
    let mut keep = |newer: Vec<Outcome>| -> Result<()> {
        newer.iter().for_each(Outcome::show);
        outcomes.extend(newer);
        // What there is stays if a later one takes too long.
        std::fs::write(&file, serde_json::to_vec_pretty(&outcomes)?)
            .with_context(|| format!("cannot write {file}"))
    };
    for scenario in SCENARIOS.iter().filter(|scenario| is_chosen(scenario.id)) {
        let start = Instant::now();
        let played = scenario.play(scenario.id, runs[0]);
        let outcome = |subject: &str, played| {
            Outcome::of([scenario.id, scenario.title, subject], played, start.elapsed())
        };
        keep(match played {
            Ok(both) => both.map(|(subject, criteria)| outcome(subject, Ok(criteria))).to_vec(),
            Err(error) => vec![outcome("ours", Err(error))],
        })?;
    }
    for fault in FAULTS.iter().filter(|fault| is_chosen(fault.id)) {
        let start = Instant::now();
        let played = (fault.play)(&format!("{}-", fault.id), runs[1]);
        keep(vec![Outcome::of([fault.id, fault.title, "ours"], played, start.elapsed())])?;
    }
    Ok(())
}
