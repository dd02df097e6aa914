//! `ldirectord` as it is, with a model of IPVS behind it, for kernels that have none.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ipvs::Client;
use ipvs_model::Kernel;

fn main() -> ExitCode {
    ldirectord::main_with(|| Client::with_transport(Kernel::new()))
}
