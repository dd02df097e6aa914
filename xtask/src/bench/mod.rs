//! `cargo xtask bench`: the C ipvsadm, ours and the bare kernel, measured in one boot.

mod bars;
mod micro;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use ipvs_benches::report::Report;

use crate::readme::{self, Part};
use crate::work::{Machine, Place, Processors, Where, Work};
use crate::{cargo, places, progress};

/// The C program takes two minutes for the largest table, several times over.
const TIMEOUT: Duration = Duration::from_secs(3 * 60 * 60);

const TABLE: Part = Part {
    name: "table of speed",
    start: "<!-- bench:begin (cargo xtask bench --into-readme) -->\n",
    end: "<!-- bench:end -->\n",
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<Other>,
    #[command(flatten)]
    place: Where,
    /// How often each program does each work, and up to five times as often what takes it less than
    /// 15 seconds altogether; figures are medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// How often the C ipvsadm does each work on the table of 10,000 × 10, which takes it minutes
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    their_rounds: u32,
    /// Only work with this in its name or table, `restore` or `1,000 × 10` for example
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Write what was measured as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the table into README.md
    #[arg(long, conflicts_with = "filter")]
    into_readme: bool,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Single steps, on this machine: encoding, decoding, differences, lines of connections
    ///
    /// Beside other netlink libraries where they can do the same. With valgrind, instructions and
    /// allocations are counted too.
    Micro(micro::Micro),
}

impl Bench {
    pub(crate) fn run(self) -> Result<u8> {
        if let Some(Other::Micro(micro)) = self.part {
            return micro.run();
        }
        if self.into_readme {
            // Not after hours of measuring.
            TABLE.split(&readme::read()?)?;
        }
        let place = Place::prepare(self.place.choice(), self.place.machine)?;
        progress::now("building what is measured");
        let release = |package, name| {
            cargo::build(&["build", "--release", "-p", package, "--bin", name], name)
        };
        let ours = release("ipvsadm", "ipvsadm")?;
        let floor = release("ipvs-benches", "floor")?;
        release("ipvs-benches", "alone")?;
        let measure = release("ipvs-benches", "measure")?;
        let folder = places::root().join("target/bench");
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let mut command = vec![measure.into(), folder.clone().into(), ours.into(), floor.into()];
        command.extend([self.rounds, self.their_rounds].map(|rounds| rounds.to_string().into()));
        let is_whole = self.filter.is_none();
        command.extend(self.filter.map(Into::into));
        let work = Work {
            command,
            environment: Vec::new(),
            programs: Vec::new(),
            tools: &["ip", "modprobe", "ipvsadm"],
            writable: vec![folder.clone()],
            terminal: false,
            timeout: Some(TIMEOUT),
            // The programs are measured as they run by themselves.
            machine: Machine {
                processors: self.place.machine.processors.or(Some(Processors::Any)),
                ..self.place.machine
            },
        };
        let status = work.run(&place)?;
        ensure!(status == 0, "measuring ended with status {status}");
        let path = folder.join("report.json");
        let text = fs::read(&path).with_context(|| format!("can't read {}", path.display()))?;
        let report: Report = serde_json::from_slice(&text).context("the report isn't one")?;
        if let Some(file) = self.json {
            fs::write(&file, &text).with_context(|| format!("can't write {}", file.display()))?;
        }
        if is_whole {
            let missing = bars::without_row(&report.rows);
            ensure!(missing.is_empty(), "nothing was measured for bars: {}", missing.join(", "));
        }
        let table = table::markdown(&report);
        print!("{table}");
        if self.into_readme {
            TABLE.write(&table)?;
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_last_one_and_of_nothing_else() {
        let readme =
            |table: &str| format!("# A\n## Speed\n\n{}{table}{}\nMore.\n", TABLE.start, TABLE.end);
        assert_eq!(TABLE.replaced(&readme("| old |\n"), "| new |\n").unwrap(), readme("| new |\n"));
        let error = TABLE.replaced("# A\n", "| new |\n").unwrap_err().to_string();
        assert_eq!(error, "README.md has no table of speed");
    }

    #[test]
    fn a_part_of_the_table_is_not_put_into_the_readme() {
        use clap::Parser;
        #[derive(Debug, Parser)]
        struct Arguments {
            #[command(flatten)]
            bench: Bench,
        }
        let parse = |words: &[&str]| Arguments::try_parse_from([&["bench"], words].concat());
        assert!(parse(&["--into-readme", "restore"]).is_err());
        assert!(parse(&["--into-readme"]).unwrap().bench.into_readme);
        assert!(parse(&["micro"]).unwrap().bench.part.is_some());
        assert_eq!(parse(&["restore"]).unwrap().bench.filter.as_deref(), Some("restore"));
    }
}
