//! Links what unwinds the stack into the program instead of loading it each time it is started.
//!
//! Rust's standard library names `libgcc_s.so`, of which a program that ends when it panics uses
//! nothing. Loading it takes a tenth of the time that one change takes, and a seventh of the
//! memory. The compiler has the same as archives; a linker script under that name, where the
//! linker looks first, leads it there.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |what: &str, value: &str| env::var(what).is_ok_and(|found| found == value);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    // Other C libraries have another library for it, and static programs have it as an archive.
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") || is_static {
        return;
    }
    let Some(folder) = env::var_os("OUT_DIR") else { return };
    let script = Path::new(&folder).join("libgcc_s.so");
    // Without the script the program is linked as any other.
    if fs::write(script, "GROUP ( -lgcc_eh -lgcc )\n").is_ok() {
        println!("cargo:rustc-link-search=native={}", Path::new(&folder).display());
    }
}
