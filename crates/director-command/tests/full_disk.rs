//! A program whose output was lost hasn't done what it says.

#![allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::fs::File;
use std::process::Command;

#[test]
fn output_that_does_not_arrive_is_a_failure() {
    for option in ["--help", "--version"] {
        // full(4)
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_director"));
        let said = command.arg(option).stdout(full).output().unwrap();
        let stderr = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(1), "{stderr}");
        assert!(stderr.starts_with("director: cannot write the output: "), "{stderr}");
    }
}
