//! Packets: where they go, who replies, and what the kernel counts.

mod direct_routing;
mod forwarding;
mod ftp;
mod marks;
mod persistence;
mod protocols;
pub(crate) mod real_server;
mod real_server_boots;
mod schedulers;
mod sync;
mod thresholds;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    direct_routing::add_to(suite);
    forwarding::add_to(suite);
    ftp::add_to(suite);
    marks::add_to(suite);
    persistence::add_to(suite);
    protocols::add_to(suite);
    real_server::add_to(suite);
    real_server_boots::add_to(suite);
    schedulers::add_to(suite);
    sync::add_to(suite);
    thresholds::add_to(suite);
}
