//! Restores of many lines, up to a million, that touch no more objects than an ordinary table has.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs::{self, File};
use std::io::{BufWriter, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ipvs_testkit::{Context, Namespace, Suite, eventually};
use ipvs_tests::{Reader, c_ipvsadm, our_ipvsadm};
use rustix::fs::{MemfdFlags, memfd_create};

use crate::test;

/// How many lines are compared with the C tool, which is a good deal slower.
const COMPARED: usize = 20_000;
const MANY: usize = 100_000;
const MILLION: usize = 1_000_000;

pub(crate) fn add_to(suite: &mut Suite) {
    suite.add(test!(no_line_waits_for_the_next));
    suite.add(test!(many_lines).limit(Duration::from_secs(3 * 60)));
    // A User-Mode Linux guest took three minutes for it, so it runs only when requested by name:
    // `cargo xtask test a_million_lines`.
    if env::args().skip(1).any(|word| word.contains("a_million_lines")) {
        suite.add(test!(a_million_lines).limit(Duration::from_secs(15 * 60)));
    }
}

/// Lines go to the kernel together, but never wait for a line that hasn't arrived yet.
fn no_line_waits_for_the_next(context: &mut Context) -> Result<()> {
    let netns = context.netns("director")?;
    let mut command = Command::new(our_ipvsadm()?);
    command.arg("-R").stdin(Stdio::piped());
    let mut child = netns.run(|| command.spawn())?.context("cannot start ipvsadm")?;
    let mut stdin = child.stdin.take().context("its input is a pipe")?;
    let reader = Reader::new(&netns)?;
    let mut expected = Vec::new();
    for port in 1..=3 {
        // Two lines and the beginning of a third.
        write!(stdin, "-A -f {port} -s rr\n-A -f {} -s rr\n -A", port + 10)?;
        expected.extend([format!("-A -f {port} -s rr"), format!("-A -f {} -s rr", port + 10)]);
        expected.sort();
        eventually(Duration::from_secs(20), || {
            let mut saved = reader.saved()?;
            saved.sort();
            ensure!(saved == expected, "{saved:?}");
            Ok(())
        })?;
        writeln!(stdin, " -f {} -s rr", port + 20)?;
        expected.push(format!("-A -f {} -s rr", port + 20));
    }
    drop(stdin);
    ensure!(child.wait()?.success(), "all lines are right");
    assert_eq!(reader.saved()?.len(), 9);
    Ok(())
}

fn many_lines(context: &mut Context) -> Result<()> {
    restore_many(context, MANY)
}

fn a_million_lines(context: &mut Context) -> Result<()> {
    restore_many(context, MILLION)
}

fn restore_many(context: &mut Context, count: usize) -> Result<()> {
    let reference = context.netns("reference")?;
    let theirs = restore(&reference, &c_ipvsadm()?, COMPARED)?;
    let beside = context.netns("beside")?;
    let few = restore(&beside, &our_ipvsadm()?, COMPARED)?;
    assert_eq!(few.code, theirs.code);
    assert!(few.stderr == theirs.stderr, "what was said of the first {COMPARED} lines");
    assert_eq!(few.table, theirs.table);

    let whole = context.netns("whole")?;
    let all = restore(&whole, &our_ipvsadm()?, count)?;
    // More lines take no more memory, within an allowance for the allocator.
    let (few, many) = (few.memory, all.memory);
    assert!(many <= few + 1024, "{few} kB for {COMPARED} lines, {many} kB for {count}");
    Ok(())
}

struct Restored {
    code: Option<i32>,
    stderr: String,
    table: BTreeSet<String>,
    /// Its peak memory, in kB.
    memory: u64,
}

/// Runs the first `count` lines with `-R`, and compares the outcome with what [`Lines`] expects:
/// the table, how often the kernel refused, and the last line's exit code.
fn restore(netns: &Namespace, program: &Path, count: usize) -> Result<Restored> {
    let mut stderr = File::from(memfd_create("stderr", MemfdFlags::CLOEXEC)?);
    let mut command = Command::new(program);
    command.arg0("ipvsadm").arg("-R").stdin(Stdio::piped()).stderr(stderr.try_clone()?);
    let mut child = netns.run(|| command.spawn())?.context("cannot start ipvsadm")?;
    let mut lines = Lines::default();
    let mut stdin = BufWriter::new(child.stdin.take().context("its input is a pipe")?);
    for _ in 0..count {
        let line = lines.next_line();
        stdin.write_all(line.as_bytes()).context("ipvsadm doesn't read on")?;
    }
    stdin.flush()?;
    // It is waiting for more input by now, or about to.
    let memory = peak_memory(child.id())?;
    drop(stdin);
    let code = child.wait()?.code();

    stderr.rewind()?;
    let mut said = String::new();
    stderr.read_to_string(&mut said)?;
    let table: BTreeSet<_> = Reader::new(netns)?.saved()?.into_iter().collect();
    let name = program.display();
    assert_eq!(table, lines.table(), "{name}, {count} lines");
    assert_eq!(said.lines().count(), lines.refused, "{name}, {count} lines");
    // The last line decides: -1 if the kernel refused it, 0 if not.
    assert_eq!(code, Some(if lines.last_was_refused { 255 } else { 0 }), "{name}, {count} lines");
    Ok(Restored { code, stderr: said, table, memory })
}

/// `VmHWM` of proc(5), in kB.
fn peak_memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else {
        bail!("no VmHWM: {status}");
    };
    let number = line.trim().strip_suffix(" kB").context("in kB")?;
    number.trim().parse().with_context(|| format!("VmHWM:{line}"))
}

