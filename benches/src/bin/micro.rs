//! The cases of the micro benchmarks, for `cargo xtask bench micro`.
//!
//! `micro time` times each case and writes the results as JSON. `micro run INDEX TIMES` repeats one
//! case that many times and does nothing else, so that another program can count what it takes.

#![forbid(unsafe_code)]

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use ipvs_benches::micro::{CASES, Case, Step};
use ipvs_benches::report::Micro;

/// How often each case is timed. Cases of the same step take turns, so that other load on the
/// machine affects all of them.
const SAMPLES: usize = 51;

/// How long a sample should take: far longer than reading the clock.
const SAMPLE_SECONDS: f64 = 0.002;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["time"] => {
            let mut figures = Vec::new();
            for cases in CASES.chunk_by(|a, b| a.work == b.work) {
                figures.extend(time(cases)?);
            }
            println!("{}", serde_json::to_string(&figures)?);
            Ok(())
        }
        ["run", index, times] => {
            let case = CASES.get(index.parse::<usize>()?).context("no such case")?;
            let mut step = case.prepare()?;
            (0..times.parse::<u64>()?).try_for_each(|_| step())
        }
        _ => bail!("micro time, or micro run INDEX TIMES"),
    }
}

fn time(cases: &[Case]) -> Result<Vec<Micro>> {
    let mut runs = Vec::new();
    for case in cases {
        let mut step = case.prepare()?;
        let times = times_a_sample(&mut step)?;
        runs.push((step, times, Vec::new()));
    }
    for _ in 0..SAMPLES {
        for (step, times, samples) in &mut runs {
            samples.push(seconds(step, *times)? / *times as f64);
        }
    }
    let figures = cases.iter().zip(runs).map(|(case, (_, times, mut samples))| {
        samples.sort_by(f64::total_cmp);
        Micro {
            work: case.work.to_owned(),
            by: case.by.to_owned(),
            seconds: samples[samples.len() / 2],
            times,
            instructions: None,
            allocations: None,
        }
    });
    Ok(figures.collect())
}

/// How often to repeat the step in one sample.
fn times_a_sample(step: &mut Step) -> Result<u64> {
    let mut times = 1;
    while seconds(step, times)? < SAMPLE_SECONDS {
        times *= 2;
    }
    Ok(times)
}

fn seconds(step: &mut Step, times: u64) -> Result<f64> {
    let start = Instant::now();
    for _ in 0..times {
        step()?;
    }
    Ok(start.elapsed().as_secs_f64())
}
