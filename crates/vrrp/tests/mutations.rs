//! Do the tests notice? Each of the faults below is put into a copy of the crate, one at a time, and the
//! other tests have to fail there.
//!
//! It builds the crate once for each fault, which takes a minute or two, so it runs only when asked:
//!
//! ```console
//! $ cargo test -p vrrp --test mutations -- --ignored --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that can't continue has failed")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fault: its description, the file below `src`, what stands there, and what is put in its place.
type Fault = (&'static str, &'static str, &'static str, &'static str);

include!("mutations/list.rs");

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else if name != "mutations.rs" {
            fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A workspace of this crate and of what its tests need.
fn workspace(root: &Path) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(here.join("../../Cargo.toml")).unwrap();
    let members = "members = [\"crates/*\", \"tests\", \"benches\", \"xtask\"]";
    assert!(manifest.contains(members), "the workspace's manifest has other members");
    let manifest = manifest.replace(members, "members = [\"crates/*\"]");
    let _ = fs::remove_dir_all(root.join("crates"));
    copy(here, &root.join("crates/vrrp"));
    copy(&here.join("../splitmix"), &root.join("crates/splitmix"));
    fs::write(root.join("Cargo.toml"), manifest).unwrap();
    root.join("crates/vrrp/src")
}

/// Runs the tests in a workspace. Returns which of them failed, or the output if none could run.
fn failures(root: &Path) -> Result<Vec<String>, String> {
    // A fault may also make a test run for as long as it's let.
    let output = Command::new("timeout")
        .args(["--kill-after=5", "300", env!("CARGO"), "test", "--offline", "--quiet"])
        .args(["--no-fail-fast", "-p", "vrrp", "--tests"])
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target"))
        .env_remove("VRRP_TEST_SEED")
        .env_remove("VRRP_TEST_RUNS")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.code() == Some(124) {
        return Ok(vec!["the time limit".into()]);
    }
    let failed = text.lines().filter_map(|line| line.trim().strip_prefix("`-p vrrp --"));
    let failed: Vec<_> = failed.map(|it| it.trim_end_matches('`').to_owned()).collect();
    if failed.is_empty() && !output.status.success() { Err(text) } else { Ok(failed) }
}

#[test]
#[ignore = "takes minutes; see the head of this file"]
fn every_fault_is_noticed() {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
    let sources = workspace(&root);
    assert_eq!(failures(&root), Ok(Vec::new()), "without a fault");
    let mut unnoticed = Vec::new();
    for (name, file, before, after) in FAULTS {
        let path = sources.join(file);
        let original = fs::read_to_string(&path).unwrap();
        assert_eq!(original.matches(*before).count(), 1, "{name}: {before} in {file}");
        fs::write(&path, original.replace(*before, after)).unwrap();
        let noticed = failures(&root).unwrap_or_else(|text| panic!("{name}:\n{text}"));
        fs::write(&path, original).unwrap();
        println!("{name}: {}", noticed.join(", "));
        if noticed.is_empty() {
            unnoticed.push(*name);
        }
    }
    println!("{} faults, {} unnoticed", FAULTS.len(), unnoticed.len());
    assert_eq!(unnoticed, Vec::<&str>::new(), "unnoticed");
}
