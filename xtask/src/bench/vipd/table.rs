//! The table of adverts.

use std::fmt::Write as _;

use ipvs_benches::director::report::spread;
use ipvs_benches::usage::Memory;
use ipvs_benches::vipd::report::{Cost, Native, Process, Report};

use super::super::director::{figures, megabytes};
use super::super::table::Verdicts;

/// The program that has to meet the bars, and its processes.
const OURS: &str = "vipd";
const PROCESSES: [&str; 2] = ["daemon", "guard"];

/// The programs that it is compared with.
const KEEPALIVED: &str = "keepalived";
const BARE: &str = "bare loop";

/// How many virtual routers an interface can have, with which the bars of time and memory are met.
const MANY: u8 = 255;

/// The most processor time of ours with so many, in percent of one core, and as a fraction of
/// keepalived's.
const CPU: f64 = 10.0;
const OF_KEEPALIVED: f64 = 1.0;

/// The most memory of the daemon with so many, in MB.
const MEMORY: f64 = 4.0;

/// How often the daemon with one virtual router wakes up for an advert.
const WAITS: f64 = 1.0;

/// What docs/benchmarks.md shows of a report.
pub(crate) fn page(report: &Report) -> String {
    let mut verdicts = Verdicts::default();
    let mut text = costs(&report.native, &mut verdicts);
    let Report { keepalived, date, native } = report;
    // Writing to a String can't fail.
    let _ = writeln!(
        text,
        "\nkeepalived {keepalived}, Linux {}, windows of {} s, {date}. {verdicts}",
        native.kernel, native.window
    );
    text
}

fn costs(native: &Native, verdicts: &mut Verdicts) -> String {
    let mut text = String::from(
        "| routers | adverts | program | rounds | of one core | of keepalived's | of the bare loop's | \
         adverts sent | waits for each advert | memory | resident/proportional/anonymous |\n\
         | --: | --- | --- | --: | --: | --: | --: | --: | --- | --: | --- |\n",
    );
    for cost in &native.costs {
        let Cost { program, load, cpu, sent, processes } = cost;
        let is_many = program == OURS && load.routers == MANY;
        let bar = |is_asked: bool, text: String, figure: f64, most: f64| {
            // What is shown decides: two digits.
            is_asked.then(|| (text, (figure * 100.0).round() <= most * 100.0))
        };
        let ratios = |other: &str| -> Option<Vec<f64>> {
            let other = native.costs.iter().find(|it| it.program == other && it.load == *load)?;
            let pairs = cpu.iter().zip(&other.cpu);
            (other.program != *program).then(|| pairs.map(|(ours, its)| ours / its).collect())
        };
        let percent = verdicts
            .verdict(figures(cpu, 2, " %"), bar(is_many, format!("≤ {CPU} %"), spread(cpu).0, CPU));
        let of_keepalived = ratios(KEEPALIVED).map_or("–".to_owned(), |it| {
            let asked = bar(is_many, format!("≤ {OF_KEEPALIVED}"), spread(&it).0, OF_KEEPALIVED);
            verdicts.verdict(figures(&it, 2, ""), asked)
        });
        let of_bare = ratios(BARE).map_or("–".to_owned(), |it| figures(&it, 2, ""));
        let waits = each(program, processes, |at, it| {
            let asked = program == OURS && load.routers == 1 && at == 0;
            let asked = bar(asked, format!("≤ {WAITS}"), spread(&it.waits).0, WAITS);
            verdicts.verdict(figures(&it.waits, 2, ""), asked)
        });
        let memory = each(program, processes, |at, it| {
            let resident = megabytes(it.memory.resident);
            let asked = bar(is_many && at == 0, format!("≤ {MEMORY} MB"), resident, MEMORY);
            verdicts.verdict(shares(&it.memory), asked)
        });
        let all: u64 = processes.iter().map(|it| it.memory.resident).sum();
        let adverts = match (load.interval, load.is_spread) {
            (interval, true) => format!("every {interval} ms, each at its own time"),
            (interval, false) if load.routers > 1 => format!("every {interval} ms, all at once"),
            (interval, false) => format!("every {interval} ms"),
        };
        let _ = writeln!(
            text,
            "| {} | {adverts} | {program} | {} | {percent} | {of_keepalived} | {of_bare} | {:.1} % | \
             {waits} | {:.1} MB | {memory} |",
            load.routers,
            cpu.len(),
            spread(sent).0 * 100.0,
            megabytes(all),
        );
    }
    text
}

