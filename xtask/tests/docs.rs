//! Checks what the documents promise. A named test must exist in the linked file, and the line that
//! adds a crate must name that crate in its current version.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use serde_json::Value;

/// The function and the file of each link whose text is a function: ``[`function`](path/file.rs)``.
fn named_functions(text: &str) -> Vec<(&str, &str)> {
    let links = text.split("[`").skip(1);
    links
        .filter_map(|rest| {
            let (name, rest) = rest.split_once("`](")?;
            let (path, _) = rest.split_once(')')?;
            path.ends_with(".rs").then_some((name, path))
        })
        .collect()
}

/// Whether a source has a test of that name, either for Rust's own harness or for the integration
/// test suite.
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines = || source.lines().map(str::trim_start);
    // Other attributes may stand between the attribute and the function, but no blank line.
    let mut marked = false;
    let of_rust = lines().any(|line| {
        let found = marked && line.starts_with(&head);
        marked = line == "#[test]" || (marked && line.starts_with("#["));
        found
    });
    let suite = format!("suite.add(test!({name})");
    // The acceptance scenarios: a name and the scenario's identifier.
    let scenario = format!("fn {name} \"");
    of_rust
        || lines().any(|line| line.starts_with(&scenario))
        || (lines().any(|line| line.starts_with(&head))
            && lines().any(|line| line.starts_with(&suite)))
}

#[test]
fn every_test_that_is_linked_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (comparison, _) in COMPARISONS {
        let page = fs::read_to_string(root.join(comparison)).unwrap();
        let named = named_functions(&page);
        assert!(named.len() > 10, "the links of {comparison} weren't found: {named:?}");
        for (name, path) in named {
            let source = fs::read_to_string(root.join("docs").join(path))
                .unwrap_or_else(|error| panic!("{comparison} links to {path}: {error}"));
            assert!(
                has_test(&source, name),
                "{comparison} names a test {name} in {path}: there is none"
            );
        }
    }
}

/// The pages that compare this project with others, and how their tables begin.
const COMPARISONS: [(&str, &str); 2] = [
    ("docs/comparison.md", "| | `ipvs` |"),
    ("docs/health-checkers.md", "| | ours | ldirectord (Perl) |"),
];

/// The rows of a table that begins like this: a label, and a cell for each program.
fn comparison<'a>(text: &'a str, start: &str) -> BTreeMap<&'a str, Vec<&'a str>> {
    let rows = text.lines().skip_while(|line| !line.starts_with(start)).skip(2);
    let rows = rows.take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        (cells.next().unwrap(), cells.collect())
    })
    .collect()
}

#[test]
fn the_readme_compares_as_the_whole_comparisons_do() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| {
        fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    };
    let readme = read("README.md");
    for (path, start) in COMPARISONS {
        let page = read(path);
        let (short, whole) = (comparison(&readme, start), comparison(&page, start));
        assert!(short.len() >= 5 && short.len() < whole.len(), "{short:?}");
        for (label, cells) in short {
            let [ours, others @ ..] = &cells[..] else { panic!("a row without cells: {label}") };
            assert_eq!(*ours, "yes", "{label}");
            assert!(whole[label][0].starts_with("[`"), "no test shows: {label}");
            assert_eq!(others, &whole[label][1..], "{label}");
        }
    }
}

/// The workspace's packages to publish: name, `MAJOR.MINOR`, and README.
fn published() -> Vec<(String, String, String)> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    // `publish = false` is an empty list of registries.
    let published = packages.filter(|package| package["publish"].is_null());
    published
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap().to_owned();
            let manifest = text("manifest_path");
            let readme = Path::new(&manifest).with_file_name(text("readme"));
            let version = text("version");
            let (release, _patch) = version.rsplit_once('.').unwrap();
            (text("name"), release.to_owned(), fs::read_to_string(readme).unwrap())
        })
        .collect()
}

/// Each README begins with the lines that add its crate, and says whether the registry has it, so
/// that readers know before they type them. Once a version is published, remove the sentence and
/// this test.
#[test]
fn each_readme_begins_with_how_to_get_the_crate() {
    let published = published();
    assert!(published.len() >= 5, "{published:?}");
    for (name, release, readme) in published {
        let start = match name.as_str() {
            // They are programs.
            "ipvsadm" | "ldirectord" => {
                format!("```console\n$ cargo install {name}@{release}\n```\n")
            }
            "ipvs-model" => format!("```toml\n[dev-dependencies]\n{name} = \"{release}\"\n```\n"),
            // Most checks need TLS.
            "health-probe" => format!(
                "```toml\n[dependencies]\n{name} = {{ version = \"{release}\", features = [\"tls\"] }}\n```\n"
            ),
            _ => format!("```toml\n[dependencies]\n{name} = \"{release}\"\n```\n"),
        };
        let (_title, rest) = readme.split_once("\n\n").unwrap();
        assert!(rest.starts_with(&start), "README of {name} doesn't begin with {start}");
        let sentence = format!("Version {release} isn't published yet");
        assert!(rest.contains(&sentence), "README of {name} doesn't say: {sentence}");
    }
}

#[test]
fn links_that_name_a_function_are_found() {
    let text = "| [`a_test`](tests/tests/a.rs), [`b`](c.rs) | [`ipvs`](crates/ipvs) [words](d.rs)";
    assert_eq!(named_functions(text), [("a_test", "tests/tests/a.rs"), ("b", "c.rs")]);
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let source = "
        suite.add(test!(added).limit(LIMIT));
        suite.add(test!(gone));
        fn added(context: &mut Context) -> Result<()> {
        fn helper() {
        #[test]
        #[cfg(unix)]
        fn marked() {
        #[test]
        fn other() {
        }
        fn behind_a_test() {
    ";
    assert!(["added", "marked", "other"].iter().all(|name| has_test(source, name)));
    for name in ["gone", "helper", "behind_a_test", "add", "missing"] {
        assert!(!has_test(source, name), "{name}");
    }
}

/// No names, no files.
struct Nowhere;

impl ldirectord::Surroundings for Nowhere {
    fn host(&self, _: &str, _: ipvs::Family) -> Option<IpAddr> {
        None
    }
    fn port(&self, _: &str, _: ldirectord::Protocol) -> Option<u16> {
        None
    }
    fn can_append(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn is_directory(&self, _: &Path) -> bool {
        true
    }
}

/// A reader of the page types these files.
#[test]
fn the_files_of_the_cluster_page_have_no_mistakes() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = fs::read_to_string(root.join("docs/cluster.md")).unwrap();
    let file = |language: &str| {
        let start = page.find(&format!("```{language}\n")).expect("a file on the page");
        let text = &page[start + language.len() + 4..];
        text[..text.find("```").expect("its end")].to_owned()
    };
    let config = vip::config::parse(&file("toml")).expect("a file without mistakes");
    let service = config.vips[0].track[0].what.to_string();
    let (cf, diagnostics) = ldirectord::parse(&file("ini"), &Nowhere);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let services = cf.expect("a file without mistakes").services;
    assert_eq!(services.len(), 1);
    assert_eq!(service, "service tcp/10.10.10.53:80");
}
