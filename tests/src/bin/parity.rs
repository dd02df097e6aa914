//! Compares our ipvsadm with the C program on this kernel, with the corpus or with generated
//! sequences, and writes the results as JSON. `cargo xtask parity` runs it with a suitable kernel.

#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use ipvs_tests::parity::run::{self, Plan};
use ipvs_tests::parity::tally::Tally;
use ipvs_tests::parity::{Tools, topics};
use serde_json::{Value, json};

/// How often to show progress.
const SHOW_EVERY: Duration = Duration::from_secs(30);

/// One in this many sequences is also run in fresh namespaces.
const FRESH_EVERY: u64 = 500;

const USAGE: &str = "usage: parity FILE corpus | parity FILE generated SEED FIRST SEQUENCES";

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:?}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (file, results) = match words[..] {
        [file, "corpus"] => (file, corpus()?),
        [file, "generated", seed, first, sequences] => {
            let plan = Plan {
                seed: seed.parse().context(USAGE)?,
                first: first.parse().context(USAGE)?,
                sequences: sequences.parse().context(USAGE)?,
                fresh_every: FRESH_EVERY,
            };
            (file, generated(plan)?)
        }
        _ => bail!(USAGE),
    };
    std::fs::write(Path::new(file), results.to_string())
        .with_context(|| format!("cannot write {file}"))
}

fn corpus() -> Result<Value> {
    ipvs_tests::load_modules()?;
    let tools = Tools::find()?;
    let mut results = Vec::new();
    let mut differences = Vec::new();
    for topic in topics::corpus()? {
        println!("{}", topic.name);
        let counts = topics::run(&tools, &topic).unwrap_or_else(|error| {
            differences.push(format!("{error:?}"));
            topics::Counts::default()
        });
        results.push(json!({
            "title": topic.title,
            "sequences": counts.sequences,
            "commands": counts.commands,
            "wanted": counts.wanted,
        }));
    }
    Ok(json!({ "topics": results, "differences": differences }))
}

fn generated(plan: Plan) -> Result<Value> {
    ipvs_tests::load_modules()?;
    let mut shown = Instant::now();
    let findings = run::run(&Tools::find()?, plan, &mut |tally| {
        if shown.elapsed() > SHOW_EVERY {
            shown = Instant::now();
            show(plan, tally);
        }
    })?;
    show(plan, &findings.tally);
    Ok(json!({ "tally": findings.tally, "differences": findings.differences }))
}

fn show(plan: Plan, tally: &Tally) {
    println!(
        "sequences from {}: {} of {}, {} commands, {:.1} % reached the kernel, {:.1} % succeeded",
        plan.first,
        tally.sequences,
        plan.sequences,
        tally.commands,
        tally.percent_reached(),
        tally.percent_succeeded()
    );
}
