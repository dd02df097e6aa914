//! `vipd`: addresses that move between machines.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    vip::main()
}
