//! `director`: a cluster of IPVS directors.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    director_command::main()
}
