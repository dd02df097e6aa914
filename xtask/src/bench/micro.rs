//! `cargo xtask bench micro`: single steps, timed and counted.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use ipvs_benches::report;
use lab::process::{find, finish, succeed};
use lab::progress;

use crate::cargo;

/// Many times longer than it takes to time all steps, or to count one in valgrind.
const TIMEOUT: Duration = Duration::from_secs(30 * 60);

#[derive(Debug, Args)]
pub(super) struct Micro {
    /// Write the measurements as JSON
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
            let said = succeed(Command::new(&program).arg("time"), TIMEOUT)?;
            serde_json::from_str(&said).context("the figures aren't any")?
        };
        let counted = find("valgrind").is_some();
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

/// A valgrind tool, and the text before the number that it reports at the end.
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

/// The cost of one step. Takes the difference between running it `times` times and twice as often,
/// so that the setup cost cancels out.
fn count(program: &Path, index: usize, times: u64, counter: &Counter) -> Result<f64> {
    let total = |times: u64| {
        let mut command = Command::new("valgrind");
        command.args(counter.arguments).arg(program);
        command.args(["run", &index.to_string(), &times.to_string()]);
        let ended = finish(command.stdin(Stdio::null()), TIMEOUT)?;
        let said = ended.stderr.clone();
        ended.success()?;
        number(&said, counter.before).with_context(|| format!("valgrind tells no number: {said}"))
    };
    Ok((total(2 * times)? - total(times)?) / times as f64)
}

/// The number after `before`, with or without thousands separators.
fn number(text: &str, before: &str) -> Option<f64> {
    let (_, behind) = text.split_once(before)?;
    let digits = behind.split(|c: char| !c.is_ascii_digit() && c != ',').next()?;
    digits.replace(',', "").parse().ok()
}

/// A line for each case.
fn markdown(figures: &[report::Micro]) -> String {
    let mut text = String::from(
        "| step | by | time | instructions | allocations |\n| --- | --- | --: | --: | --: |\n",
    );
    let number = |count: Option<f64>| count.map_or("–".to_owned(), |count| format!("{count:.0}"));
    for case in figures {
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            case.work,
            case.by,
            time(case.seconds),
            number(case.instructions),
            number(case.allocations),
        );
    }
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

    #[test]
    fn what_was_not_counted_is_left_out() {
        let counted = report::Micro {
            work: "encode".into(),
            by: "ours".into(),
            seconds: 2e-5,
            times: 1,
            instructions: Some(1234.0),
            allocations: Some(7.0),
        };
        let timed = report::Micro {
            seconds: 2e-3,
            instructions: None,
            allocations: None,
            ..counted.clone()
        };
        let text = markdown(&[counted, timed]);
        assert!(text.contains("| encode | ours | 20.0 µs | 1234 | 7 |\n"), "{text}");
        assert!(text.ends_with("| encode | ours | 2.00 ms | – | – |\n"), "{text}");
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
