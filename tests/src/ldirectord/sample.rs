//! The sample that the original ships with, and what both programs make of it: as it is, and with
//! each block and each directive that is a comment there enabled in turn.
//!
//! Its text isn't here; it is read from the original's package.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::compare::compare;
use super::sandbox::Sandbox;
use super::tables::{Outcome, Pair, prepared, with_pairs};
use super::verdict::Verdict;

/// Where the package has it.
const SAMPLE: &str = "usr/share/doc/ldirectord/examples/ldirectord.cf";

/// Real servers of the sample whose names nobody can look up, and others for them.
const NAMES: [&str; 2] = ["=sql01->sql03:", "=192.168.10.11->192.168.10.13:"];

/// The sample with something in it enabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// What is enabled.
    pub name: String,
    /// The whole file, comments included.
    pub text: String,
}

/// What both say about a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The variant.
    pub name: String,
    /// The line that the original refuses; none if it accepts the file.
    pub original: Vec<usize>,
    /// The lines that ours refuses.
    pub ours: Vec<usize>,
    /// The deliberate differences: rows of ldirectord's README.
    pub rules: Vec<String>,
    /// What ours refuses because the check isn't there yet, in its words.
    pub not_yet: Vec<String>,
    /// What both said if there is no reason for the difference.
    pub unexplained: Option<String>,
}

/// What both make of a variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The variant.
    pub name: String,
    /// The table of both; none if one of them refuses the file.
    pub same: Option<Vec<String>>,
    /// The deliberate differences that were taken out of the file.
    pub rules: Vec<String>,
    /// How the tables differ, if there is no reason for it.
    pub unexplained: Option<String>,
}

/// Reads the variants of the sample in the original's package.
///
/// # Errors
///
/// If it isn't there, or has nothing to enable.
pub fn variants() -> Result<Vec<Variant>> {
    let variable = lab::userland::RIVALS.variable();
    let root = std::env::var_os(variable);
    let root = root.with_context(|| format!("{variable} doesn't name a userland"))?;
    let path = std::path::Path::new(&root).join(SAMPLE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path:?}"))?;
    let variants = of(&text);
    ensure!(variants.len() > 1, "{path:?} has nothing that is a comment");
    Ok(variants)
}

/// What both say about each variant.
///
/// # Errors
///
/// If a program can't be run, or doesn't end.
pub fn read(sandbox: &Sandbox, variants: &[Variant]) -> Result<Vec<Reading>> {
    let lines = |verdict: &Verdict| match verdict.accepts() {
        true => Vec::new(),
        false => verdict.errors.iter().map(|error| error.line).collect(),
    };
    let read = |variant: &Variant| {
        let (theirs, ours) = sandbox.judge(&variant.text)?;
        let outcome = compare(sandbox, &variant.text)?;
        Ok(Reading {
            name: variant.name.clone(),
            original: lines(&theirs),
            ours: lines(&ours),
            rules: each_once(outcome.rules.iter().map(ToString::to_string)),
            not_yet: each_once(outcome.not_yet.into_iter()),
            unexplained: outcome.unexplained,
        })
    };
    variants.iter().map(read).collect()
}

/// What both make of each variant, with this many pairs of programs at a time.
///
/// # Errors
///
/// If the network can't be built or a program can't be run.
pub fn start(variants: &[Variant], at_once: u8) -> Result<Vec<Table>> {
    let next = AtomicUsize::new(0);
    let tables = Mutex::new(Vec::new());
    let work = |pair: &mut Pair<'_>| -> Result<()> {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(variant) = variants.get(number) else { return Ok(()) };
            let (outcome, rules) = pair.explained(number as u64, &prepared(&variant.text))?;
            let (same, unexplained) = match outcome {
                Outcome::Refused => (None, None),
                Outcome::Same(table) => (Some(table.lines().map(str::to_owned).collect()), None),
                Outcome::Different(said) => (None, Some(said)),
            };
            let rules = each_once(rules.iter().map(ToString::to_string));
            let table = Table { name: variant.name.clone(), same, rules, unexplained };
            let mut tables = tables.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            tables.push((number, table));
        }
    };
    with_pairs(at_once, &work)?;
    let mut tables = tables.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    tables.sort_by_key(|(number, _)| *number);
    Ok(tables.into_iter().map(|(_, table)| table).collect())
}

