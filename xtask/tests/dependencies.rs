//! Tests that the library's dependency tree, without optional features, is what its documents say.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The crates that are linked, besides the project's own. An addition must be justified in
/// docs/dependencies.md.
const LINKED: [&str; 8] =
    ["bitflags", "bytes", "libc", "linux-raw-sys", "log", "netlink-sys", "rustix", "thiserror"];

/// The crates that run only at build time.
const BUILDING: [&str; 5] = ["proc-macro2", "quote", "syn", "thiserror-impl", "unicode-ident"];

/// The project's own crates.
const OWN: [&str; 3] = ["ipvs-client", "ipvs-os", "ipvs-sys"];

/// The crates that Cargo builds for the library on Linux, along these kinds of edges. Works
/// offline.
fn tree(edges: &str) -> BTreeSet<String> {
    let output = Command::new(env!("CARGO"))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["tree", "--package", "ipvs-client", "--no-default-features", "--edges", edges])
        .args(["--offline", "--locked", "--target", "x86_64-unknown-linux-gnu"])
        .args(["--prefix", "none", "--format", "{p}"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn the_library_depends_on_nothing_else() {
    let linked = &set(LINKED) | &set(OWN);
    assert_eq!(tree("normal,no-proc-macro"), linked);
    assert_eq!(tree("normal"), &linked | &set(BUILDING));
}

#[test]
fn the_documents_name_all_of_it() {
    let list = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
    let sentence = format!(
        "Without features the library links {} crates of others: {}; {} more run while it is built: \
         {}.",
        LINKED.len(),
        list(&LINKED).join(", "),
        BUILDING.len(),
        list(&BUILDING).join(", ")
    );
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for document in ["crates/ipvs/README.md", "docs/dependencies.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&sentence), "{document} doesn't say: {sentence}");
    }
}

/// The packages of a workspace, as Cargo describes them. Works offline.
fn packages(workspace: &str) -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(workspace))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// The third-party crates that the manifests of a workspace name.
fn named_in_manifests(workspace: &str) -> BTreeSet<String> {
    let packages = packages(workspace);
    let dependencies =
        packages.iter().flat_map(|package| package["dependencies"].as_array().unwrap());
    // Our own crates are path dependencies.
    let others = dependencies.filter(|dependency| dependency["path"].is_null());
    others.map(|dependency| dependency["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_dependency_has_a_reason() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/dependencies.md");
    let page = fs::read_to_string(path).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ")).skip(2);
    let crates = rows.flat_map(|row| row.trim_matches('|').split('|').next().unwrap().split(','));
    let listed: BTreeSet<String> = crates.map(|name| name.trim().to_owned()).collect();
    assert_eq!(listed, &named_in_manifests(".") | &named_in_manifests("fuzz"));
}

/// They would take each other's place in `target`, and a test would run the other one.
#[test]
fn no_two_programs_have_one_name() {
    let packages = packages(".");
    let targets = packages.iter().flat_map(|it| it["targets"].as_array().unwrap());
    let is_program = |it: &&Value| it["kind"].as_array().unwrap().contains(&Value::from("bin"));
    let names: Vec<&str> =
        targets.filter(is_program).map(|it| it["name"].as_str().unwrap()).collect();
    let distinct: BTreeSet<&str> = names.iter().copied().collect();
    assert!(names.len() > 5 && distinct.len() == names.len(), "{names:?}");
}
