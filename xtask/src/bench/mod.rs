//! `cargo xtask bench`: measures the C ipvsadm, ours and the bare kernel in one boot.

mod bars;
mod director;
mod micro;
mod table;
mod vipd;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use ipvs_benches::report::Report;
use lab::{Job, KernelOption, Processors, ReadyKernel, paths, progress, tools};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cargo;
use crate::docs::Part;

/// Without a processor reserved for it, the C program may take minutes for the largest table.
const TIMEOUT: Duration = Duration::from_secs(3 * 60 * 60);

const START: &str = "<!-- bench:begin (cargo xtask bench --into-docs) -->\n";
const END: &str = "<!-- bench:end -->\n";

/// All measurements.
const TABLES: Part =
    Part { file: "docs/benchmarks.md", name: "table of speed", start: START, end: END };

/// The comparison with the C program, in short.
const SUMMARY: Part = Part { file: "README.md", name: "table of speed", start: START, end: END };

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    part: Option<Other>,
    #[command(flatten)]
    kernel: KernelOption,
    /// Rounds of each measurement, up to five times as many where they take less than 15 seconds in
    /// all; figures are medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Rounds of the C ipvsadm on the table of 10,000 × 10, where it takes longest
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    their_rounds: u32,
    /// Measure only what has this in its name or table, such as `restore` or `1,000 × 10`
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Write the measurements as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Put the tables into docs/benchmarks.md and README.md
    #[arg(long, conflicts_with_all = ["filter", "processors"])]
    into_docs: bool,
}

#[derive(Debug, Subcommand)]
enum Other {
    /// Single steps, on this machine: encoding, decoding, differences, lines of connections
    ///
    /// Beside other netlink libraries where they can do the same. With valgrind, instructions and
    /// allocations are counted too.
    Micro(micro::Micro),
    /// Health checks: the daemon beside keepalived and a bare client
    Director(director::Director),
    /// Adverts of virtual routers: vipd beside keepalived and a bare loop, on this machine, as root
    Vipd(vipd::Vipd),
}

impl Bench {
    pub(crate) fn run(self) -> Result<u8> {
        match self.part {
            Some(Other::Micro(micro)) => return micro.run(),
            Some(Other::Director(director)) => return director.run(),
            Some(Other::Vipd(vipd)) => return vipd.run(),
            None => {}
        }
        if self.into_docs {
            // Fail now, not after hours of measuring.
            TABLES.recorded()?;
            SUMMARY.recorded()?;
        }
        let kernel = self.kernel.prepare(&cargo::lab()?)?;
        ensure!(
            !self.into_docs || kernel.is_fetched(),
            "the documents show a kernel that is kept on one processor: choose one that is fetched"
        );
        progress::now("building what is measured");
        let programs = Programs::build()?;
        let processors = self.kernel.guest.processors;
        let mut reports =
            vec![self.measure(&kernel, &programs, processors != Some(Processors::Any))?];
        // Measure everything, then once more at a glance without pinning the kernel to a processor.
        if self.filter.is_none() && processors.is_none() && kernel.is_fetched() {
            reports.push(self.measure(&kernel, &programs, false)?);
        }
        if let Some(file) = &self.json {
            let text = serde_json::to_vec_pretty(&reports)?;
            fs::write(file, text).with_context(|| format!("can't write {}", file.display()))?;
        }
        if self.filter.is_none() {
            let missing = bars::without_row(&reports[0].rows);
            ensure!(missing.is_empty(), "nothing was measured for bars: {}", missing.join(", "));
        }
        match self.into_docs {
            true => {
                let text = table::page(&reports);
                print!("{text}");
                record(|measured| measured.ipvsadm = reports.clone())?;
                TABLES.write(&text)?;
                SUMMARY.write(&table::summary(&reports))?;
            }
            false => reports.iter().for_each(|report| println!("{}", table::markdown(report))),
        }
        Ok(0)
    }

    /// Measures in one boot: everything requested, or only at a glance if that was measured before.
    fn measure(&self, kernel: &ReadyKernel, programs: &Programs, pinned: bool) -> Result<Report> {
        let is_glance = !pinned && self.kernel.guest.processors.is_none();
        let pinned = pinned && kernel.is_fetched();
        let folder = paths::root().join("target/bench");
        fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let Programs { measure, ours, floor } = programs;
        let mut command: Vec<OsString> =
            [measure, &folder, ours, floor].into_iter().map(Into::into).collect();
        command.extend([self.rounds, self.their_rounds].map(|rounds| rounds.to_string().into()));
        command.push(if is_glance { "glance" } else { "whole" }.into());
        command.push(pinned.to_string().into());
        command.extend(self.filter.iter().map(Into::into));
        let processors = if pinned { Processors::One } else { Processors::Any };
        let job = Job {
            command,
            environment: tools::environment("valgrind")?,
            tools: &["ip", "modprobe", "ipvsadm", "strace", "valgrind"],
            writable: vec![folder.clone()],
            timeout: Some(TIMEOUT),
            ..Job::default()
        };
        let status = job.run(&kernel.on(processors))?;
        ensure!(status == 0, "measuring ended with status {status}");
        read(&folder.join("report.json"))
    }
}

