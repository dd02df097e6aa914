//! The tables of health checks.

use std::fmt::Write as _;

use ipvs_benches::director::report::{Capacity, Cost, Guest, Native, Report, Start, spread};
use ipvs_benches::usage::Memory;

use super::super::table::Verdicts;

/// The program that has to meet the bars.
pub(super) const OURS: &str = "ldirectord";

/// The programs that it is compared with.
pub(super) const KEEPALIVED: &str = "keepalived";
pub(super) const BARE: &str = "bare client";

/// The most processor time of ours for an answer, as a fraction of the others'.
const OF_KEEPALIVED: f64 = 0.9;
const OF_BARE: f64 = 1.5;

/// The most memory of ours, for up to so many checks, in MB.
pub(super) const MEMORY: [(usize, f64); 2] = [(1_000, 8.0), (10_000, 16.0)];

/// The longest time that a reply about the status of up to [`MEMORY`]'s first number of checks takes, in
/// milliseconds.
const REPLY: f64 = 20.0;

/// The longest time of ours until all healthy real servers are in the table, in seconds.
const START: f64 = 2.0;

/// What docs/benchmarks.md shows of a report.
pub(crate) fn page(report: &Report) -> String {
    let mut verdicts = Verdicts::default();
    let mut text = costs(&report.native, &mut verdicts);
    text.push_str(&replies(&report.native, &mut verdicts));
    text.push_str(&starts(&report.guest, &mut verdicts));
    text.push_str(&capacities(&report.guest, &mut verdicts));
    let kernels =
        [(&report.native.kernel, "what a check costs"), (&report.guest.kernel, "the rest")];
    let kernels = kernels.iter().filter(|it| !it.0.is_empty());
    let kernels: Vec<String> =
        kernels.map(|(release, what)| format!("Linux {release} for {what}")).collect();
    let Report { keepalived, date, .. } = report;
    // Writing to a String can't fail.
    let _ = writeln!(text, "keepalived {keepalived}, {}, {date}. {verdicts}", kernels.join(", "));
    text
}

fn costs(native: &Native, verdicts: &mut Verdicts) -> String {
    if native.costs.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "| checks | program | rounds | processor time for an answer | of keepalived's | of the bare \
         client's | answers | memory | resident/proportional/anonymous of each process |\n\
         | --: | --- | --: | --: | --: | --: | --: | --: | --- |\n",
    );
    for cost in &native.costs {
        let Cost { program, checks, per_answer, answered, .. } = cost;
        let mut ratio = |other: &str, most: f64| {
            let other = native.costs.iter().find(|it| it.program == other && it.checks == *checks);
            let Some(other) = other.filter(|it| it.program != *program) else {
                return "–".into();
            };
            let ratios: Vec<f64> =
                per_answer.iter().zip(&other.per_answer).map(|(ours, its)| ours / its).collect();
            let bar = (program == OURS && *checks == MEMORY[0].0).then_some(most);
            let is_met = spread(&ratios).0 <= most;
            verdicts.verdict(ratio(&ratios), bar.map(|most| (format!("≤ {most}"), is_met)))
        };
        let [of_keepalived, of_bare] = [ratio(KEEPALIVED, OF_KEEPALIVED), ratio(BARE, OF_BARE)];
        let megabytes = megabytes(cost.resident());
        let bar = MEMORY.iter().find(|it| program == OURS && it.0 == *checks);
        let bar = bar.map(|(_, most)| (format!("≤ {most} MB"), megabytes <= *most));
        let memory = verdicts.verdict(format!("{megabytes:.1} MB"), bar);
        let processes = processes(cost);
        let _ = writeln!(
            text,
            "| {} | {program} | {} | {} | {of_keepalived} | {of_bare} | {:.1} % | {memory} | {processes} |",
            count(*checks),
            per_answer.len(),
            figures(per_answer, 1, " µs"),
            spread(answered).0 * 100.0,
        );
    }
    text.push('\n');
    text
}

/// How soon those reply that can be asked.
fn replies(native: &Native, verdicts: &mut Verdicts) -> String {
    let asked: Vec<&Cost> = native.costs.iter().filter(|it| !it.replies.is_empty()).collect();
    if asked.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "| checks | program | replies | a reply takes | the longest |\n\
         | --: | --- | --: | --: | --: |\n",
    );
    for Cost { program, checks, replies, .. } in asked {
        let (median, _, longest) = spread(replies);
        let bar = (*checks == MEMORY[0].0).then(|| (format!("< {REPLY} ms"), longest < REPLY));
        let longest = verdicts.verdict(format!("{longest:.1} ms"), bar);
        let _ = writeln!(
            text,
            "| {} | {program} | {} | {median:.1} ms | {longest} |",
            count(*checks),
            replies.len(),
        );
    }
    text.push('\n');
    text
}

/// Each process.
fn processes(cost: &Cost) -> String {
    let figure = |kib: u64| format!("{:.1}", megabytes(kib));
    let process = |it: &Memory| [it.resident, it.proportional, it.anonymous].map(figure).join("/");
    cost.memory.iter().map(process).collect::<Vec<_>>().join(", ") + " MB"
}

pub(in crate::bench) fn megabytes(kib: u64) -> f64 {
    kib as f64 * 1024.0 / 1e6
}

fn ratio(ratios: &[f64]) -> String {
    figures(ratios, 2, "")
}

