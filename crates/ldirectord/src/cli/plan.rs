//! What a daemon that starts with a file would change in the table at once.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use daemon_kit::say;
use director::{Saved, Setup, preview};
use ipvs::plan::Plan;
use ipvs::{Client, Error};

use crate::file::{Source, Usable};
use crate::maintenance::{self, Maintenance};

/// The longest state that is read.
const LONGEST: u64 = 4 << 20;

/// What a file says, with the real servers that are in maintenance now. If that can't be found out, none
/// are, as for a daemon that starts.
pub(super) fn setup(source: &Source, usable: &Usable) -> Setup {
    let files = match &usable.config.globals.maintenance_dir {
        None => BTreeSet::new(),
        Some(directory) => maintenance::files(&directory.value).unwrap_or_else(|error| {
            say::err(format_args!(
                "ldirectord: maintenancedir {}: {error}; no real server is in maintenance\n",
                directory.value
            ));
            BTreeSet::new()
        }),
    };
    let maintained = Maintenance::of(&usable.config, &source.text).servers(&files);
    Setup::new(usable.pools.clone()).maintained(maintained)
}

/// The steps, in the kernel's present table. `state` is the file in which the instance remembers
/// what it has written before; if it can't be read, that is nothing.
pub(super) fn plan(setup: Setup, state: &Path) -> Result<Plan, Error> {
    let current = Client::connect()?.snapshot()?;
    Ok(preview(setup, &saved(state), &current, &BTreeSet::new()))
}

fn saved(state: &Path) -> Saved {
    let read = || {
        let mut bytes = Vec::new();
        File::open(state).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    };
    read().unwrap_or_default()
}
