//! `ldirectord` as it is, with a model of IPVS in place of the kernel's, for kernels that have none.
//!
//! With `--serve-model` it is that model, for all programs of its network namespace.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use ipvs::Client;
use ipvs_benches::director::model::{self, SERVE};

fn main() -> ExitCode {
    if std::env::args().skip(1).eq([SERVE]) {
        return match model::serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    ldirectord::main_with(|| Client::with_transport(model::Socket::default()))
}
