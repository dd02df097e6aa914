//! Files of all kinds, and what the original ldirectord made of them.

mod machine;

use std::fs;
use std::path::{Path, PathBuf};

use ldirectord::{Diagnostic, Severity, parse, report};
use machine::Machine;
use proptest::prelude::*;

fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

fn read(name: &str) -> String {
    fs::read_to_string(cases().join(format!("{name}.cf")))
        .unwrap_or_else(|it| panic!("{name}: {it}"))
}

fn line(source: &str, diagnostic: &Diagnostic) -> usize {
    source[..diagnostic.span.start].matches('\n').count() + 1
}

#[test]
fn each_file_is_taken_or_refused_as_by_the_original_or_for_a_reason() {
    let table = fs::read_to_string(cases().join("verdicts.tsv")).expect("the table is there");
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in table.lines().filter(|row| !row.starts_with('#')) {
        count += 1;
        let columns: Vec<&str> = row.split('\t').collect();
        let [name, original, ours, about, why] = columns[..] else { panic!("{row}") };
        assert_eq!(ours == "-", why == "-", "a difference needs a reason: {name}");
        let expected = if ours == "-" { original } else { ours };
        let source = read(name);
        let (config, diagnostics) = parse(&source, &Machine);
        let text = report(name, &source, &diagnostics).expect("places are in the file");
        let refused_at: Vec<usize> = diagnostics
            .iter()
            .filter(|it| it.severity == Severity::Error)
            .map(|it| line(&source, it))
            .collect();
        match (expected.split_once(' '), config) {
            (None, Some(_)) if expected == "accept" => {}
            (None, None) if expected == "refuse" => {}
            // The original reports the line after a block for a mistake in the block.
            (Some((_, named)), None) => {
                let named: usize = named.parse().expect("a number");
                let same = refused_at.contains(&named) || name == "virt-duplicate";
                if !same {
                    wrong.push(format!("{name}: the original names line {named}\n{text}"));
                }
            }
            (_, config) => {
                let found = if config.is_some() { "accept" } else { "refuse" };
                wrong.push(format!("{name} ({about}): {found} instead of {expected}\n{text}"));
            }
        }
    }
    let files = fs::read_dir(cases()).expect("it's there").count();
    // The two tables are in the directory, too.
    assert_eq!(count + 2, files, "each file has a row");
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

/// What the original says about these is what `cargo xtask parity ldirectord` found out.
#[test]
fn a_line_is_taken_or_refused_as_by_the_original() {
    for (line, accepted) in [
        // The first port of that name, of any protocol.
        ("real=10.0.0.2:tftp gate", true),
        ("real=10.0.0.2:80 gate \"a b\", \"c\"", true),
        // A blank and a number are the weight, wherever they are.
        ("real=10.0.0.2:80 gate \"a 1\", \"c\"", false),
        ("real=10.0.0.2:80 gate, 5", true),
        ("real=10.0.0.2:80 gate,", false),
        ("real=10.0.0.2:80 gate 1 l:2 u:3", true),
        ("real=10.0.0.2:80 gate 1 l:2 l:3", false),
        ("emailalertfreq=5 s", true),
        ("emailalertfreq=every 5", false),
        ("emailalertstatus=starting,", true),
        ("emailalertstatus=,starting", false),
        ("load=\"a\"", true),
        ("load=\"!\"", false),
    ] {
        let source = format!("virtual=10.0.0.1:80\n\t{line}\n");
        let (config, diagnostics) = parse(&source, &Machine);
        assert_eq!(config.is_some(), accepted, "{line}: {diagnostics:?}");
    }
}

/// Found by `cargo xtask parity ldirectord --seed 78`.
#[test]
fn the_length_of_a_prefix_has_no_sign() {
    for (length, accepted) in [("4", true), ("+4", false), ("128", true), ("129", false)] {
        let source =
            format!("virtual6=[fd00::1]:80\n\treal6=[fd00::2]:80 gate\n\tnetmask={length}\n");
        let (config, diagnostics) = parse(&source, &Machine);
        assert_eq!(config.is_some(), accepted, "{length}: {diagnostics:?}");
    }
}

/// The original looks up the address only after it has read the directives.
#[test]
fn the_directives_of_a_virtual_service_whose_address_is_wrong_are_read_too() {
    let source = "virtual=no.such.name:80\n\treal6=[fd00::2]:80 gate\n\tquiescent=maybe\n";
    let (config, diagnostics) = parse(source, &Machine);
    assert_eq!(config, None);
    let lines: Vec<usize> = diagnostics.iter().map(|it| line(source, it)).collect();
    assert_eq!(lines, [1, 2, 3]);
}

proptest! {
    /// For any file: no panic, every place lies in the file, and a file without errors is accepted.
    #[test]
    fn places_are_in_the_file_whatever_it_is(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "virtual=10.0.0.1:80\n", "virtual=7\n", "virtual6=[fd00::1]:80\n", "\treal=10.0.0.2:80 gate",
                    "\treal=", "10.0.0.2->10.0.0.9:80 masq 5 \"a\", \"b\" l:1 u:2\n", "    scheduler=rr\n",
                    "\treceive=\"a(b\"\n", "\tcheckport=", "checktimeout=", "99999999999\n", "\n", "#", "\"", "=",
                    "\t", " ", "\r\n", "\r", "é", "\u{FEFF}", "fallback=", "->", "[", "]", ":",
                ]).prop_map(str::to_owned),
                ".{0,8}",
            ],
            0..14,
        ),
    ) {
        let source = pieces.concat();
        let (config, diagnostics) = parse(&source, &Machine);
        let errors = diagnostics.iter().filter(|it| it.severity == Severity::Error).count();
        prop_assert_eq!(config.is_none(), errors > 0);
        for diagnostic in &diagnostics {
            prop_assert!(source.get(diagnostic.span.clone()).is_some(), "{:?}", diagnostic);
            if let Some((span, _)) = &diagnostic.related {
                prop_assert!(source.get(span.clone()).is_some(), "{:?}", diagnostic);
            }
        }
        prop_assert!(report("x", &source, &diagnostics).is_ok());
    }
}
