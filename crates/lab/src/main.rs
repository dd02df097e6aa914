//! Kernels to run commands in: `lab help`.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    lab::main()
}
