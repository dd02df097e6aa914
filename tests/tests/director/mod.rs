//! The health checker, with real servers and traffic.

mod acceptance;
mod commands;
mod daemon;
mod instance;
mod long_run;
mod maintenance;
mod matrix;
mod monitor;
mod names;
mod real_servers;
mod restarts;
mod rights;
mod signals;
mod unit;
mod workers;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    daemon::add_to(suite);
    maintenance::add_to(suite);
    monitor::add_to(suite);
    commands::add_to(suite);
    signals::add_to(suite);
    acceptance::add_to(suite);
    restarts::add_to(suite);
    workers::add_to(suite);
    names::add_to(suite);
    rights::add_to(suite);
    real_servers::add_to(suite);
    matrix::add_to(suite);
    unit::add_to(suite);
    long_run::add_to(suite);
}
