//! Whether both programs say the same about a file.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::generate::Generator;
use super::rules::{NOT_YET, Point, Program, explain};
use super::sandbox::Sandbox;
use super::verdict::{Complaint, Verdict};

/// How many deliberate differences one file may have, and how many errors are looked at.
const ROUNDS: usize = 16;

/// How many errors that both name are taken out of a file to see those behind them.
const DEPTH: usize = 3;

/// How many files a reduction may try.
const TRIES: usize = 300;

/// How many differences are reduced; more have to be counted only.
const REDUCED: usize = 40;

/// Counts of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Files.
    pub files: u64,
    /// Those that the original accepted and refused.
    pub accepted: u64,
    /// See [`Tally::accepted`].
    pub refused: u64,
    /// How often each program read a file, counting those that were changed to see further.
    pub readings: u64,
    /// Errors that both named, each with the same line.
    pub places: u64,
    /// Files by what was done to them.
    pub kinds: BTreeMap<String, u64>,
    /// Files by deliberate difference.
    pub rules: BTreeMap<String, u64>,
    /// Files by check that isn't there yet.
    pub not_yet: BTreeMap<String, u64>,
}

/// A difference without a reason.
#[derive(Debug, Serialize, Deserialize)]
pub struct Difference {
    /// The number of the file.
    pub number: u64,
    /// What both said.
    pub said: String,
    /// The file, as small as it could be made.
    pub file: String,
}

/// The results of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    /// The counts.
    pub tally: Tally,
    /// Differences without a reason.
    pub differences: Vec<Difference>,
}

/// What was found out about one file.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    accepted: bool,
    readings: u64,
    places: u64,
    /// Rows of deliberate differences.
    pub(super) rules: Vec<&'static str>,
    /// Checks that aren't there yet.
    pub(super) not_yet: Vec<String>,
    /// What both said where there is no reason for a difference.
    pub(super) unexplained: Option<String>,
}

/// Compares the files `first..first + count` of a seed, several at a time. Calls `progress` with the
/// number of those that are done.
///
/// # Errors
///
/// If a program can't be run, or doesn't end.
pub fn run(
    sandbox: &Sandbox,
    generator: &Generator,
    first: u64,
    count: u64,
    progress: &(dyn Fn(u64, usize) + Sync),
) -> Result<Findings> {
    let next = AtomicU64::new(first);
    let findings = Mutex::new(Findings::default());
    let work = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= first + count {
                return Ok(());
            }
            let file = generator.file(number);
            let outcome = compare(sandbox, &file.text)?;
            let many = lock(&findings).differences.len() >= REDUCED;
            let difference = match &outcome.unexplained {
                None => None,
                Some(said) => {
                    let reduced =
                        if many { file.text.clone() } else { shrink(sandbox, &file.text)? };
                    let said =
                        compare(sandbox, &reduced)?.unexplained.unwrap_or_else(|| said.clone());
                    Some(Difference { number, said, file: reduced })
                }
            };
            let mut findings = lock(&findings);
            findings.tally.add(&outcome, &file.kinds);
            findings.differences.extend(difference);
            progress(findings.tally.files, findings.differences.len());
        }
    };
    let threads = thread::available_parallelism().map_or(2, |count| count.get() * 2);
    thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            thread.join().map_err(|_| anyhow::anyhow!("a thread has panicked"))??;
        }
        Ok(())
    })?;
    let mut findings = findings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    findings.differences.sort_by_key(|it| it.number);
    Ok(findings)
}

fn lock(findings: &Mutex<Findings>) -> std::sync::MutexGuard<'_, Findings> {
    findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Tally {
    fn add(&mut self, outcome: &Outcome, kinds: &[String]) {
        self.files += 1;
        *if outcome.accepted { &mut self.accepted } else { &mut self.refused } += 1;
        self.readings += outcome.readings;
        self.places += outcome.places;
        let count = |counts: &mut BTreeMap<String, u64>, names: &[String]| {
            let names: std::collections::BTreeSet<&String> = names.iter().collect();
            names.into_iter().for_each(|name| *counts.entry(name.clone()).or_default() += 1);
        };
        count(&mut self.kinds, kinds);
        let rules: Vec<String> = outcome.rules.iter().map(ToString::to_string).collect();
        count(&mut self.rules, &rules);
        count(&mut self.not_yet, &outcome.not_yet);
    }
}

