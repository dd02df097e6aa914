//! What a daemon that starts with a file would change in the table at once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use director::{Pool, Saved, Setup, preview};
use ipvs::plan::Plan;
use ipvs::{Client, Error};

/// The longest state that is read.
const LONGEST: u64 = 4 << 20;

/// The steps, in the kernel's present table. `state` is the file in which the instance remembers
/// what it has written before; if it can't be read, that is nothing.
pub(super) fn plan(pools: Vec<Pool>, state: &Path) -> Result<Plan, Error> {
    let current = Client::connect()?.snapshot()?;
    Ok(preview(Setup::new(pools), &saved(state), &current, &BTreeSet::new()))
}

fn saved(state: &Path) -> Saved {
    let read = || {
        let mut bytes = Vec::new();
        File::open(state).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    read().unwrap_or_default()
}
