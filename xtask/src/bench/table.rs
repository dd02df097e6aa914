//! The table of measurements.

use std::fmt::{self, Write as _};

use ipvs_benches::report::{Cost, Counts, Report, Row};

use super::bars::{self, BARS, Bar};

/// What docs/benchmarks.md shows of these reports: a headline, the table of the kernel on one
/// processor, and the one of the same kernel on any.
///
/// All text with figures is generated here, so that it can't contradict the tables.
pub(super) fn page(reports: &[Report]) -> String {
    let mut text = String::new();
    for report in reports {
        if report.pinned {
            text.push_str(&headline(report));
        } else {
            text.push_str(
                "\nThe same kernel, not kept on one processor: its processes then wake one another \
                 across processors, which makes a system call several times dearer from one minute \
                 to the next. The C program makes the most system calls, so it is slowed down the \
                 most. These figures show that, and nothing else:\n\n",
            );
        }
        text.push_str(&markdown(report));
    }
    text
}

/// What README.md shows of these reports: whole processes compared with the C program's, on one
/// processor.
pub(super) fn summary(reports: &[Report]) -> String {
    let mut text = String::from(
        "| | on | C ipvsadm | ours | faster than C |\n| --- | --- | --: | --: | --: |\n",
    );
    for report in reports.iter().filter(|report| report.pinned) {
        for work in HEADLINE {
            for row in report.rows.iter().filter(|row| row.work == work) {
                let Some(theirs) = row.theirs else { continue };
                let [theirs_time, ours_time] = [theirs, row.ours].map(|cost| median(cost.seconds));
                let times = times(theirs, row.ours);
                let Row { work, on, .. } = row;
                let _ =
                    writeln!(text, "| `{work}` | {on} | {theirs_time} | {ours_time} | {times} |");
            }
        }
        let _ = writeln!(text, "\nLinux {}, {}.", report.kernel, report.date);
    }
    text
}

/// The tasks that the headline and the summary show, in this order.
const HEADLINE: [&str; 4] = ["restore", "list -n", "list -n -c", "add one service"];

/// How ours compares, in a sentence each: with the C ipvsadm, and with the bare kernel.
fn headline(report: &Report) -> String {
    let ratios = |work: &str, other: fn(&Row) -> Option<Cost>, is_ours_above: bool| {
        let rows = report.rows.iter().filter(|row| row.work == work);
        let ratios = rows.filter_map(|row| {
            let other = other(row)?;
            Some(match is_ours_above {
                false => format!("{} ({})", times(other, row.ours), row.on),
                true => format!("{} ({})", share(row.ours, other), row.on),
            })
        });
        ratios.collect::<Vec<_>>().join(", ")
    };
    let [theirs, floor]: [fn(&Row) -> Option<Cost>; 2] = [|row| row.theirs, |row| row.floor];
    let mut text = String::from("How many times as fast as the C program ours is:\n\n");
    for work in HEADLINE {
        let _ = writeln!(text, "- `{work}`: {}", ratios(work, theirs, false));
    }
    text.push_str("\nHow many times as long as the bare kernel it takes:\n\n");
    for work in HEADLINE {
        let _ = writeln!(text, "- `{work}`: {}", ratios(work, floor, true));
    }
    text.push('\n');
    text
}

/// The report as Markdown: a line for each task, with its ratios. If the kernel was pinned to one
/// processor, it also says which bars are met, and how many.
pub(super) fn markdown(report: &Report) -> String {
    let mut table = Table { has_bars: report.pinned, ..Table::default() };
    table.text.push_str(
        "| work | on | rounds | C ipvsadm | ours | bare kernel | faster than C | of the bare kernel \
         | system calls: C, ours, bare | instructions: C, ours, bare | memory: C, ours |\n\
         | --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |\n",
    );
    report.rows.iter().for_each(|row| table.row(row));
    let Table { mut text, verdicts, .. } = table;
    // Writing to a String can't fail.
    let _ = write!(text, "\nLinux {}, {}.", report.kernel, report.date);
    let _ = match report.pinned {
        true => writeln!(text, " {verdicts}"),
        false => writeln!(text),
    };
    text
}

#[derive(Default)]
struct Table {
    text: String,
    has_bars: bool,
    verdicts: Verdicts,
}