/// Compares what both say about a file, and about what is left when what differs on purpose is
/// changed, and when errors that both name are taken out.
pub(super) fn compare(sandbox: &Sandbox, text: &str) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut text = text.to_owned();
    let mut depth = 0;
    for round in 0..ROUNDS {
        let (theirs, ours) = sandbox.judge(&text)?;
        outcome.readings += 1;
        if round == 0 {
            outcome.accepted = theirs.accepts();
        }
        let lines: Vec<&str> = text.split('\n').collect();
        if theirs.accepts() && ours.accepts() {
            return Ok(outcome);
        }
        let shared = theirs
            .errors
            .first()
            .filter(|it| theirs.refuses() && ours.refuses() && ours.names(it.line));
        if let Some(Complaint { line, .. }) = shared {
            outcome.places += 1;
            // Each line that ours names has to be one that the original refuses, too.
            if depth == DEPTH || ours.errors.iter().all(|it| it.line == *line) {
                return Ok(outcome);
            }
            depth += 1;
            let mut lines = lines;
            let Some(place) = line.checked_sub(1).and_then(|at| lines.get_mut(at)) else {
                return Ok(outcome);
            };
            *place = "#";
            text = lines.join("\n");
            continue;
        }
        match first_explained(&lines, &theirs, &ours) {
            Some((row, complaint, fixed)) => {
                match row {
                    NOT_YET => outcome.not_yet.push(complaint.message.clone()),
                    row => outcome.rules.push(row),
                }
                text = fixed;
            }
            None => {
                outcome.unexplained = Some(said(&theirs, &ours));
                return Ok(outcome);
            }
        }
    }
    outcome.unexplained = Some(format!("still different after {ROUNDS} deliberate differences"));
    Ok(outcome)
}

/// The first line that one of them refuses on purpose.
fn first_explained<'a>(
    lines: &[&str],
    theirs: &'a Verdict,
    ours: &'a Verdict,
) -> Option<(&'static str, &'a Complaint, String)> {
    let of_theirs = theirs.errors.iter().map(|error| (error, Program::Original));
    let of_ours = ours.errors.iter().map(|error| (error, Program::Ours));
    of_theirs.chain(of_ours).find_map(|(error, refused_by)| {
        let (rule, text) = explain(&Point { lines, error, refused_by })?;
        Some((rule.row, error, text))
    })
}

fn said(theirs: &Verdict, ours: &Verdict) -> String {
    let one = |name: &str, verdict: &Verdict| {
        let exit = verdict.exit.map_or("a signal".to_owned(), |exit| exit.to_string());
        let errors: Vec<String> =
            verdict.errors.iter().map(|it| format!("line {}: {}", it.line, it.message)).collect();
        let text = match (errors.is_empty(), verdict.accepts()) {
            (true, false) => verdict.text.clone(),
            _ => errors.join("; "),
        };
        format!("{name} ({exit}): {text}")
    };
    format!("{}\n{}", one("original", theirs), one("ours", ours))
}

/// The file with as few lines as still differ.
fn shrink(sandbox: &Sandbox, text: &str) -> Result<String> {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut tries = TRIES;
    let mut size = lines.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < lines.len() && tries > 0 {
            let mut candidate = lines.clone();
            candidate.drain(at..(at + size).min(lines.len()));
            tries -= 1;
            if compare(sandbox, &candidate.concat())
                .context("while reducing a file")?
                .unexplained
                .is_some()
            {
                lines = candidate;
            } else {
                at += size;
            }
        }
        size /= 2;
    }
    Ok(lines.concat())
}
