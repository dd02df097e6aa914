//! Runs generated sequences, and reports differences in the format of a case file.

use anyhow::{Context as _, Result};

use super::Tools;
use super::case::{Command, Sequence, Step};
use super::compare::{Pair, Report};
use super::generate;
use super::shrink::shrink;
use super::tally::Tally;

/// Which sequences to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The seed of all sequences.
    pub seed: u64,
    /// The number of the first sequence.
    pub first: u64,
    /// How many sequences to run.
    pub sequences: u64,
    /// Sequences whose number is a multiple of this are also run in fresh namespaces. All others
    /// reuse the same two, emptied in between.
    pub fresh_every: u64,
}

/// How many differences are investigated before the run ends.
const FINDS: usize = 12;

/// The results of a run.
#[derive(Debug, Default)]
pub struct Findings {
    /// The counts.
    pub tally: Tally,
    /// Sequences that show a difference, reduced as far as possible, each with what differs.
    pub differences: Vec<String>,
}

/// Runs generated sequences; `progress` is called with the tally after each.
///
/// # Errors
///
/// If namespaces can't be created, or a program doesn't end.
pub fn run(tools: &Tools, plan: Plan, progress: &mut dyn FnMut(&Tally)) -> Result<Findings> {
    let mut findings = Findings::default();
    let mut pair = settled(tools)?;
    for number in plan.first..plan.first + plan.sequences {
        let sequence = generate::sequence(plan.seed, number);
        let report = pair.run(&sequence).with_context(|| format!("cannot run\n{sequence}"))?;
        findings.tally.add(&report);
        if !report.differences.is_empty() {
            findings.differences.push(found(tools, &sequence, &report)?);
            // The state of the namespaces is unknown now.
            pair = settled(tools)?;
            if findings.differences.len() == FINDS {
                break;
            }
        } else if number % plan.fresh_every == 0 {
            let fresh = settled(tools)?.run(&sequence)?;
            if said(&fresh) == said(&report) && fresh.differences.is_empty() {
                findings.tally.again += 1;
            } else {
                let text = format!("{sequence}another outcome in fresh namespaces:\n");
                findings.differences.push(text + &fresh.differences.join("\n"));
            }
        }
        progress(&findings.tally);
    }
    if tools.are_both_ours() {
        // The list of messages only covers the C program.
        findings.tally.unknown.clear();
    }
    Ok(findings)
}

/// Creates namespaces that are ready for everything: with a usable IPv6 address, which sync daemons
/// send from, and with a connection table, which Linux 7.1 and later create along with the first
/// service.
fn settled(tools: &Tools) -> Result<Pair> {
    let pair = Pair::create(tools)?;
    let wait = Step::Setup(vec!["settled".to_owned()]);
    let words = ["ipvsadm", "-A", "-f", "1"].map(str::to_owned).to_vec();
    let first = Step::Run(Command { words, ..Command::default() });
    pair.run(&Sequence { name: "settle".into(), steps: vec![wait, first] })?;
    Ok(pair)
}

/// Everything that the C program printed.
fn said(report: &Report) -> Vec<&super::compare::Outcome> {
    report.commands.iter().map(|(_, outcome)| outcome).collect()
}

/// The smallest sequence that still differs, and how it differs.
fn found(tools: &Tools, sequence: &Sequence, report: &Report) -> Result<String> {
    let mut pair = settled(tools)?;
    let mut last = report.differences.join("\n");
    let smallest = shrink(sequence, &mut |candidate| {
        let Ok(report) = pair.run(candidate) else {
            // A setup line can fail once something that it needs has been removed.
            pair = settled(tools)?;
            return Ok(false);
        };
        let differs = !report.differences.is_empty();
        if differs {
            last = report.differences.join("\n");
            pair = settled(tools)?;
        }
        Ok(differs)
    })?;
    Ok(format!("{smallest}\n{last}\n"))
}
