//! Links the stack unwinder into the program, instead of loading it at each start.
//!
//! Rust's standard library depends on `libgcc_s.so`, which a program that aborts on panic doesn't use.
//! Loading it costs a tenth of the time of a change, and a seventh of the memory. The compiler has the
//! same code as archives; a linker script of that name, where the linker looks first, leads it there.

use std::env;
use std::fs;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |what: &str, value: &str| env::var(what).is_ok_and(|found| found == value);
    let features = env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    let is_static = features.split(',').any(|feature| feature == "crt-static");
    // Other C libraries use another library for this, and static programs link the archive anyway.
    if !is("CARGO_CFG_TARGET_OS", "linux") || !is("CARGO_CFG_TARGET_ENV", "gnu") || is_static {
        return;
    }
    let Some(folder) = env::var_os("OUT_DIR") else { return };
    let script = Path::new(&folder).join("libgcc_s.so");
    // Without the script, the program is linked like any other.
    if fs::write(script, "GROUP ( -lgcc_eh -lgcc )\n").is_ok() {
        println!("cargo:rustc-link-search=native={}", Path::new(&folder).display());
    }
}
