//! Integration tests: the library and the command line tool against a real kernel.
//!
//! They need root and a kernel with IPVS; `cargo xtask test` provides both.

#![forbid(unsafe_code)]

mod director;
mod failover;
mod ipvsadm;
mod library;
mod robustness;
mod traffic;

use std::process::ExitCode;

use ipvs_testkit::Suite;

fn main() -> ExitCode {
    let child = library::errors::as_child().or_else(robustness::kill::as_child);
    if let Some(code) = child.or_else(traffic::real_server::as_child) {
        return code;
    }
    let mut suite = Suite::default();
    suite.prepare(ipvs_tests::load_modules);
    library::add_to(&mut suite);
    ipvsadm::add_to(&mut suite);
    traffic::add_to(&mut suite);
    robustness::add_to(&mut suite);
    director::add_to(&mut suite);
    failover::add_to(&mut suite);
    suite.run()
}

/// A test named after its path: `traffic::forwarding::tunnels_of_ipv4_in_ipv4`.
macro_rules! test {
    ($function:ident) => {{
        let (_program, module) = module_path!().split_once("::").unwrap_or_default();
        ipvs_testkit::Test::new(&format!("{module}::{}", stringify!($function)), $function)
    }};
}
pub(crate) use test;
