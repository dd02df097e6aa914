//! The library's tree of dependencies without features stays what its documents say that it is.
#![allow(clippy::unwrap_used, reason = "in tests, outside of their functions too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What is linked, besides the project's own crates. Whoever adds to this says why in
/// ARCHITECTURE.md's table.
const LINKED: [&str; 8] =
    ["bitflags", "bytes", "libc", "linux-raw-sys", "log", "netlink-sys", "rustix", "thiserror"];

/// What only runs while building.
const BUILDING: [&str; 5] = ["proc-macro2", "quote", "syn", "thiserror-impl", "unicode-ident"];

/// The project's own.
const OWN: [&str; 3] = ["ipvs-client", "ipvs-os", "ipvs-sys"];

/// The crates that Cargo builds for the library, of these kinds of edges, on Linux; asked without
/// the network.
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
    for document in ["crates/ipvs/README.md", "ARCHITECTURE.md"] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&sentence), "{document} doesn't say: {sentence}");
    }
}
