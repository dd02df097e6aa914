//! `ipvsadm`: administers the Linux Virtual Server table (IPVS).

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ipvsadm::main()
}
