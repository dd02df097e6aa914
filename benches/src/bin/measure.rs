//! Measures whole processes on the kernel it runs on: the C ipvsadm, ours, and the floor, in turn.
//!
//! `measure FOLDER OURS FLOOR ROUNDS [FILTER]`: writes `FOLDER/report.json`. It wants root, a
//! network namespace whose table nobody needs, and the C `ipvsadm` on `PATH`. `cargo xtask bench`
//! brings all of that.

#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ipvs_benches::floor::{self, Floor};
use ipvs_benches::report::{Cost, Report, Row};
use ipvs_benches::run::{self, Program};
use ipvs_benches::table::{Table, thousands};

const TABLES: [Table; 4] =
    [Table::new(1_000, 10), Table::new(1, 10_000), Table::new(10_000, 1), Table::new(10_000, 10)];

/// How many connections the connection list has.
const CONNECTIONS: u32 = 100_000;

fn main() -> Result<()> {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.next_if(|word| word == run::ALONE).is_some() {
        return run::alone(words);
    }
    let word = |words: &mut dyn Iterator<Item = OsString>, what: &'static str| {
        words.next().with_context(|| format!("no {what}"))
    };
    let folder = PathBuf::from(word(&mut words, "folder")?);
    let bench = Bench {
        theirs: "ipvsadm".into(),
        ours: word(&mut words, "program")?.into(),
        floor: word(&mut words, "floor")?.into(),
        rounds: word(&mut words, "number of rounds")?.to_str().context("no number")?.parse()?,
        filter: words.next().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default(),
        family: Floor::open()?.family()?,
        folder: folder.clone(),
    };
    let mut rows = Vec::new();
    for table in TABLES {
        bench.table(table, &mut rows)?;
    }
    bench.one_service(&mut rows)?;
    bench.connections(&mut rows)?;
    ensure!(!rows.is_empty(), "nothing has `{}` in its name", bench.filter);
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let report = serde_json::to_vec_pretty(&Report { kernel, rows })?;
    fs::write(folder.join("report.json"), report)?;
    Ok(())
}

/// The programs, and where they are measured.
#[derive(Clone)]
struct Bench {
    theirs: PathBuf,
    ours: PathBuf,
    floor: PathBuf,
    rounds: usize,
    /// What the name of a work and its table has to have in it.
    filter: String,
    family: u16,
    folder: PathBuf,
}

/// One work, as each program is told to do it.
struct Contest<'a> {
    work: &'a str,
    on: String,
    theirs: Program,
    ours: Program,
    floor: Option<Program>,
    /// Puts the kernel into the state in which the work begins.
    prepare: &'a dyn Fn() -> Result<()>,
    /// Looks at what the work has done.
    outcome: &'a dyn Fn() -> Result<String>,
}

impl Bench {
    /// All that is done with a table.
    fn table(&self, table: Table, rows: &mut Vec<Row>) -> Result<()> {
        let works = ["restore", "list -n", "save -n", "list -n --stats", "clear"];
        if !works.iter().any(|work| self.wanted(work, &table.to_string())) {
            return Ok(());
        }
        let rules = self.file("rules", table.rules())?;
        let restore = self.file("restore", floor::restore(table, self.family))?;
        let list = self.file("list", floor::list(table, self.family))?;
        let clear = self.file("clear", floor::clear(self.family))?;
        let play = |script: &Path| {
            let mut program = Program::new(&self.floor, &["play"]);
            program.arguments.push(script.into());
            program
        };
        let (empty, full) = (
            || self.play(&clear),
            || {
                self.play(&clear)?;
                self.play(&restore)
            },
        );
        let (saved, nothing) = (|| self.saved(), || Ok(String::new()));
        self.measure(
            rows,
            &Contest {
                work: "restore",
                on: table.to_string(),
                theirs: Program::new(&self.theirs, &["-R"]).input(&rules),
                ours: Program::new(&self.ours, &["-R"]).input(&rules),
                floor: Some(play(&restore)),
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
                    theirs: Program::new(&self.theirs, arguments),
                    ours: Program::new(&self.ours, arguments),
                    floor: Some(play(&list)),
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
                theirs: Program::new(&self.theirs, &["-C"]),
                ours: Program::new(&self.ours, &["-C"]),
                floor: Some(play(&clear)),
                prepare: &full,
                outcome: &saved,
            },
        )?;
        empty()
    }

