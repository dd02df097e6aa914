//! The library against a real kernel, with results read back by other means.

mod batch;
mod controller;
mod drain;
mod ensure;
pub(crate) mod errors;
mod facts;
mod model;
mod namespaces;
mod operations;
mod overview;
mod plan;
mod snapshot;
mod sysctls;
mod user_namespace;
mod values;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    batch::add_to(suite);
    controller::add_to(suite);
    drain::add_to(suite);
    ensure::add_to(suite);
    errors::add_to(suite);
    facts::add_to(suite);
    model::add_to(suite);
    namespaces::add_to(suite);
    operations::add_to(suite);
    overview::add_to(suite);
    plan::add_to(suite);
    snapshot::add_to(suite);
    sysctls::add_to(suite);
    user_namespace::add_to(suite);
    values::add_to(suite);
}
