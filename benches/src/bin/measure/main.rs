//! Measures on the running kernel: whole processes (the C ipvsadm, ours and the floor), and the
//! library alongside the floor.
//!
//! `measure FOLDER OURS FLOOR ROUNDS ROUNDS-OF-C whole|glance PINNED [FILTER]` writes
//! `FOLDER/report.json`. The C program does the largest table only ROUNDS-OF-C times. `glance`
//! measures a few kinds of work, without counts. PINNED, whether the kernel is pinned to one
//! processor, only goes into the report. It needs root, a network namespace whose table nobody
//! needs, and `ip`, `strace`, `valgrind` and the C `ipvsadm` on `PATH`. `cargo xtask bench`
//! provides all of that.

#![forbid(unsafe_code)]

mod connections;
mod library;
mod namespace;
mod processes;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_benches::floor::Floor;
use ipvs_benches::report::{Report, Row};
use ipvs_benches::table::Table;

use crate::processes::Bench;

/// The table for which the C program takes minutes.
const LARGEST: Table = Table::new(10_000, 10);

const TABLES: [Table; 4] =
    [Table::new(1_000, 10), Table::new(1, 10_000), Table::new(10_000, 1), LARGEST];

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1);
    let folder = PathBuf::from(words.next().context("no folder")?);
    let [ours, floor] = [words.next(), words.next()].map(|word| word.map(PathBuf::from));
    let [rounds, their_rounds_of_largest] = [number(words.next())?, number(words.next())?];
    let is_glance = match words.next().as_deref().and_then(OsStr::to_str) {
        Some("whole") => false,
        Some("glance") => true,
        _ => bail!("the whole or a glance?"),
    };
    let pinned = words.next().as_deref().and_then(OsStr::to_str).context("pinned?")?.parse()?;
    // In memory, because the time a disk takes to read rules and write lists shouldn't be measured.
    let scratch = PathBuf::from(format!("/dev/shm/ipvs-bench-{}", std::process::id()));
    fs::create_dir(&scratch).with_context(|| format!("can't make {}", scratch.display()))?;
    let bench = Bench {
        theirs: "ipvsadm".into(),
        ours: ours.context("no program")?,
        floor: floor.context("no floor")?,
        rounds,
        their_rounds: rounds,
        counts: !is_glance,
        filter: words.next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default(),
        family: Floor::open()?.family()?,
        folder: scratch.clone(),
    };
    let rows = match is_glance {
        false => measure(&bench, their_rounds_of_largest),
        true => glance(&bench),
    };
    fs::remove_dir_all(&scratch)?;
    let rows = rows?;
    ensure!(!rows.is_empty(), "nothing has `{}` in its name", bench.filter);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let report = serde_json::to_vec_pretty(&Report { pinned, kernel, date: today()?, rows })?;
    fs::write(folder.join("report.json"), report)?;
    Ok(())
}

fn measure(bench: &Bench, their_rounds_of_largest: usize) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in TABLES {
        let their_rounds =
            if table == LARGEST { their_rounds_of_largest } else { bench.their_rounds };
        Bench { their_rounds, ..bench.clone() }.table(table, &mut rows)?;
    }
    bench.start(&mut rows)?;
    bench.one_service(&mut rows)?;
    library::measure(bench, LARGEST, &mut rows)?;
    library::measure_endpoints(bench, &mut rows)?;
    bench.connections(&mut rows)?;
    Ok(rows)
}

/// Measures enough to show how much pinning the kernel to one processor matters.
fn glance(bench: &Bench) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for table in [Table::new(1_000, 10), Table::new(1, 10_000)] {
        for work in ["restore", "list -n"] {
            let filter = format!("{work} {table}");
            Bench { filter, ..bench.clone() }.table(table, &mut rows)?;
        }
    }
    Ok(rows)
}

fn number(word: Option<OsString>) -> Result<usize> {
    let word = word.context("no number of rounds")?;
    word.to_str().context("no number")?.parse().context("no number")
}

fn today() -> Result<String> {
    let output = Command::new("date").args(["-u", "+%F"]).output().context("can't run date")?;
    ensure!(output.status.success(), "date failed");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
