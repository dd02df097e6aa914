//! The table of what was measured.

use std::fmt::{self, Write as _};

use ipvs_benches::report::{Cost, Report, Row};

use super::bars::{self, BARS, Bar};

/// The report as Markdown: a line for each work, with the ratios and whether they are what is
/// asked, and how many are.
pub(super) fn markdown(report: &Report) -> String {
    let mut table = Table::default();
    table.text.push_str(
        "| work | on | rounds | C ipvsadm | ours | bare kernel | faster than C | of the bare kernel \
         | memory: C, ours |\n| --- | --- | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    report.rows.iter().for_each(|row| table.row(row));
    let Table { mut text, verdicts } = table;
    // Writing to a String can't fail.
    let _ = writeln!(text, "\nLinux {}, {}. {verdicts}", report.kernel, report.date);
    text
}

#[derive(Default)]
struct Table {
    text: String,
    verdicts: Verdicts,
}

/// How many bars are met, of how many.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    met: usize,
    asked: usize,
}

impl Verdicts {
    /// A figure with what is asked and whether it is met.
    pub(super) fn verdict(&mut self, figure: String, asked: Option<(String, bool)>) -> String {
        let Some((asked, met)) = asked else { return figure };
        self.asked += 1;
        self.met += usize::from(met);
        match met {
            true => format!("{figure} ({asked}: met)"),
            false => format!("**{figure}** ({asked}: not met)"),
        }
    }
}

impl fmt::Display for Verdicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bars are met.", self.met, self.asked)
    }
}

impl Table {
    fn row(&mut self, row: &Row) {
        let bar = BARS.iter().find(|bar| bar.work == row.work && bar.on == row.on);
        let cells = [
            format!("`{}`", row.work),
            row.on.clone(),
            rounds(row),
            time(row.theirs),
            self.ours(row, bar),
            time(row.floor),
            self.faster(row, bar),
            self.of_floor(row, bar),
            self.memory(row),
        ];
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    fn ours(&mut self, row: &Row, bar: Option<&Bar>) -> String {
        let time = time(Some(row.ours));
        let Some(snapshot) = row.snapshot else { return time };
        let ratio = row.ours.seconds / snapshot.seconds;
        let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
        let asked = bar.and_then(|bar| bar.of_snapshot);
        let asked = asked.map(|asked| (format!("≤ {}", percent(asked)), ratio <= asked));
        format!("{time}, {} of `Client::snapshot`", self.verdicts.verdict(percent(ratio), asked))
    }

    fn faster(&mut self, row: &Row, bar: Option<&Bar>) -> String {
        let Some(theirs) = row.theirs else { return "–".into() };
        let ratio = theirs.seconds / row.ours.seconds;
        let asked = bar.and_then(|bar| bar.faster);
        let asked = asked.map(|asked| (format!("≥ {asked}"), ratio >= asked));
        self.verdicts.verdict(format!("{ratio:.1}×"), asked)
    }

    fn of_floor(&mut self, row: &Row, bar: Option<&Bar>) -> String {
        let Some(floor) = row.floor else { return "–".into() };
        let ratio = row.ours.seconds / floor.seconds;
        let asked = bar.and_then(|bar| bar.of_floor);
        let asked = asked.map(|asked| (format!("≤ {asked}"), ratio <= asked));
        self.verdicts.verdict(format!("{ratio:.2}"), asked)
    }

    fn memory(&mut self, row: &Row) -> String {
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        match (row.theirs.and_then(|cost| cost.memory), row.ours.memory) {
            (_, None) => "–".into(),
            (None, Some(ours)) => mib(ours),
            (Some(theirs), Some(ours)) => {
                let asked = bars::memory(&row.work);
                let asked = asked.then(|| ("≤ C".to_owned(), ours <= theirs));
                format!("{}, {}", mib(theirs), self.verdicts.verdict(mib(ours), asked))
            }
        }
    }
}

/// How often each program did it, and the C ipvsadm if that was less.
fn rounds(row: &Row) -> String {
    match row.theirs {
        Some(_) if row.their_rounds < row.rounds => {
            format!("{}, C {}", row.rounds, row.their_rounds)
        }
        _ => row.rounds.to_string(),
    }
}

fn time(cost: Option<Cost>) -> String {
    match cost.map(|cost| cost.seconds) {
        None => "–".into(),
        Some(seconds) if seconds < 1.0 => format!("{:.1} ms", seconds * 1000.0),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(row: Row) -> Report {
        Report { kernel: "6.1".into(), date: "2026-01-31".into(), rows: vec![row] }
    }

    fn restore(ours: f64, memory: u64) -> Row {
        let cost = |seconds, memory| Cost { seconds, memory: Some(memory) };
        Row {
            work: "restore".into(),
            on: "1,000 × 10".into(),
            rounds: 3,
            their_rounds: 1,
            theirs: Some(cost(10.0, 2048)),
            ours: cost(ours, memory),
            floor: Some(cost(0.2, 1024)),
            snapshot: None,
        }
    }

    fn diff(seconds: f64) -> Row {
        let cost = |seconds| Cost { seconds, memory: None };
        Row {
            work: "Plan::diff, 100 changes".into(),
            on: "10,000 × 10".into(),
            rounds: 3,
            their_rounds: 0,
            theirs: None,
            ours: cost(seconds),
            floor: None,
            snapshot: Some(cost(1.0)),
        }
    }

    #[test]
    fn a_bar_is_met_or_not() {
        let met = markdown(&report(restore(0.21, 1024)));
        assert!(
            met.contains("| 3, C 1 | 10.00 s | 210.0 ms | 200.0 ms | 47.6× (≥ 40: met) |"),
            "{met}"
        );
        assert!(met.contains("| 1.05 (≤ 1.15: met) | 2.0 MiB, 1.0 MiB (≤ C: met) |"), "{met}");
        assert!(met.ends_with("\nLinux 6.1, 2026-01-31. 3 of 3 bars are met.\n"), "{met}");
        let missed = markdown(&report(restore(0.5, 4096)));
        assert!(missed.contains("| **20.0×** (≥ 40: not met) | **2.50** (≤ 1.15: not met) |"));
        assert!(missed.contains("**4.0 MiB** (≤ C: not met) |"), "{missed}");
        assert!(missed.contains(" 0 of 3 bars are met."), "{missed}");
    }

    #[test]
    fn a_difference_is_compared_with_a_snapshot() {
        let met = markdown(&report(diff(0.049)));
        let cell = "| 49.0 ms, 4.9 % (≤ 5.0 %: met) of `Client::snapshot` | – | – | – | – |";
        assert!(met.contains(cell), "{met}");
        let missed = markdown(&report(diff(0.051)));
        assert!(missed.contains("**5.1 %** (≤ 5.0 %: not met)"), "{missed}");
    }

    #[test]
    fn what_has_no_bar_has_no_verdict() {
        let row = Row { on: "7 × 7".into(), work: "clear".into(), ..restore(0.5, 4096) };
        let text = markdown(&report(row));
        assert!(text.contains("| 20.0× | 2.50 | 2.0 MiB, 4.0 MiB |"), "{text}");
        assert!(text.contains(" 0 of 0 bars are met."), "{text}");
    }
}
