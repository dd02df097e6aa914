//! Integration tests: the library and the command line tool against a real kernel.
//!
//! They want root and a kernel with IPVS: `cargo xtask test` brings both.

#![forbid(unsafe_code)]

mod additions;
mod batch;
mod cli;
mod concurrency;
mod controller;
mod direct_routing;
mod drain;
mod endurance;
mod ensure;
mod errors;
mod errors_modules;
mod errors_raw;
mod facts;
mod forwarding;
mod ftp;
mod generated;
mod kill;
mod marks;
mod model;
mod namespaces;
mod operations;
mod overview;
mod parity;
mod persistence;
mod plan;
mod protocols;
mod restore;
mod rights;
mod schedulers;
mod snapshot;
mod sync;
mod sysctls;
mod thresholds;
mod user_namespace;
mod values;

use std::process::ExitCode;

use ipvs_testkit::Suite;

fn main() -> ExitCode {
    if let Some(code) = errors::as_child().or_else(kill::as_child) {
        return code;
    }
    let mut suite = Suite::default();
    suite.prepare(ipvs_tests::load_modules);
    additions::add_to(&mut suite);
    batch::add_to(&mut suite);
    cli::add_to(&mut suite);
    concurrency::add_to(&mut suite);
    controller::add_to(&mut suite);
    direct_routing::add_to(&mut suite);
    drain::add_to(&mut suite);
    endurance::add_to(&mut suite);
    ensure::add_to(&mut suite);
    errors::add_to(&mut suite);
    errors_modules::add_to(&mut suite);
    errors_raw::add_to(&mut suite);
    facts::add_to(&mut suite);
    forwarding::add_to(&mut suite);
    ftp::add_to(&mut suite);
    generated::add_to(&mut suite);
    kill::add_to(&mut suite);
    marks::add_to(&mut suite);
    model::add_to(&mut suite);
    namespaces::add_to(&mut suite);
    operations::add_to(&mut suite);
    overview::add_to(&mut suite);
    parity::add_to(&mut suite);
    persistence::add_to(&mut suite);
    plan::add_to(&mut suite);
    protocols::add_to(&mut suite);
    restore::add_to(&mut suite);
    rights::add_to(&mut suite);
    schedulers::add_to(&mut suite);
    sync::add_to(&mut suite);
    sysctls::add_to(&mut suite);
    thresholds::add_to(&mut suite);
    user_namespace::add_to(&mut suite);
    values::add_to(&mut suite);
    snapshot::add_to(&mut suite);
    suite.run()
}

/// A test that is named after its module and function.
macro_rules! test {
    ($function:ident) => {{
        let module = module_path!().split("::").last().unwrap_or_default();
        ipvs_testkit::Test::new(&format!("{module}::{}", stringify!($function)), $function)
    }};
}
pub(crate) use test;
