//! Files to start from: those of ldirectord's corpus, and others by its grammar.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use splitmix::Random;

use super::vocabulary::{GLOBALS, NESTED, ODD_ADDRESSES, ODD_KEYS, ODD_REALS};

/// Where ldirectord's tests have theirs.
const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/ldirectord/tests/cases");

/// The files of the corpus, by name.
pub(super) fn corpus() -> Result<Vec<(String, String)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(CORPUS).with_context(|| format!("cannot list {CORPUS}"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "cf") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            files.push((name, read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {path:?}"))
}

/// What kind of files to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// They are read.
    Verdict,
    /// Both programs are started with them, so they use what can be checked within seconds.
    Table,
}

/// A file by the grammar.
pub(super) fn composed(random: &mut Random, purpose: Purpose) -> String {
    let mut writer = Writer { random, purpose, lines: Vec::new(), indent: "\t" };
    writer.file();
    writer.lines.join("\n") + "\n"
}

struct Writer<'r> {
    random: &'r mut Random,
    purpose: Purpose,
    lines: Vec<String>,
    indent: &'static str,
}

impl Writer<'_> {
    fn odd(&self) -> usize {
        match self.purpose {
            Purpose::Verdict => 30,
            Purpose::Table => usize::MAX,
        }
    }

    fn file(&mut self) {
        self.indent = self.random.pick(&["\t", "    ", "        ", "   \t"]);
        for _ in 0..self.random.below(6) {
            self.global();
        }
        let services = match self.purpose {
            Purpose::Verdict => 1 + self.random.below(4),
            Purpose::Table => 1 + self.random.below(2),
        };
        for number in 0..services {
            if self.random.one_in(3) {
                self.lines.push(String::new());
            }
            self.service(number);
        }
        if self.random.one_in(4) {
            self.global();
        }
    }

    fn global(&mut self) {
        if self.random.one_in(8) {
            self.lines.push("# a comment".to_owned());
            return;
        }
        loop {
            let directive = &GLOBALS[self.random.below(GLOBALS.len())];
            if self.purpose == Purpose::Table && !is_for_tables(directive.name) {
                continue;
            }
            let line = directive.line(self.random, self.odd());
            self.lines.push(line);
            return;
        }
    }

    fn service(&mut self, number: usize) {
        let v6 = self.random.one_in(5);
        let mark = self.random.one_in(6);
        let port = self
            .random
            .pick(&["80", "80", "80", "8080", "443", "25", "53", "3128", "http", "7000"]);
        let port =
            if self.purpose == Purpose::Table { self.random.pick(&["80", "8080"]) } else { port };
        let key = match (v6, mark) {
            _ if self.random.one_in(self.odd()) => self.random.pick(ODD_KEYS).to_owned(),
            (false, false) => {
                format!("virtual=10.70.{number}.{}:{port}", 1 + self.random.below(200))
            }
            (true, false) => {
                format!("virtual6=[fd00:70::{number}:{}]:{port}", 1 + self.random.below(200))
            }
            (false, true) => format!("virtual={}", 1 + number + 4 * self.random.below(200)),
            (true, true) => format!("virtual6={}", 1 + number + 4 * self.random.below(200)),
        };
        self.lines.push(key);
        let reals = self.random.below(4);
        for real in 0..reals {
            self.real(v6, mark, number * 10 + real, port);
        }
        let count = self.random.below(6);
        let mut used = Vec::new();
        for _ in 0..count {
            let directive = &NESTED[self.random.below(NESTED.len())];
            let table = self.purpose == Purpose::Table;
            if used.contains(&directive.name) || table && !is_for_tables(directive.name) {
                continue;
            }
            used.push(directive.name);
            let line = directive.line(self.random, self.odd());
            if table && !fits(&line, v6, mark) {
                continue;
            }
            self.nested(&line);
        }
        if table_needs_service(&used, self.purpose, mark) {
            self.nested("service=http");
        }
        if self.random.one_in(4) {
            let fallback = match v6 {
                true => "fallback6=[fd00:80::99]:80 gate",
                false => "fallback=127.0.0.1:80 gate",
            };
            self.nested(fallback);
        }
        if self.random.one_in(10) {
            self.nested("# nothing more");
        }
    }

    fn nested(&mut self, line: &str) {
        self.lines.push(format!("{}{line}", self.indent));
    }

    fn real(&mut self, v6: bool, mark: bool, number: usize, port: &str) {
        let odd = self.odd();
        let dead = self.random.one_in(5);
        let address = match (v6, dead) {
            (false, false) => format!("10.80.0.{number}"),
            (false, true) => format!("10.66.0.{number}"),
            (true, false) => format!("[fd00:80::{number}]"),
            (true, true) => format!("[fd66::{number}]"),
        };
        let port = if self.random.one_in(8) { "8080" } else { port };
        let address = match self.random.below(8) {
            0 if mark => address,
            1 if !mark => address,
            _ => format!("{address}:{port}"),
        };
        let address = match self.random.one_in(odd) {
            true => self.random.pick(ODD_ADDRESSES).to_owned(),
            false => address,
        };
        let end = match self.random.one_in(odd) {
            true => self.random.pick(ODD_REALS).to_owned(),
            false => {
                let method = self.random.pick(&["gate", "gate", "masq", "ipip"]);
                let weight = self.random.pick(&["", "", " 1", " 5", " 0", " 100"]);
                let own = self.random.pick(&[
                    "",
                    "",
                    "",
                    "",
                    " \"check\", \"alive\"",
                    " \"gone\", \"alive\"",
                ]);
                let thresholds = self.random.pick(&["", "", "", "", " l:2 u:9", " u:7"]);
                format!(" {method}{weight}{own}{thresholds}")
            }
        };
        let six = if v6 { "6" } else { "" };
        self.nested(&format!("real{six}={address}{end}"));
    }
}

/// Directives that change a table, or could.
fn is_for_tables(name: &str) -> bool {
    const NAMES: [&str; 17] = [
        "quiescent",
        "readdquiescent",
        "cleanstop",
        "fallback",
        "fallback6",
        "failurecount",
        "scheduler",
        "schedflags",
        "persistent",
        "netmask",
        "checktype",
        "checkport",
        "request",
        "receive",
        "httpmethod",
        "virtualhost",
        "ops",
    ];
    NAMES.contains(&name)
}

/// Whether a service can have this directive, so that a file for tables isn't refused.
fn fits(line: &str, v6: bool, mark: bool) -> bool {
    let _ = mark;
    match line.split(['=', ' ', '\t']).next() {
        Some("netmask") => line.contains("255") != v6,
        // It belongs to two of the schedulers.
        Some("schedflags") => false,
        _ => !line.contains("www.example.com\"") && !line.contains("://"),
    }
}

/// Whether a mark needs to say what is spoken there: without it, its real servers aren't checked.
fn table_needs_service(used: &[&str], purpose: Purpose, mark: bool) -> bool {
    purpose == Purpose::Table && mark && !used.contains(&"checktype")
}