/// Generates pseudo-random lines, and keeps track of their effect on the table.
#[derive(Default)]
struct Lines {
    drawn: u64,
    /// The real servers' weights, by service and real server.
    services: BTreeMap<u64, BTreeMap<u64, u64>>,
    refused: usize,
    last_was_refused: bool,
}

impl Lines {
    /// Services differ in their ports, real servers in the end of their addresses: 1,000 objects at
    /// most.
    const SERVICES: u64 = 100;
    const SERVERS: u64 = 9;

    fn next_line(&mut self) -> String {
        let port = 1 + self.draw(Self::SERVICES);
        let host = 1 + self.draw(Self::SERVERS);
        let weight = self.draw(100);
        let service = format!("-t 192.0.2.53:{port}");
        let server = format!("{service} -r 198.51.100.{host}");
        let servers = self.services.get_mut(&port);
        let (line, done) = match Self::pick(&mut self.drawn, 32) {
            0..4 => {
                let new = servers.is_none();
                self.services.entry(port).or_default();
                (format!("-A {service} -s rr\n"), new)
            }
            4 => (format!("-D {service}\n"), self.services.remove(&port).is_some()),
            5..7 => (format!("-E {service} -s rr\n"), servers.is_some()),
            7..16 => {
                let new = servers.is_some_and(|servers| {
                    let new = !servers.contains_key(&host);
                    servers.entry(host).or_insert(weight);
                    new
                });
                (format!("-a {server} -w {weight}\n"), new)
            }
            16..18 => {
                let there = servers.is_some_and(|servers| servers.remove(&host).is_some());
                (format!("-d {server}\n"), there)
            }
            _ => {
                let known = servers.and_then(|servers| servers.get_mut(&host));
                let there = known.map(|known| *known = weight).is_some();
                (format!("-e {server} -w {weight}\n"), there)
            }
        };
        self.refused += usize::from(!done);
        self.last_was_refused = !done;
        line
    }

    fn draw(&mut self, below: u64) -> u64 {
        Self::pick(&mut self.drawn, below)
    }

    /// Knuth's linear congruential generator MMIX, whose upper bits are the better ones.
    fn pick(drawn: &mut u64, below: u64) -> u64 {
        *drawn =
            drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*drawn >> 33) % below
    }

    /// The table as `ipvsadm -S -n` writes it.
    fn table(&self) -> BTreeSet<String> {
        let mut table = BTreeSet::new();
        for (port, servers) in &self.services {
            let service = format!("-t 192.0.2.53:{port}");
            table.insert(format!("-A {service} -s rr"));
            for (host, weight) in servers {
                table.insert(format!("-a {service} -r 198.51.100.{host}:{port} -g -w {weight}"));
            }
        }
        table
    }
}
