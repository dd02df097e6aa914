//! The folders of `src` are layers: a file imports only from its own layer and those below it, and
//! from the file that defines the item. No two files import each other, not even indirectly.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the bottom up. `lib.rs` is the facade in front of all of them, and imports nothing.
const FLOORS: [&str; 12] = [
    "model",
    "error",
    "trace",
    "wire",
    "serde",
    "proto",
    "procfs",
    "transport",
    "change",
    "reconcile",
    "client",
    "aio",
];

fn floor(module: &str) -> usize {
    let folder = module.split("::").next().unwrap_or_default();
    FLOORS.iter().position(|floor| *floor == folder).unwrap_or_else(|| {
        panic!("`{folder}` is not in the list of floors: put it where it belongs in {FLOORS:?}")
    })
}

/// Every module of `src`, with its text except comments and tests.
fn modules() -> BTreeMap<String, String> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => walk(&path, files),
                false if path.extension().is_some_and(|it| it == "rs") => files.push(path),
                false => {}
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&src, &mut files);
    let module = |path: &Path| {
        let path = path.strip_prefix(&src).unwrap().with_extension("");
        let path = path.to_str().unwrap().replace('/', "::");
        path.strip_suffix("::mod").map_or(path.clone(), str::to_owned)
    };
    let code = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        lines.collect::<Vec<_>>().join("\n")
    };
    files.iter().map(|path| (module(path), code(path))).filter(|(name, _)| name != "lib").collect()
}

/// The module that a path after `crate::` leads to, without the item.
fn target<'a>(path: &str, modules: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
    let mut path = &path[..end.unwrap_or(path.len())];
    loop {
        if let Some((module, _)) = modules.get_key_value(path) {
            return Some(module);
        }
        path = path.rsplit_once("::")?.0;
    }
}

#[test]
fn a_file_imports_from_below_and_from_where_the_item_is_defined() {
    let modules = modules();
    let mut imports: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, code) in &modules {
        assert!(!code.contains("super::super"), "{module} climbs: import from `crate::`");
        for path in code.split("crate::").skip(1) {
            let used = target(path, &modules).unwrap_or_else(|| {
                let path = path.lines().next().unwrap_or_default();
                panic!("{module} imports `crate::{path}`: import from the file that defines it")
            });
            assert!(floor(used) <= floor(module), "{module} imports {used}, which is above it");
            if used != module {
                imports.entry(module).or_default().insert(used);
            }
        }
    }
    assert!(imports.len() > 40, "most files import something: {imports:?}");
    // A file without imports that remain is done; files that are never done form a cycle.
    while !imports.is_empty() {
        let left: BTreeSet<&str> = imports.keys().copied().collect();
        imports.retain(|_, used| used.iter().any(|used| left.contains(used)));
        assert!(imports.len() < left.len(), "these import one another: {imports:#?}");
    }
}
