//! `ldirectord`: keeps the IPVS table in line with the health of real servers.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ldirectord::main()
}