/// How many of the bars are met.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    met: usize,
    asked: usize,
}

impl Verdicts {
    /// A figure, with its bar and whether it is met.
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
        let bar = bar.filter(|_| self.has_bars);
        let cells = [
            format!("`{}`", row.work),
            row.on.clone(),
            rounds(row),
            time(row.theirs),
            self.ours(row, bar),
            time(row.floor),
            row.theirs.map_or("–".into(), |theirs| times(theirs, row.ours)),
            self.of_floor(row, bar),
            counts(row, |counts| thousands(counts.system_calls)),
            counts(row, |counts| millions(counts.instructions)),
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

    fn of_floor(&mut self, row: &Row, bar: Option<&Bar>) -> String {
        let Some(floor) = row.floor else { return "–".into() };
        let ratio = row.ours.seconds / floor.seconds;
        let asked = bar.and_then(|bar| bar.of_floor);
        let asked = asked.map(|asked| (format!("≤ {asked}"), ratio <= asked));
        self.verdicts.verdict(share(row.ours, floor), asked)
    }

    fn memory(&mut self, row: &Row) -> String {
        let mib = |kib: u64| format!("{:.1} MiB", kib as f64 / 1024.0);
        match (row.theirs.and_then(|cost| cost.memory), row.ours.memory) {
            (_, None) => "–".into(),
            (None, Some(ours)) => mib(ours),
            (Some(theirs), Some(ours)) => {
                let asked = self.has_bars && bars::memory(&row.work);
                let asked = asked.then(|| ("≤ C".to_owned(), ours <= theirs));
                format!("{}, {}", mib(theirs), self.verdicts.verdict(mib(ours), asked))
            }
        }
    }
}

/// The number of rounds, and that of the C ipvsadm if it was lower.
fn rounds(row: &Row) -> String {
    match row.theirs {
        Some(_) if row.their_rounds < row.rounds => {
            format!("{}, C {}", row.rounds, row.their_rounds)
        }
        _ => row.rounds.to_string(),
    }
}

/// How long another takes, as a multiple of ours.
fn times(other: Cost, ours: Cost) -> String {
    format!("{:.1}×", other.seconds / ours.seconds)
}

/// How long ours takes, as a fraction of another's time.
fn share(ours: Cost, other: Cost) -> String {
    format!("{:.2}", ours.seconds / other.seconds)
}

/// The median, with the shortest and the longest in brackets.
fn time(cost: Option<Cost>) -> String {
    let Some(Cost { seconds, least, most, .. }) = cost else { return "–".into() };
    match least < most {
        true => {
            let (unit, factor, digits) = scale(seconds);
            let figure = |seconds: f64| format!("{:.digits$}", seconds * factor);
            format!("{} {unit} ({}–{})", figure(seconds), figure(least), figure(most))
        }
        false => median(seconds),
    }
}

fn median(seconds: f64) -> String {
    let (unit, factor, digits) = scale(seconds);
    format!("{:.digits$} {unit}", seconds * factor)
}

/// The unit for a time, its factor, and how many digits to show.
fn scale(seconds: f64) -> (&'static str, f64, usize) {
    if seconds < 1.0 { ("ms", 1000.0, 1) } else { ("s", 1.0, 2) }
}

/// One count for each program, in the order of the columns.
fn counts(row: &Row, text: fn(Counts) -> String) -> String {
    let costs = [row.theirs, Some(row.ours), row.floor];
    if costs.iter().flatten().all(|cost| cost.counts.is_none()) {
        return "–".into();
    }
    let counts = costs.map(|cost| cost.and_then(|cost| cost.counts).map_or("–".into(), text));
    counts.join(", ")
}

/// A number with its thousands separated, but not by a comma: commas separate the programs.
fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{}\u{202f}{:03}", thousands(number / 1000), number % 1000),
    }
}

