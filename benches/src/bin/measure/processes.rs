//! Whole processes: the C ipvsadm, ours and the floor, in turn.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use ipvs_benches::floor::{self, Floor};
use ipvs_benches::report::{Cost, Row};
use ipvs_benches::run::Program;
use ipvs_benches::table::{Table, thousands};

use crate::connections::{self, CONNECTIONS};
use crate::namespace;

/// Quick work is measured more often, as long as all rounds of a program take no more than this
/// many seconds. Otherwise, noise from the rest of the machine could be as large as the differences
/// to be measured.
const BUDGET: f64 = 15.0;
const MORE_IF_SHORT: usize = 5;

/// How many lines of rules a table may have for counting. Under valgrind, the C ipvsadm takes fifty
/// times as long as on its own.
const COUNTABLE_LINES: u32 = 20_000;

/// The programs, and how to measure them.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) theirs: PathBuf,
    pub(crate) ours: PathBuf,
    pub(crate) floor: PathBuf,
    /// How often each program does each kind of work, at least.
    pub(crate) rounds: usize,
    /// The same for the C ipvsadm.
    pub(crate) their_rounds: usize,
    /// Only work whose name and table contain this is measured.
    pub(crate) filter: String,
    /// Whether system calls and instructions are counted.
    pub(crate) counts: bool,
    pub(crate) family: u16,
    /// The directory for files that are read and written.
    pub(crate) folder: PathBuf,
}

/// One kind of work, in the form that each program is given it.
struct Contest<'a> {
    work: &'a str,
    on: String,
    /// Whether counting is fast enough to be worthwhile.
    countable: bool,
    theirs: Program,
    ours: Program,
    floor: Option<Program>,
    /// Puts the kernel into the work's initial state.
    prepare: &'a dyn Fn() -> Result<()>,
    /// Reads the result of the work.
    outcome: &'a dyn Fn() -> Result<String>,
}

impl Bench {
    /// Measures all work on a table.
    pub(crate) fn table(&self, table: Table, rows: &mut Vec<Row>) -> Result<()> {
        let works = ["restore", "list -n", "save -n", "list -n --stats", "clear"];
        if !works.iter().any(|work| self.wanted(work, &table.to_string())) {
            return Ok(());
        }
        let countable = table.lines() <= COUNTABLE_LINES;
        let rules = self.file("rules", table.rules())?;
        let restore = self.file("restore", floor::restore(table, self.family))?;
        let list = self.file("list", floor::list(table, self.family))?;
        let clear = self.file("clear", floor::clear(self.family))?;
        let (empty, full) = (
            || namespace::fresh(self.family),
            || {
                namespace::fresh(self.family)?;
                self.play(&restore)
            },
        );
        let (saved, nothing) = (|| self.saved(), || Ok(String::new()));
        self.measure(
            rows,
            &Contest {
                work: "restore",
                on: table.to_string(),
                countable,
                theirs: Program::new(&self.theirs, &["-R"]).input(&rules),
                ours: Program::new(&self.ours, &["-R"]).input(&rules),
                floor: Some(self.player(&restore)),
                prepare: &empty,
                outcome: &saved,
            },
        )?;
        full()?;
        for (work, arguments) in [
            ("list -n", &["-L", "-n"][..]),
            ("save -n", &["-S", "-n"]),
            ("list -n --stats", &["-L", "-n", "--stats"]),
        ] {
            self.measure(
                rows,
                &Contest {
                    work,
                    on: table.to_string(),
                    countable: countable && work == "list -n",
                    theirs: Program::new(&self.theirs, arguments),
                    ours: Program::new(&self.ours, arguments),
                    floor: Some(self.player(&list)),
                    prepare: &|| Ok(()),
                    outcome: &nothing,
                },
            )?;
        }
        self.measure(
            rows,
            &Contest {
                work: "clear",
                on: table.to_string(),
                countable: false,
                theirs: Program::new(&self.theirs, &["-C"]),
                ours: Program::new(&self.ours, &["-C"]),
                floor: Some(self.player(&clear)),
                prepare: &full,
                outcome: &saved,
            },
        )?;
        empty()
    }

    /// Measures the startup of each program, alongside a program that does nothing and needs only
    /// the C library.
    pub(crate) fn start(&self, rows: &mut Vec<Row>) -> Result<()> {
        let nothing = || Ok(String::new());
        self.measure(
            rows,
            &Contest {
                work: "list --timeout",
                on: "beside `true`".into(),
                countable: true,
                theirs: Program::new(&self.theirs, &["-L", "--timeout"]),
                ours: Program::new(&self.ours, &["-L", "--timeout"]),
                floor: Some(Program::new(Path::new("true"), &[])),
                prepare: &|| Ok(()),
                outcome: &nothing,
            },
        )
    }

    /// Measures adding one service with a process of its own.
    pub(crate) fn one_service(&self, rows: &mut Vec<Row>) -> Result<()> {
        let clear = self.file("clear", floor::clear(self.family))?;
        let add = self.file("add", floor::restore(Table::new(1, 0), self.family))?;
        let arguments = &["-A", "-t", "10.64.0.1:80", "-s", "wlc"];
        self.measure(
            rows,
            &Contest {
                work: "add one service",
                on: "an empty table".into(),
                countable: true,
                theirs: Program::new(&self.theirs, arguments),
                ours: Program::new(&self.ours, arguments),
                floor: Some(self.player(&add)),
                prepare: &|| self.play(&clear),
                outcome: &|| self.saved(),
            },
        )
    }

