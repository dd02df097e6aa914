//! Programs that are killed, that write concurrently, and that run for long.

mod concurrency;
mod endurance;
pub(crate) mod kill;

use ipvs_testkit::Suite;

pub(crate) fn add_to(suite: &mut Suite) {
    concurrency::add_to(suite);
    endurance::add_to(suite);
    kill::add_to(suite);
}
