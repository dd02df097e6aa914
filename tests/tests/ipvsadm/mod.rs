//! The command line tool, compared with the C program, and its additions.

mod additions;
mod cli;
mod generated;
mod parity;
mod restore;
mod rights;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    additions::add_to(suite);
    cli::add_to(suite);
    generated::add_to(suite);
    parity::add_to(suite);
    restore::add_to(suite);
    rights::add_to(suite);
}
