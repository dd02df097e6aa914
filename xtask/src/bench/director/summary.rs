//! Health checks in short, for README.md.

use std::fmt::Write as _;

use ipvs_benches::director::report::{Cost, Report, spread};

use super::table::{BARE, KEEPALIVED, MEMORY, OURS, count, megabytes};

/// Ours, keepalived, and the bare client: a row for each thing that is measured.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = String::from(
        "| | ours | keepalived | bare client |\n\
         | --- | --: | --: | --: |\n",
    );
    for (checks, _) in MEMORY {
        let cell = |figure: fn(&Cost) -> String| {
            [OURS, KEEPALIVED, BARE].map(|program| {
                let costs = &mut report.native.costs.iter();
                let cost = costs.find(|it| it.program == program && it.checks == checks);
                cost.map_or_else(|| "–".to_owned(), figure)
            })
        };
        let checks = count(checks);
        row(
            &mut text,
            &format!("processor time for an answer, {checks} checks"),
            &cell(per_answer),
        );
        row(&mut text, &format!("memory, {checks} checks"), &cell(memory));
    }
    let starts: Vec<(&str, f64)> = (report.guest.starts.iter())
        .map(|it| (it.program.as_str(), spread(&it.seconds).0))
        .collect();
    let soonest = |program: &str| {
        let own = starts.iter().filter(|it| it.0.starts_with(program)).map(|it| it.1);
        own.min_by(f64::total_cmp).map_or_else(|| "–".to_owned(), |it| format!("{it:.2} s"))
    };
    let cells = [soonest(OURS), soonest(KEEPALIVED), "–".to_owned()];
    row(&mut text, "900 of 1,000 in the table after its start, at its best setting", &cells);
    let capacity = |program: &str| {
        let own = report.guest.capacities.iter().find(|it| it.program == program);
        own.map_or_else(|| "–".to_owned(), |it| rounded(spread(&it.per_second).0))
    };
    let cells = [OURS, KEEPALIVED, BARE].map(capacity);
    row(&mut text, "checks a second before periods stretch", &cells);
    let Report { keepalived, date, .. } = report;
    // Writing to a String can't fail.
    let _ = writeln!(text, "\nkeepalived {keepalived}, {date}.");
    text
}

fn row(text: &mut String, label: &str, cells: &[String; 3]) {
    // Writing to a String can't fail.
    let _ = writeln!(text, "| {label} | {} |", cells.join(" | "));
}

/// The processor time, and which part of the checks was made if some weren't.
fn per_answer(cost: &Cost) -> String {
    let time = format!("{:.1} µs", spread(&cost.per_answer).0);
    let answered = spread(&cost.answered).0;
    match answered < 0.95 {
        true => format!("{time}, {:.0} % of the checks made", answered * 100.0),
        false => time,
    }
}

fn memory(cost: &Cost) -> String {
    format!("{:.1} MB", megabytes(cost.resident()))
}

/// A rate, which isn't negative, as a whole number.
fn rounded(per_second: f64) -> String {
    count(per_second.round() as usize)
}

#[cfg(test)]
mod tests {
    use ipvs_benches::director::report::{Capacity, Guest, Native, Start};
    use ipvs_benches::usage::Memory;

    use super::*;

    #[test]
    fn what_was_not_measured_has_a_dash() {
        let memory = Memory { resident: 2_000, proportional: 1_000, anonymous: 500 };
        let cost = |program: &str, answered| Cost {
            program: program.into(),
            checks: 1_000,
            per_answer: vec![20.0, 30.0, 50.0],
            answered: vec![answered],
            memory: vec![memory; 2],
            replies: Vec::new(),
        };
        let start = |program: &str, seconds| Start { program: program.into(), seconds };
        let report = Report {
            date: "2026-01-31".into(),
            keepalived: "1:2.2.7".into(),
            native: Native {
                costs: vec![cost(OURS, 1.0), cost(KEEPALIVED, 0.07)],
                ..Native::default()
            },
            guest: Guest {
                starts: vec![
                    start(OURS, vec![0.5, 0.7, 0.9]),
                    start(KEEPALIVED, vec![3.0]),
                    start("keepalived, warmup 0", vec![2.0]),
                ],
                capacities: vec![Capacity { program: OURS.into(), per_second: vec![2_983.4] }],
                ..Guest::default()
            },
        };
        let text = summary(&report);
        for row in [
            "| processor time for an answer, 1,000 checks | 30.0 µs | 30.0 µs, 7 % of the checks made | – |",
            "| memory, 1,000 checks | 4.1 MB | 4.1 MB | – |",
            "| memory, 10,000 checks | – | – | – |",
            "| 900 of 1,000 in the table after its start, at its best setting | 0.70 s | 2.00 s | – |",
            "| checks a second before periods stretch | 2,983 | – | – |",
        ] {
            assert!(text.contains(&format!("\n{row}\n")), "{row}\n{text}");
        }
    }
}