    /// One service added by a process of its own.
    fn one_service(&self, rows: &mut Vec<Row>) -> Result<()> {
        let clear = self.file("clear", floor::clear(self.family))?;
        let arguments = &["-A", "-t", "10.64.0.1:80", "-s", "wlc"];
        let bench = Self { rounds: self.rounds * 10, ..self.clone() };
        bench.measure(
            rows,
            &Contest {
                work: "add one service",
                on: "an empty table".into(),
                theirs: Program::new(&self.theirs, arguments),
                ours: Program::new(&self.ours, arguments),
                floor: None,
                prepare: &|| self.play(&clear),
                outcome: &|| self.saved(),
            },
        )
    }

    fn connections(&self, rows: &mut Vec<Row>) -> Result<()> {
        let on = format!("{} connections", thousands(CONNECTIONS));
        if !self.wanted("list -n -c", &on) {
            return Ok(());
        }
        make_connections()?;
        let arguments = &["-L", "-n", "-c"];
        let floor = Program::new(&self.floor, &["read", "/proc/net/ip_vs_conn"]);
        // Times run on between two lists, and are no part of what is compared.
        self.measure(
            rows,
            &Contest {
                work: "list -n -c",
                on,
                theirs: Program::new(&self.theirs, arguments),
                ours: Program::new(&self.ours, arguments),
                floor: Some(floor),
                prepare: &|| Ok(()),
                outcome: &|| Ok(String::new()),
            },
        )
    }

    /// Has each program do the work in turn, and compares what they printed and what came of it.
    fn measure(&self, rows: &mut Vec<Row>, contest: &Contest<'_>) -> Result<()> {
        if !self.wanted(contest.work, &contest.on) {
            return Ok(());
        }
        let mut costs = [const { Vec::new() }; 3];
        let programs = [Some(&contest.theirs), Some(&contest.ours), contest.floor.as_ref()];
        let mut reference = None;
        for round in 0..self.rounds {
            for (index, program) in programs.iter().enumerate() {
                let Some(program) = program else { continue };
                (contest.prepare)()?;
                let output = self.folder.join("output");
                costs[index].push(program.measure(&output)?);
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
        let [theirs, ours, floor] = costs.map(|costs| Cost::median(&costs));
        println!("{} {}: {theirs:?} {ours:?} {floor:?}", contest.work, contest.on);
        rows.push(Row {
            work: contest.work.to_owned(),
            on: contest.on.clone(),
            rounds: self.rounds,
            theirs: Some(theirs),
            ours,
            floor: contest.floor.as_ref().map(|_| floor),
        });
        Ok(())
    }

    fn wanted(&self, work: &str, on: &str) -> bool {
        format!("{work} {on}").contains(&self.filter)
    }

    fn file(&self, name: &str, contents: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::write(&path, contents)?;
        Ok(path)
    }

    fn play(&self, script: &Path) -> Result<()> {
        Floor::open()?.play(&fs::read(script)?)
    }

    /// The table, as the C ipvsadm saves it.
    fn saved(&self) -> Result<String> {
        let output = Command::new(&self.theirs).args(["-S", "-n"]).output()?;
        ensure!(output.status.success(), "the C ipvsadm can't save");
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// What a program printed, without the times of connections.
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

/// Makes connections, by datagrams from many addresses and ports to a service whose real server
/// takes what comes and says nothing.
fn make_connections() -> Result<()> {
    const PER_ADDRESS: u16 = 20_000;
    let addresses = CONNECTIONS / u32::from(PER_ADDRESS);
    let from = |n: u32| Ipv4Addr::from(0x0a02_0001 + n);
    let mut commands = String::from(
        "link add bench0 type dummy\nlink set bench0 up\naddr add 10.3.0.1/24 dev bench0\n\
         neigh add 10.3.0.2 lladdr 02:00:00:00:00:02 dev bench0\naddr add 10.1.0.1/32 dev lo\n",
    );
    (0..addresses).for_each(|n| commands += &format!("addr add {}/32 dev lo\n", from(n)));
    shell(&format!("ip -batch - <<'END'\n{commands}END"))?;
    shell(
        "ipvsadm --set 0 0 30000 && ipvsadm -A -u 10.1.0.1:53 -s rr && \
         ipvsadm -a -u 10.1.0.1:53 -r 10.3.0.2 -g",
    )?;
    for n in 0..addresses {
        for port in 0..PER_ADDRESS {
            let socket = UdpSocket::bind(SocketAddrV4::new(from(n), 10_000 + port))?;
            socket.send_to(b"x", SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, 1), 53))?;
        }
    }
    Ok(())
}

fn shell(script: &str) -> Result<()> {
    let output = Command::new("sh").args(["-ec", script]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{script}` failed: {said}");
    Ok(())
}
