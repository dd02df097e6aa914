//! The table of what was measured.

use std::fmt::Write as _;

use ipvs_benches::report::{Cost, Report, Row};

use super::bars::{BARS, Bar};

/// The report as a Markdown table: a line for each work, with the ratios and whether they are what
/// is asked.
pub(super) fn markdown(report: &Report) -> String {
    let mut text = String::from(
        "| work | on | C ipvsadm | ours | bare kernel | faster than C | of the bare kernel | \
         memory: C, ours |\n| --- | --- | --: | --: | --: | --: | --: | --: |\n",
    );
    for row in &report.rows {
        let bar = BARS.iter().find(|bar| bar.work == row.work && bar.on == row.on);
        // Writing to a String can't fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {} | {} |",
            row.work,
            row.on,
            time(row.theirs),
            time(Some(row.ours)),
            time(row.floor),
            faster(row, bar),
            of_floor(row, bar),
            memory(row),
        );
    }
    text
}

fn time(cost: Option<Cost>) -> String {
    match cost.map(|cost| cost.seconds) {
        None => "–".into(),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

fn faster(row: &Row, bar: Option<&Bar>) -> String {
    let Some(theirs) = row.theirs else { return "–".into() };
    let ratio = theirs.seconds / row.ours.seconds;
    let asked = bar.and_then(|bar| bar.faster);
    verdict(format!("{ratio:.1}×"), asked.map(|asked| (format!("≥ {asked}"), ratio >= asked)))
}

fn of_floor(row: &Row, bar: Option<&Bar>) -> String {
    let Some(floor) = row.floor else { return "–".into() };
    let ratio = row.ours.seconds / floor.seconds;
    let asked = bar.and_then(|bar| bar.of_floor);
    verdict(format!("{ratio:.2}"), asked.map(|asked| (format!("≤ {asked}"), ratio <= asked)))
}

/// A ratio with what is asked and whether it is met.
fn verdict(ratio: String, asked: Option<(String, bool)>) -> String {
    match asked {
        None => ratio,
        Some((asked, true)) => format!("{ratio} ({asked}: met)"),
        Some((asked, false)) => format!("**{ratio}** ({asked}: missed)"),
    }
}

fn memory(row: &Row) -> String {
    let mib = |cost: Cost| format!("{:.1}", cost.memory as f64 / 1024.0);
    match row.theirs {
        None => format!("{} MiB", mib(row.ours)),
        Some(theirs) => {
            let mark = if row.ours.memory > theirs.memory { "**" } else { "" };
            format!("{}, {mark}{}{mark} MiB", mib(theirs), mib(row.ours))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(ours: f64) -> Report {
        let cost = |seconds, memory| Cost { seconds, memory };
        let row = Row {
            work: "restore".into(),
            on: "1,000 × 10".into(),
            rounds: 3,
            theirs: Some(cost(10.0, 2048)),
            ours: cost(ours, 1024),
            floor: Some(cost(0.2, 1024)),
        };
        Report { kernel: "6.1".into(), rows: vec![row] }
    }

    #[test]
    fn a_bar_is_met_or_missed() {
        let met = markdown(&report(0.21));
        assert!(met.contains("| 10.00 s | 210.0 ms | 200.0 ms | 47.6× (≥ 40: met) |"), "{met}");
        assert!(met.contains("| 1.05 (≤ 1.15: met) | 2.0, 1.0 MiB |"), "{met}");
        let missed = markdown(&report(0.5));
        assert!(missed.contains("| **20.0×** (≥ 40: missed) | **2.50** (≤ 1.15: missed) |"));
    }
}
