//! The health checker, with real servers and traffic.

mod matrix;
mod real_servers;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    real_servers::add_to(suite);
    matrix::add_to(suite);
}