/// A figure for each process, with the names of ours.
fn each(
    program: &str,
    processes: &[Process],
    mut figure: impl FnMut(usize, &Process) -> String,
) -> String {
    let cell = |(at, it): (usize, &Process)| {
        let name = PROCESSES.get(at).filter(|_| program == OURS);
        name.map_or_else(String::new, |name| format!("{name} ")) + &figure(at, it)
    };
    processes.iter().enumerate().map(cell).collect::<Vec<_>>().join(", ")
}

fn shares(it: &Memory) -> String {
    let figure = |kib: u64| format!("{:.2}", megabytes(kib));
    [it.resident, it.proportional, it.anonymous].map(figure).join("/") + " MB"
}

#[cfg(test)]
mod tests {
    use ipvs_benches::vipd::Load;

    use super::*;

    const MANY_AT_ONCE: Load = Load { routers: 255, interval: 100, is_spread: false };
    const ONE: Load = Load { routers: 1, interval: 1000, is_spread: false };

    fn cost(program: &str, load: Load, cpu: &[f64], waits: f64, resident: u64) -> Cost {
        let process = |waits, resident| Process {
            waits: vec![waits; 3],
            memory: Memory { resident, proportional: 2_000, anonymous: 1_000 },
        };
        Cost {
            program: program.into(),
            load,
            cpu: cpu.to_vec(),
            sent: vec![1.0, 0.5, 1.0],
            processes: vec![process(waits, resident), process(0.0, 1_000)],
        }
    }

    fn report(cpu: &[f64], waits: f64, resident: u64) -> String {
        let native = Native {
            kernel: "6.0".into(),
            window: 20,
            costs: vec![
                cost(BARE, MANY_AT_ONCE, &[1.0, 1.0, 2.0], 0.1, 2_000),
                cost(KEEPALIVED, MANY_AT_ONCE, &[4.0, 5.0, 8.0], 1.0, 9_000),
                cost(OURS, MANY_AT_ONCE, cpu, 2.0, resident),
                cost(OURS, ONE, &[0.1], waits, 9_000),
            ],
        };
        page(&Report { date: "2026-01-31".into(), keepalived: "1:2.2.7".into(), native })
    }

    #[test]
    fn bars_are_met_or_not() {
        // 3,906 KiB are 3.9997 MB.
        let met = report(&[1.0, 4.0, 6.0], 1.004, 3_906);
        // The median of 1/4, 4/5 and 6/8, and of 1, 4 and 3.
        let row = "| 255 | every 100 ms, all at once | vipd | 3 | 4.00 % (1.00–6.00) (≤ 10 %: met) | \
                   0.75 (0.25–0.80) (≤ 1: met) | 3.00 (1.00–4.00) | 100.0 % | daemon 2.00, guard 0.00 | \
                   5.0 MB | daemon 4.00/2.05/1.02 MB (≤ 4 MB: met), guard 1.02/2.05/1.02 MB |\n";
        assert!(met.contains(row), "{met}");
        let one = "| 1 | every 1000 ms | vipd | 1 | 0.10 % | – | – | 100.0 % | daemon 1.00 (≤ 1: met), \
                   guard 0.00 |";
        assert!(met.contains(one), "{met}");
        assert!(
            met.contains("| keepalived | 3 | 5.00 % (4.00–8.00) | – | 4.00 (4.00–5.00) |"),
            "{met}"
        );
        let end = "\n\nkeepalived 1:2.2.7, Linux 6.0, windows of 20 s, 2026-01-31. 4 of 4 bars are met.\n";
        assert!(met.ends_with(end), "{met}");
        let missed = report(&[11.0, 12.0, 13.0], 1.02, 3_920);
        assert!(missed.contains("**4.01/2.05/1.02 MB** (≤ 4 MB: not met)"), "{missed}");
        assert!(missed.contains("daemon **1.02** (≤ 1: not met)"), "{missed}");
        assert!(missed.ends_with("0 of 4 bars are met.\n"), "{missed}");
    }
}