/// The programs to measure, and the one that measures.
struct Programs {
    measure: PathBuf,
    ours: PathBuf,
    floor: PathBuf,
}

impl Programs {
    fn build() -> Result<Self> {
        let release = |package, name| {
            cargo::build(&["build", "--release", "-p", package, "--bin", name], name)
        };
        release("ipvs-benches", "alone")?;
        Ok(Self {
            measure: release("ipvs-benches", "measure")?,
            ours: release("ipvsadm", "ipvsadm")?,
            floor: release("ipvs-benches", "floor")?,
        })
    }
}

/// The measurements behind the tables in the documents, kept so that a test can rebuild them.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Measured {
    /// The C ipvsadm, ours and the bare kernel.
    ipvsadm: Vec<Report>,
    /// Health checks.
    director: Option<ipvs_benches::director::report::Report>,
    /// Adverts.
    vipd: Option<ipvs_benches::vipd::report::Report>,
}

fn recorded() -> PathBuf {
    paths::root().join("benches/measured.json")
}

/// Changes a part of what was measured.
fn record(change: impl FnOnce(&mut Measured)) -> Result<()> {
    let path = recorded();
    let mut measured: Measured = read(&path)?;
    change(&mut measured);
    let text = serde_json::to_string_pretty(&measured)? + "\n";
    fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} is no report", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_last_one_and_of_nothing_else() {
        let page = |table: &str| format!("# A\n## Speed\n\n{START}{table}{END}\nMore.\n");
        assert_eq!(TABLES.replaced(&page("| old |\n"), "| new |\n").unwrap(), page("| new |\n"));
        let error = TABLES.replaced("# A\n", "| new |\n").unwrap_err().to_string();
        assert_eq!(error, "docs/benchmarks.md has no table of speed");
    }

    #[test]
    fn a_part_of_the_table_is_not_put_into_the_documents() {
        use clap::Parser;
        #[derive(Debug, Parser)]
        struct Arguments {
            #[command(flatten)]
            bench: Bench,
        }
        let parse = |words: &[&str]| Arguments::try_parse_from([&["bench"], words].concat());
        assert!(parse(&["--into-docs", "restore"]).is_err());
        assert!(parse(&["--into-docs", "--processors=any"]).is_err());
        assert!(parse(&["--into-docs"]).unwrap().bench.into_docs);
        assert!(parse(&["micro"]).unwrap().bench.part.is_some());
        assert_eq!(parse(&["restore"]).unwrap().bench.filter.as_deref(), Some("restore"));
    }

    #[test]
    fn the_documents_have_what_was_measured() {
        let Measured { ipvsadm: reports, director, vipd } = read(&recorded()).unwrap();
        assert_eq!(TABLES.recorded().unwrap(), table::page(&reports));
        assert_eq!(SUMMARY.recorded().unwrap(), table::summary(&reports));
        assert!(reports[0].pinned, "the headline is that of one processor");
        let checks = director.expect("health checks are measured");
        assert_eq!(director::TABLES.recorded().unwrap(), director::page(&checks));
        assert_eq!(director::SUMMARY.recorded().unwrap(), director::summary(&checks));
        let adverts = vipd.expect("adverts are measured");
        assert_eq!(vipd::TABLE.recorded().unwrap(), vipd::page(&adverts));
    }

    /// Speed figures come only from the generated tables; no other text may claim any.
    #[test]
    fn nothing_but_the_tables_claims_to_be_so_many_times_as_fast() {
        let read = |path: &str| fs::read_to_string(paths::root().join(path)).unwrap();
        let without_table = |part: &Part| part.replaced(&read(part.file), "").unwrap();
        let others = [
            "ARCHITECTURE.md",
            "crates/ipvs/README.md",
            "crates/ipvsadm/README.md",
            "crates/ipvs-model/README.md",
            "crates/ipvs-sys/README.md",
        ];
        let texts = [TABLES, SUMMARY].iter().map(without_table).chain(others.map(read));
        let found: Vec<String> = texts.flat_map(|text| claims(&text).collect::<Vec<_>>()).collect();
        assert_eq!(found, [""; 0]);
        let claim = "ours is 208.3 times as fast, or 5\u{d7} faster: 1,000 × 10 is a table";
        assert_eq!(claims(claim).collect::<Vec<_>>(), ["208.3 times", "5×"]);
    }

    /// `208.3 times`, `5×`: a number before "times" or `×`, unless the sign stands between two
    /// numbers, as in the name of a table.
    fn claims(text: &str) -> impl Iterator<Item = String> + '_ {
        let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
        let words: Vec<&str> = text.split_whitespace().collect();
        (0..words.len()).filter_map(move |at| {
            let word = words[at];
            let next = words.get(at + 1).copied().unwrap_or_default();
            if is_number(word) && word.contains('×') {
                return Some(word.to_owned());
            }
            (is_number(word) && next.starts_with("times")).then(|| format!("{word} times"))
        })
    }
}
