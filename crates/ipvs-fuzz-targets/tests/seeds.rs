//! Every fuzz target on every stored input: seeds, and inputs that once made it fail.

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ipvs_fuzz_targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|it| it.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_seed_is_as_its_target_says() {
    for (name, target) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(fuzz().join("seeds").join(name)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count >= 5, "{name} has {count} seeds");
    }
}

#[test]
fn every_target_has_a_program_and_seeds_and_nothing_else_does() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    assert_eq!(names(&fuzz().join("seeds")), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in targets {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}

/// Inputs should reach the code where something can go wrong.
#[test]
fn most_seeds_mean_something() {
    let seeds = fuzz().join("seeds");
    let all = |name: &str| {
        let entries = fs::read_dir(seeds.join(name)).unwrap();
        entries.map(|it| fs::read(it.unwrap().path()).unwrap()).collect::<Vec<_>>()
    };
    let decodes = |bytes: &Vec<u8>| {
        ipvs_sys::Messages::new(bytes).all(|frame| frame.is_ok()) || cfg!(target_endian = "big")
    };
    assert!(all("decode").iter().all(decodes));
    let is_table = |bytes: &Vec<u8>| {
        let text = std::str::from_utf8(bytes).unwrap();
        toml::from_str::<ipvs::Table>(text).is_ok()
            || serde_json::from_str::<ipvs::Table>(text).is_ok()
            || serde_json::from_str::<ipvs::plan::Plan>(text).is_ok()
    };
    let tables = all("files").iter().filter(|it| is_table(it)).count();
    assert!(tables >= 5, "{tables} files are tables or plans");
}
