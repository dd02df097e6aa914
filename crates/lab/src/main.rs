//! Runs commands in Linux kernels: see `lab help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::main()
}
