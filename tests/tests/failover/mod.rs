//! The failover daemon `vipd`: who has the addresses, beside keepalived, FRR and itself.

mod alone;
mod checksums;
mod doctor;
mod faults;
mod matrix;
mod operators;
mod packets;
mod peers;
mod states;
mod sync;
mod unit;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    alone::add_to(suite);
    checksums::add_to(suite);
    doctor::add_to(suite);
    faults::add_to(suite);
    matrix::add_to(suite);
    operators::add_to(suite);
    packets::add_to(suite);
    peers::add_to(suite);
    states::add_to(suite);
    sync::add_to(suite);
    unit::add_to(suite);
}