fn millions(number: u64) -> String {
    format!("{:.1} M", number as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(row: Row) -> Report {
        Report { pinned: true, kernel: "6.1".into(), date: "2026-01-31".into(), rows: vec![row] }
    }

    fn cost(seconds: f64) -> Cost {
        Cost { seconds, least: seconds, most: seconds, ..Cost::default() }
    }

    fn restore(ours: f64, memory: u64) -> Row {
        let cost = |seconds, memory| Cost { memory: Some(memory), ..cost(seconds) };
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
            met.contains("| 3, C 1 | 10.00 s | 210.0 ms | 200.0 ms | 47.6× | 1.05 (≤ 1.12: met) |"),
            "{met}"
        );
        assert!(met.contains("| – | – | 2.0 MiB, 1.0 MiB (≤ C: met) |"), "{met}");
        assert!(met.ends_with("\nLinux 6.1, 2026-01-31. 2 of 2 bars are met.\n"), "{met}");
        let missed = markdown(&report(restore(0.5, 4096)));
        assert!(missed.contains("| 20.0× | **2.50** (≤ 1.12: not met) |"), "{missed}");
        assert!(missed.contains("**4.0 MiB** (≤ C: not met) |"), "{missed}");
        assert!(missed.contains(" 0 of 2 bars are met."), "{missed}");
    }

    #[test]
    fn a_difference_is_compared_with_a_snapshot() {
        let met = markdown(&report(diff(0.049)));
        let cell = "| 49.0 ms, 4.9 % (≤ 5.0 %: met) of `Client::snapshot` | – | – | – |";
        assert!(met.contains(cell), "{met}");
        let missed = markdown(&report(diff(0.051)));
        assert!(missed.contains("**5.1 %** (≤ 5.0 %: not met)"), "{missed}");
    }

    #[test]
    fn what_has_no_bar_has_no_verdict() {
        let row = Row { on: "7 × 7".into(), work: "clear".into(), ..restore(0.5, 4096) };
        let text = markdown(&report(row));
        assert!(text.contains("| 20.0× | 2.50 | – | – | 2.0 MiB, 4.0 MiB |"), "{text}");
        assert!(text.contains(" 0 of 0 bars are met."), "{text}");
        let unpinned = Report { pinned: false, ..report(restore(0.5, 4096)) };
        let text = markdown(&unpinned);
        assert!(text.contains("| 20.0× | 2.50 | – | – | 2.0 MiB, 4.0 MiB |"), "{text}");
        assert!(text.ends_with("\nLinux 6.1, 2026-01-31.\n"), "{text}");
    }

    #[test]
    fn a_median_has_its_spread() {
        let mut row = restore(0.5, 4096);
        (row.ours.least, row.ours.most) = (0.4951, 1.25);
        let text = markdown(&report(row));
        assert!(text.contains("| 10.00 s | 500.0 ms (495.1–1250.0) | 200.0 ms |"), "{text}");
    }

    #[test]
    fn counts_are_in_the_order_of_the_columns() {
        let mut row = restore(0.5, 4096);
        row.ours.counts = Some(Counts { system_calls: 1_234, instructions: 11_460_000 });
        row.floor.as_mut().unwrap().counts = Some(Counts { system_calls: 7, instructions: 1 });
        let text = markdown(&report(row));
        assert!(text.contains("| –, 1\u{202f}234, 7 | –, 11.5 M, 0.0 M |"), "{text}");
    }

    #[test]
    fn the_headline_has_the_ratios_of_the_pinned_table() {
        let unpinned = Report { pinned: false, ..report(restore(0.1, 1024)) };
        let text = page(&[report(restore(0.21, 1024)), unpinned]);
        assert!(text.contains("- `restore`: 47.6× (1,000 × 10)\n"), "{text}");
        assert!(text.contains("- `restore`: 1.05 (1,000 × 10)\n"), "{text}");
        let (pinned, rest) = text.split_once("The same kernel").unwrap();
        assert!(!pinned.contains("100.0×") && rest.contains("100.0×"), "{text}");
    }

    #[test]
    fn the_summary_is_of_the_pinned_table() {
        let unpinned = Report { pinned: false, ..report(restore(0.1, 1024)) };
        let text = summary(&[report(restore(0.21, 1024)), unpinned]);
        let (_, rows) = text.split_once("--: |\n").unwrap();
        assert_eq!(
            rows,
            "| `restore` | 1,000 × 10 | 10.00 s | 210.0 ms | 47.6× |\n\nLinux 6.1, 2026-01-31.\n"
        );
    }
}
