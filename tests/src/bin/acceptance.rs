//! Plays the acceptance scenarios with every program on this kernel, and writes what each did as
//! JSON. `cargo xtask acceptance director` runs it with a suitable kernel.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipvs_tests::acceptance::{Outcome, ROWS, Row, Stage, Subject};

/// The limit for one scenario with one program.
const LIMIT: Duration = Duration::from_secs(480);

const USAGE: &str = "usage: acceptance FILE [ROW | SUBJECT]...";

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
    let mut arguments = std::env::args().skip(1);
    let file = arguments.next().context(USAGE)?;
    let words: Vec<String> = arguments.collect();
    let is_row = |word: &String| ROWS.iter().any(|row| row.id == word);
    let is_subject = |word: &String| Subject::ALL.iter().any(|subject| subject.name() == word);
    ensure!(words.iter().all(|word| is_row(word) || is_subject(word)), "{USAGE}");
    let chosen = |kind: &dyn Fn(&String) -> bool, name: &str| {
        let mut of_kind = words.iter().filter(|word| kind(word)).peekable();
        of_kind.peek().is_none() || of_kind.any(|word| word == name)
    };
    ipvs_tests::load_modules()?;
    let mut outcomes = Vec::new();
    for row in ROWS.iter().filter(|row| chosen(&is_row, row.id)) {
        for subject in Subject::ALL {
            // Ours is played if it was built.
            let there = subject != Subject::Ours || std::env::var_os("LDIRECTORD").is_some();
            if !there || !chosen(&is_subject, subject.name()) {
                continue;
            }
            let outcome = one(*row, subject)?;
            outcome.show();
            outcomes.push(outcome);
            // What there is stays if a later one takes too long.
            std::fs::write(&file, serde_json::to_vec_pretty(&outcomes)?)
                .with_context(|| format!("cannot write {file}"))?;
        }
    }
    Ok(())
}

/// Plays one scenario on a thread of its own, so that one that hangs doesn't keep the others.
fn one(row: Row, subject: Subject) -> Result<Outcome> {
    let (done, result) = channel();
    let start = Instant::now();
    let label = format!("{}-{subject:?}-", row.id);
    thread::Builder::new().name(label.clone()).spawn(move || {
        // Nobody listens any more if it was too late.
        let _ = done.send((row.play)(&Stage::new(subject, &label)));
    })?;
    let played =
        result.recv_timeout(LIMIT).unwrap_or_else(|_| Err(anyhow!("not done after {LIMIT:?}")));
    Ok(Outcome::of([row.id, row.title, subject.name()], played, start.elapsed()))
}
