//! Compares our ldirectord with the original, with files made from a seed, and writes the results as
//! JSON. `cargo xtask parity ldirectord` runs it.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ipvs_tests::ldirectord::compare;
use ipvs_tests::ldirectord::generate::{Generator, Purpose};
use ipvs_tests::ldirectord::sample;
use ipvs_tests::ldirectord::sandbox::Sandbox;
use ipvs_tests::ldirectord::tables;

/// How often to show progress.
const SHOW_EVERY: Duration = Duration::from_secs(30);

const USAGE: &str = "usage: ldirectord-parity FILE verdicts SEED FIRST COUNT |
       ldirectord-parity FILE tables SEED FIRST COUNT AT_ONCE |
       ldirectord-parity FILE sample-verdicts |
       ldirectord-parity FILE sample-tables AT_ONCE";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().context(USAGE);
    match words[..] {
        [file, "verdicts", seed, first, count] => {
            let sandbox = Sandbox::enter()?;
            let generator = Generator::new(number(seed)?, Purpose::Verdict)?;
            let (first, count) = (number(first)?, number(count)?);
            let shown = Mutex::new(Instant::now());
            let progress = |done: u64, different: usize| {
                let Ok(mut shown) = shown.lock() else { return };
                if shown.elapsed() > SHOW_EVERY {
                    *shown = Instant::now();
                    println!("{done} of {count} files, {different} differ without a reason");
                }
            };
            let findings = compare::run(&sandbox, &generator, first, count, &progress)?;
            write(file, &findings)
        }
        [file, "tables", seed, first, count, at_once] => {
            ipvs_tests::load_modules()?;
            let generator = Generator::new(number(seed)?, Purpose::Table)?;
            let (first, count) = (number(first)?, number(count)?);
            let shown = Mutex::new(Instant::now());
            let progress = |findings: &tables::Findings| {
                // What there is stays if it takes too long.
                let _ = write(file, findings);
                let Ok(mut shown) = shown.lock() else { return };
                if shown.elapsed() > SHOW_EVERY {
                    *shown = Instant::now();
                    let (done, different) = (findings.tally.files, findings.differences.len());
                    println!("{done} of {count} tables, {different} differ without a reason");
                }
            };
            let at_once = at_once.parse().context(USAGE)?;
            write(file, &tables::run(&generator, first, count, at_once, &progress)?)
        }
        [file, "sample-verdicts"] => {
            let variants = sample::variants()?;
            write(file, &sample::read(&Sandbox::enter()?, &variants)?)
        }
        [file, "sample-tables", at_once] => {
            ipvs_tests::load_modules()?;
            let at_once = at_once.parse().context(USAGE)?;
            write(file, &sample::start(&sample::variants()?, at_once)?)
        }
        _ => bail!(USAGE),
    }
}

fn write(file: &str, results: &impl serde::Serialize) -> Result<()> {
    std::fs::write(Path::new(file), serde_json::to_vec_pretty(results)?)
        .with_context(|| format!("cannot write {file}"))
}