fn starts(guest: &Guest, verdicts: &mut Verdicts) -> String {
    if guest.starts.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "| program | rounds | from its start until the table has all healthy real servers |\n\
         | --- | --: | --: |\n",
    );
    for Start { program, seconds } in &guest.starts {
        let bar = (program == OURS).then(|| (format!("≤ {START} s"), spread(seconds).0 <= START));
        let took = verdicts.verdict(figures(seconds, 2, " s"), bar);
        let _ = writeln!(text, "| {program} | {} | {took} |", seconds.len());
    }
    text.push('\n');
    text
}

fn capacities(guest: &Guest, verdicts: &mut Verdicts) -> String {
    if guest.capacities.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "| program | rounds | answers a second before periods stretch | of keepalived's |\n\
         | --- | --: | --: | --: |\n",
    );
    let keepalived = guest.capacities.iter().find(|it| it.program == KEEPALIVED);
    for Capacity { program, per_second } in &guest.capacities {
        let of_keepalived = keepalived.filter(|it| it.program != *program).map(|keepalived| {
            let others = &keepalived.per_second;
            let ratios: Vec<f64> =
                per_second.iter().zip(others).map(|(ours, its)| ours / its).collect();
            let bar = (program == OURS).then(|| ("≥ 1".to_owned(), spread(&ratios).0 >= 1.0));
            verdicts.verdict(ratio(&ratios), bar)
        });
        let _ = writeln!(
            text,
            "| {program} | {} | {} | {} |",
            per_second.len(),
            figures(per_second, 0, ""),
            of_keepalived.unwrap_or_else(|| "–".into()),
        );
    }
    text.push('\n');
    text
}

/// The median, with the least and the most in brackets.
pub(in crate::bench) fn figures(figures: &[f64], digits: usize, unit: &str) -> String {
    let (median, least, most) = spread(figures);
    match least < most {
        true => format!("{median:.digits$}{unit} ({least:.digits$}–{most:.digits$})"),
        false => format!("{median:.digits$}{unit}"),
    }
}

/// A number with its thousands separated.
pub(super) fn count(number: usize) -> String {
    ipvs_benches::table::thousands(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(program: &str, checks: usize, per_answer: &[f64], memory: u64) -> Cost {
        Cost {
            program: program.into(),
            checks,
            per_answer: per_answer.to_vec(),
            answered: vec![1.0],
            memory: vec![
                Memory { resident: memory, proportional: 2_000, anonymous: 1_000 },
                Memory { resident: 500, proportional: 400, anonymous: 300 },
            ],
            replies: if program == OURS { vec![1.0, 2.0, 19.0] } else { Vec::new() },
        }
    }

    fn report(ours: &[f64], memory: u64, start: f64, capacity: f64) -> Report {
        let capacity_of = |program: &str, per_second| Capacity {
            program: program.into(),
            per_second: vec![per_second],
        };
        Report {
            date: "2026-01-31".into(),
            keepalived: "1:2.2.7".into(),
            native: Native {
                kernel: "6.0".into(),
                window: 20,
                costs: vec![
                    cost(BARE, 1_000, &[20.0, 30.0, 40.0], 2_000),
                    cost(KEEPALIVED, 1_000, &[40.0, 60.0, 100.0], 9_000),
                    cost(OURS, 1_000, ours, memory),
                    cost(OURS, 10_000, ours, memory),
                ],
            },
            guest: Guest {
                kernel: "6.1".into(),
                starts: vec![Start { program: OURS.into(), seconds: vec![start] }],
                capacities: vec![capacity_of(OURS, capacity), capacity_of(KEEPALIVED, 1000.0)],
            },
        }
    }

    #[test]
    fn bars_are_met_or_not() {
        let met = page(&report(&[28.0, 45.0, 80.0], 7_000, 1.5, 1100.0));
        // The median of 28/40, 45/60 and 80/100.
        assert!(met.contains("| 0.75 (0.70–0.80) (≤ 0.9: met) | 1.50 (1.40–2.00) (≤ 1.5: met) |"));
        // 7,000 and 500 KiB.
        let memory = "| 7.7 MB (≤ 8 MB: met) | 7.2/2.0/1.0, 0.5/0.4/0.3 MB |\n";
        assert!(met.contains(memory), "{met}");
        assert!(
            met.contains("| 10,000 | ldirectord | 3 | 45.0 µs (28.0–80.0) | – | – | 100.0 % |")
        );
        let reply = "| 1,000 | ldirectord | 3 | 2.0 ms | 19.0 ms (< 20 ms: met) |\n";
        assert!(met.contains(reply), "{met}");
        assert!(met.contains("| ldirectord | 1 | 1.50 s (≤ 2 s: met) |"), "{met}");
        assert!(met.contains("| ldirectord | 1 | 1100 | 1.10 (≥ 1: met) |"), "{met}");
        assert!(met.ends_with("7 of 7 bars are met.\n"), "{met}");
        let mut missed = report(&[39.0, 58.0, 99.0], 16_000, 2.5, 900.0);
        missed.native.costs[2].replies[0] = 20.0;
        let missed = page(&missed);
        assert!(missed.contains("| **20.0 ms** (< 20 ms: not met) |"), "{missed}");
        assert!(missed.contains("| **0.97 (0.97–0.99)** (≤ 0.9: not met) |"), "{missed}");
        assert!(missed.ends_with("0 of 7 bars are met.\n"), "{missed}");
    }

    #[test]
    fn a_part_of_the_measurements_has_no_other_tables() {
        let mut report = report(&[28.0], 7_000, 1.5, 1100.0);
        report.native.costs.clear();
        report.guest.capacities.clear();
        let text = page(&report);
        assert!(text.starts_with("| program | rounds | from its start"), "{text}");
        assert!(!text.contains("checks"), "{text}");
    }
}