    pub(crate) fn connections(&self, rows: &mut Vec<Row>) -> Result<()> {
        let on = format!("{} connections", thousands(CONNECTIONS));
        if !self.wanted("list -n -c", &on) {
            return Ok(());
        }
        namespace::fresh(self.family)?;
        connections::make()?;
        let arguments = &["-L", "-n", "-c"];
        let floor = Program::new(&self.floor, &["read", "/proc/net/ip_vs_conn"]);
        // Times change between two lists, and aren't compared.
        self.measure(
            rows,
            &Contest {
                work: "list -n -c",
                on,
                countable: true,
                theirs: Program::new(&self.theirs, arguments),
                ours: Program::new(&self.ours, arguments),
                floor: Some(floor),
                prepare: &|| Ok(()),
                outcome: &|| Ok(String::new()),
            },
        )
    }

    /// Has each program do the work in turn, and compares their output and results.
    fn measure(&self, rows: &mut Vec<Row>, contest: &Contest<'_>) -> Result<()> {
        if !self.wanted(contest.work, &contest.on) {
            return Ok(());
        }
        let mut runs = [const { Vec::new() }; 3];
        let programs = [Some(&contest.theirs), Some(&contest.ours), contest.floor.as_ref()];
        let mut reference = None;
        let (mut rounds, mut their_rounds) = (self.rounds, self.their_rounds.min(self.rounds));
        for round in 0.. {
            if round == 1 {
                let [theirs, ours, floor] = runs.each_ref().map(|runs| Cost::of(runs));
                rounds = self.within_budget(self.rounds, ours.seconds.max(floor.seconds));
                their_rounds = self.within_budget(their_rounds, theirs.seconds).min(rounds);
            }
            if round >= rounds {
                break;
            }
            // Each program takes its turn to go first, because what ran before may matter.
            for index in (0..programs.len()).map(|index| (index + round) % programs.len()) {
                let Some(program) = programs[index] else { continue };
                if index == 0 && !is_among(round, rounds, their_rounds) {
                    continue;
                }
                (contest.prepare)()?;
                let output = self.folder.join("output");
                runs[index].push(program.measure(&output)?);
                if round > 0 {
                    continue;
                }
                let found = (contest.outcome)()?;
                // The floor prints nothing.
                let printed = if index < 2 { printed(&output)? } else { String::new() };
                let (found_first, printed_first) =
                    reference.get_or_insert_with(|| (found.clone(), printed.clone()));
                ensure!(found == *found_first, "{} {}: other tables", contest.work, contest.on);
                ensure!(
                    index == 2 || printed == *printed_first,
                    "{} {}: the C ipvsadm and ours print different things",
                    contest.work,
                    contest.on
                );
            }
        }
        let mut costs = runs.map(|runs| Cost::of(&runs));
        if self.counts && contest.countable {
            for (program, cost) in programs.iter().zip(&mut costs) {
                let Some(program) = program else { continue };
                cost.counts = Some(program.count(contest.prepare)?);
            }
        }
        let [theirs, ours, floor] = costs;
        println!("{} {}: {theirs:?} {ours:?} {floor:?}", contest.work, contest.on);
        rows.push(Row {
            work: contest.work.to_owned(),
            on: contest.on.clone(),
            rounds,
            their_rounds,
            theirs: Some(theirs),
            ours,
            floor: contest.floor.as_ref().map(|_| floor),
            snapshot: None,
        });
        Ok(())
    }

    /// How often a program may do work that takes it this many seconds: at least `least` times.
    fn within_budget(&self, least: usize, seconds: f64) -> usize {
        let most = self.rounds * MORE_IF_SHORT;
        let fitting = (1..=most).take_while(|&rounds| rounds as f64 * seconds <= BUDGET).count();
        fitting.max(least)
    }

    pub(crate) fn wanted(&self, work: &str, on: &str) -> bool {
        format!("{work} {on}").contains(&self.filter)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, contents)?;
        Ok(path)
    }

    /// The floor as a whole process.
    fn player(&self, script: &Path) -> Program {
        let mut program = Program::new(&self.floor, &["play"]);
        program.arguments.push(script.into());
        program
    }

    /// Runs the floor in this process.
    fn play(&self, script: &Path) -> Result<()> {
        Floor::open()?.play(&fs::read(script)?)
    }

    /// The table as the C ipvsadm saves it.
    pub(crate) fn saved(&self) -> Result<String> {
        let output = Command::new(&self.theirs).args(["-S", "-n"]).output()?;
        ensure!(output.status.success(), "the C ipvsadm can't save");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// Whether a round is one of `some` that are spread evenly over all rounds, including the first.
fn is_among(round: usize, all: usize, some: usize) -> bool {
    let before = |round: usize| (round * some).div_ceil(all);
    before(round + 1) > before(round)
}

/// A program's output, without the times of connections.
fn printed(output: &Path) -> Result<String> {
    let text = fs::read_to_string(output)?;
    if !text.starts_with("IPVS connection entries") {
        return Ok(text);
    }
    let without_time = |line: &str| {
        line.split_whitespace()
            .enumerate()
            .filter(|(at, _)| *at != 1)
            .map(|(_, word)| word)
            .collect()
    };
    let mut lines: Vec<String> = text.lines().map(without_time).collect();
    lines.sort();
    Ok(lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_rounds_are_spread_over_all() {
        let among = |all, some| (0..all).filter(|&at| is_among(at, all, some)).collect::<Vec<_>>();
        assert_eq!(among(15, 3), [0, 5, 10]);
        assert_eq!(among(7, 2), [0, 3]);
        assert_eq!(among(4, 1), [0]);
        assert_eq!(among(3, 3), [0, 1, 2]);
    }
}
