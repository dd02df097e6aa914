//! `cargo xtask bench micro`: single steps, timed and counted.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use ipvs_benches::report;
use lab::progress;

use super::bars::{ALLOCATIONS, OF_OTHERS};
use super::table::Verdicts;
use crate::cargo;

#[derive(Debug, Args)]
pub(super) struct Micro {
    /// Write what was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Micro {
    pub(super) fn run(self) -> Result<u8> {
        progress::now("building the steps");
        let build = ["build", "--release", "-p", "ipvs-benches", "--features", "micro", "--bin"];
        let program = cargo::build(&[&build[..], &["micro"]].concat(), "micro")?;
        progress::now("timing");
        let mut figures: Vec<report::Micro> = {
            let output = Command::new(&program).arg("time").output();
            let output = output.with_context(|| format!("can't run {}", program.display()))?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "timing failed: {said}");
            serde_json::from_slice(&output.stdout).context("the figures aren't any")?
        };
        let counted = has_valgrind()?;
        if counted {
            for (index, figure) in figures.iter_mut().enumerate() {
                progress::now(&format!("counting: {}, {}", figure.work, figure.by));
                let count = |counter| count(&program, index, figure.times, counter);
                (figure.instructions, figure.allocations) =
                    (Some(count(&INSTRUCTIONS)?), Some(count(&HEAP)?));
            }
        }
        progress::done();
        print!("{}", markdown(&figures));
        if !counted {
            println!("\nvalgrind isn't installed: nothing was counted.");
        }
        if let Some(file) = self.json {
            let text = serde_json::to_vec_pretty(&figures)?;
            fs::write(&file, text).with_context(|| format!("can't write {}", file.display()))?;
        }
        Ok(0)
    }
}

fn has_valgrind() -> Result<bool> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) => Ok(output.status.success()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context("can't run valgrind"),
    }
}

/// A tool of valgrind's, and what stands before the number that it tells at the end.
struct Counter {
    arguments: &'static [&'static str],
    before: &'static str,
}

const INSTRUCTIONS: Counter = Counter {
    arguments: &["--tool=callgrind", "--callgrind-out-file=/dev/null"],
    before: "Collected : ",
};

const HEAP: Counter = Counter {
    arguments: &["--tool=memcheck", "--leak-check=no", "--undef-value-errors=no"],
    before: "total heap usage: ",
};

/// What a step costs once: the difference between doing it so many times and twice as many, so that
/// getting ready isn't in it.
fn count(program: &Path, index: usize, times: u64, counter: &Counter) -> Result<f64> {
    let total = |times: u64| {
        let mut command = Command::new("valgrind");
        command.args(counter.arguments).arg(program);
        command.args(["run", &index.to_string(), &times.to_string()]);
        let output = command.output().context("can't run valgrind")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`{command:?}` failed: {said}");
        number(&said, counter.before).with_context(|| format!("valgrind tells no number: {said}"))
    };
    Ok((total(2 * times)? - total(times)?) / times as f64)
}

/// The number behind `before`, its digits in groups or not.
fn number(text: &str, before: &str) -> Option<f64> {
    let (_, behind) = text.split_once(before)?;
    let digits = behind.split(|c: char| !c.is_ascii_digit() && c != ',').next()?;
    digits.replace(',', "").parse().ok()
}

/// A line for each case; ours has the verdicts.
fn markdown(figures: &[report::Micro]) -> String {
    let mut text = String::from(
        "| step | by | time | instructions | allocations | of the fastest other |\n\
         | --- | --- | --: | --: | --: | --: |\n",
    );
    let mut verdicts = Verdicts::default();
    for cases in figures.chunk_by(|a, b| a.work == b.work) {
        let others = cases.iter().skip(1).map(|case| case.seconds);
        let fastest = others.min_by(f64::total_cmp);
        for (at, case) in cases.iter().enumerate() {
            let fastest = fastest.filter(|_| at == 0);
            let allocations = case.allocations.map_or("–".to_owned(), |count| {
                let asked = fastest.map(|_| (format!("≤ {ALLOCATIONS}"), count <= ALLOCATIONS));
                verdicts.verdict(format!("{count:.0}"), asked)
            });
            let ratio = fastest.map_or("–".to_owned(), |fastest| {
                let ratio = case.seconds / fastest;
                let asked = (format!("≤ {OF_OTHERS}"), ratio <= OF_OTHERS);
                verdicts.verdict(format!("{ratio:.2}"), Some(asked))
            });
            let instructions = case.instructions.map_or("–".to_owned(), |n| format!("{n:.0}"));
            // Writing to a String can't fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {instructions} | {allocations} | {ratio} |",
                case.work,
                case.by,
                time(case.seconds),
            );
        }
    }
    let _ = writeln!(text, "\n{verdicts}");
    text
}

fn time(seconds: f64) -> String {
    match seconds * 1e9 {
        nanos if nanos < 1e4 => format!("{nanos:.0} ns"),
        nanos if nanos < 1e6 => format!("{:.1} µs", nanos / 1e3),
        nanos => format!("{:.2} ms", nanos / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(by: &str, seconds: f64, allocations: f64) -> report::Micro {
        report::Micro {
            work: "encode".into(),
            by: by.into(),
            seconds,
            times: 1,
            instructions: Some(1234.0),
            allocations: Some(allocations),
        }
    }

    #[test]
    fn ours_is_compared_with_the_fastest_other() {
        let others = [case("slow", 9e-7, 9.0), case("fast", 1e-7, 5.0)];
        let table = |ours| markdown(&[&[ours][..], &others].concat());
        let met = table(case("ours", 1.3e-7, 0.0));
        assert!(
            met.contains("| ours | 130 ns | 1234 | 0 (≤ 0: met) | 1.30 (≤ 1.3: met) |"),
            "{met}"
        );
        assert!(met.contains("| fast | 100 ns | 1234 | 5 | – |"), "{met}");
        assert!(met.ends_with("\n2 of 2 bars are met.\n"), "{met}");
        let missed = table(case("ours", 1.4e-7, 1.0));
        assert!(
            missed.contains("| **1** (≤ 0: not met) | **1.40** (≤ 1.3: not met) |"),
            "{missed}"
        );
    }

    #[test]
    fn what_nobody_else_does_has_no_bar() {
        let text = markdown(&[
            case("ours", 2e-5, 7.0),
            report::Micro { work: "list".into(), ..case("ours", 2e-3, 7.0) },
        ]);
        assert!(text.contains("| encode | ours | 20.0 µs | 1234 | 7 | – |"), "{text}");
        assert!(text.contains("| list | ours | 2.00 ms | 1234 | 7 | – |"), "{text}");
        assert!(text.ends_with("\n0 of 0 bars are met.\n"), "{text}");
    }

    #[test]
    fn what_valgrind_tells_is_found() {
        let callgrind = "==7== Events    : Ir\n==7== Collected : 1876322\n==7==\n";
        assert_eq!(number(callgrind, INSTRUCTIONS.before), Some(1_876_322.0));
        let memcheck = "==7== \n==7==   total heap usage: 1,234 allocs, 99 frees, 5 bytes\n";
        assert_eq!(number(memcheck, HEAP.before), Some(1234.0));
        assert_eq!(number("==7== nothing", HEAP.before), None);
    }
}
