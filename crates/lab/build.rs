//! Builds the shared objects of `uml-xstate`, which the lab preloads into a guest's kernel.
//!
//! They are needed as files of bytes, not as something to link with, and Cargo has no stable way to
//! say that. Here they are as new as the program itself, and no boot has to wait for Cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The values of the cfg `uml_xstate`, and the environment variables that name the files.
const OBJECTS: [(&str, &str); 2] =
    [("completion", "UML_XSTATE_COMPLETION"), ("amx_host", "UML_XSTATE_AMX_HOST")];

fn main() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../uml-xstate/src");
    println!("cargo::rerun-if-changed={}", source.display());
    let folder = PathBuf::from(variable("OUT_DIR"));
    for (name, own_variable) in OBJECTS {
        let object = folder.join(format!("{name}.so"));
        build(name, &source.join("lib.rs"), &object);
        println!("cargo::rustc-env={own_variable}={}", object.display());
    }
}

fn build(name: &str, source: &Path, object: &Path) {
    let mut rustc = Command::new(variable("RUSTC"));
    rustc.args(["--crate-name", "uml_xstate", "--crate-type", "cdylib", "--edition", "2024"]);
    rustc.args(["--cfg", &format!("uml_xstate=\"{name}\""), "--cap-lints", "allow"]);
    // Without the standard library there is nothing to unwind with, nor anything that would.
    rustc.args(["-C", "panic=abort", "-C", "opt-level=2", "-C", "strip=symbols"]);
    rustc.args(["--target", &variable("TARGET")]);
    if let Ok(linker) = env::var("RUSTC_LINKER") {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    // A symbol that libc lacks would only be noticed when a guest boots.
    rustc.args(["-C", "link-arg=-Wl,-z,defs"]);
    rustc.arg("-o").arg(object).arg(source);
    let status = rustc.status().unwrap_or_else(|error| panic!("can't start {rustc:?}: {error}"));
    assert!(status.success(), "{rustc:?} failed");
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("Cargo sets {name}"))
}
