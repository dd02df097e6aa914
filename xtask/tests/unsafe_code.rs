//! Tests that unsafe code is only in `ipvs-os`, and in `uml-xstate`, which isn't published.

#![forbid(unsafe_code)]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The packages that may contain unsafe code. An addition must be justified in ARCHITECTURE.md.
const ALLOWED: [&str; 2] = ["ipvs-os", "uml-xstate"];

#[test]
fn every_target_of_all_other_packages_forbids_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let cargo = std::env::var_os("CARGO").unwrap();
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(&root)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut looked_at = 0;
    for package in metadata["packages"].as_array().unwrap() {
        if ALLOWED.iter().any(|name| package["name"] == *name) {
            continue;
        }
        for target in package["targets"].as_array().unwrap() {
            let kind = target["kind"][0].as_str().unwrap();
            // Check only what is shipped: not tests, examples or build scripts.
            if !["lib", "bin", "proc-macro"].contains(&kind) {
                continue;
            }
            let path = target["src_path"].as_str().unwrap();
            let source = fs::read_to_string(path).unwrap();
            assert!(source.contains("\n#![forbid(unsafe_code)]\n"), "{path} doesn't forbid it");
            looked_at += 1;
        }
    }
    assert!(looked_at >= 10, "{looked_at} targets");
}
