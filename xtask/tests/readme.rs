//! What README.md links to: a test that it names has to be a test in the file that it links to.

use std::fs;
use std::path::Path;

/// The function and the file of each link that names a function: ``[`function`](path/file.rs)``.
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

/// Whether a source has a test of that name: one of Rust's own harness, or one that is added to the
/// suite of integration tests.
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines = || source.lines().map(str::trim_start);
    // Between the attribute and the function there may be other attributes, but no blank line.
    let mut marked = false;
    let of_rust = lines().any(|line| {
        let found = marked && line.starts_with(&head);
        marked = line == "#[test]" || (marked && line.starts_with("#["));
        found
    });
    let suite = format!("suite.add(test!({name})");
    of_rust
        || (lines().any(|line| line.starts_with(&head))
            && lines().any(|line| line.starts_with(&suite)))
}

#[test]
fn every_test_that_is_linked_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let named = named_functions(&readme);
    assert!(named.len() > 10, "the comparison's links weren't found: {named:?}");
    for (name, path) in named {
        let source = fs::read_to_string(root.join(path))
            .unwrap_or_else(|error| panic!("README.md links to {path}: {error}"));
        assert!(has_test(&source, name), "README.md names a test {name} in {path}: there is none");
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