fn each_once(names: impl Iterator<Item = String>) -> Vec<String> {
    names.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// The variants of a sample, the first of them as it is.
fn of(sample: &str) -> Vec<Variant> {
    let lines: Vec<&str> = sample.lines().collect();
    let blocks = blocks(&lines, "#");
    // The virtual service that isn't a comment.
    let first = self::blocks(&lines, "").into_iter().next();
    let mut variants = Vec::new();
    let mut add = |name: String, lines: &[String]| {
        variants.push(Variant { name, text: lines.join("\n") + "\n" });
    };
    let as_it_is: Vec<String> = lines.iter().map(ToString::to_string).collect();
    add("as it is".to_owned(), &as_it_is);
    for (at, line) in lines.iter().enumerate() {
        let is_in_block = blocks.iter().any(|block| block.contains(&at));
        if let (false, Some(directive)) = (is_in_block, directive(line)) {
            let mut lines = as_it_is.clone();
            lines[at].clone_from(&directive);
            add(directive.trim().to_owned(), &lines);
        }
    }
    for block in blocks {
        let mut name = lines[block.start][1..].to_owned();
        let mut directives =
            lines[block.clone()].iter().filter_map(|line| line.strip_prefix("#\t"));
        if let Some(service) = directives.find(|it| it.starts_with("service=")) {
            name = format!("{name}, {service}");
        }
        let mut enabled = as_it_is.clone();
        for at in block.clone() {
            enabled[at] = lines[at][1..].to_owned();
        }
        add(name.clone(), &enabled);
        let same = |first: &Range<usize>| lines[first.start] == &lines[block.start][1..];
        if let Some(first) = first.clone().filter(same) {
            for line in &mut enabled[first] {
                line.insert(0, '#');
            }
            name += ", in the place of the first";
            add(name.clone(), &enabled);
        }
        if enabled[block.clone()].iter().any(|line| line.contains(NAMES[0])) {
            for line in &mut enabled[block.clone()] {
                *line = line.replace(NAMES[0], NAMES[1]);
            }
            name += ", with addresses for its names";
            add(name.clone(), &enabled);
        }
        let before = enabled.clone();
        for line in &mut enabled[block] {
            if let Some(directive) = directive(line) {
                *line = directive;
            }
        }
        if enabled != before {
            add(format!("{name}, with its commented-out directives"), &enabled);
        }
    }
    variants
}

/// The virtual services whose lines begin with this.
fn blocks(lines: &[&str], prefix: &str) -> Vec<Range<usize>> {
    let rest = |at: usize| lines.get(at).and_then(|line| line.strip_prefix(prefix));
    let starts =
        (0..lines.len()).filter(|&at| rest(at).is_some_and(|it| it.starts_with("virtual")));
    let end = |start: usize| {
        let mut ends = start + 1..;
        ends.find(|&at| !rest(at).is_some_and(|it| it.starts_with('\t'))).unwrap_or(start + 1)
    };
    starts.map(|start| start..end(start)).collect()
}

/// The directive in a line that is a comment: `\t#persistent=600`.
fn directive(line: &str) -> Option<String> {
    let text = line.trim_start();
    let (name, _) = text.strip_prefix('#')?.split_once('=')?;
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric());
    is_name(name).then(|| line.replacen('#', "", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A sample. With a=b in it\n#fallback=127.0.0.1:80\nquiescent=no\n\n\
                        # One\nvirtual=10.0.0.1:80\n\treal=10.0.0.2:80 gate\n\t#persistent=600\n\n\
                        # Two\n#virtual=10.0.0.1:80\n#\treal=10.0.0.3:80 gate\n#\tservice=http\n\n\
                        #virtual = 10.0.0.4:3306\n#\treal=sql01->sql03:3306 gate\n#\t#netmask=255.0.0.0\n";

    #[test]
    fn each_thing_is_enabled_in_turn() {
        let variants = of(TEXT);
        let names: Vec<&str> = variants.iter().map(|it| it.name.as_str()).collect();
        let sql = "virtual = 10.0.0.4:3306";
        let addresses = format!("{sql}, with addresses for its names");
        assert_eq!(
            names,
            [
                "as it is",
                "fallback=127.0.0.1:80",
                "persistent=600",
                "virtual=10.0.0.1:80, service=http",
                "virtual=10.0.0.1:80, service=http, in the place of the first",
                sql,
                &addresses,
                &format!("{addresses}, with its commented-out directives"),
            ]
        );
        assert_eq!(variants[0].text, TEXT);
        for (at, changed) in [
            (1, vec!["fallback=127.0.0.1:80"]),
            (2, vec!["\tpersistent=600"]),
            (3, vec!["virtual=10.0.0.1:80", "\treal=10.0.0.3:80 gate", "\tservice=http"]),
            (
                7,
                vec![
                    "virtual = 10.0.0.4:3306",
                    "\treal=192.168.10.11->192.168.10.13:3306 gate",
                    "\tnetmask=255.0.0.0",
                ],
            ),
        ] {
            let pairs = TEXT.lines().zip(variants[at].text.lines());
            let found: Vec<&str> = pairs.filter(|(a, b)| a != b).map(|(_, b)| b).collect();
            assert_eq!(found, changed, "{}", variants[at].name);
        }
        assert!(variants[4].text.contains("\n#virtual=10.0.0.1:80\n#\treal=10.0.0.2:80 gate\n"));
    }
}
