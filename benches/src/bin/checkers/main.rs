//! Measures health checks: `checkers native|guest SETTINGS`, with the settings as a JSON file. The
//! results are in `report.json` in the settings' folder. `cargo xtask bench director` provides all of
//! that.

#![forbid(unsafe_code)]

mod contender;
mod farm;
mod guest;
mod model;
mod native;
mod replies;

use std::fs;

use anyhow::{Context as _, Result, bail};
use ipvs_benches::director::settings::Settings;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Everything that is measured runs with this niceness, so that measuring doesn't disturb the rest of
/// the machine.
const NICENESS: i32 = 10;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [place, settings] = &words[..] else { bail!("native or guest, and a file of settings") };
    let settings: Settings = serde_json::from_slice(&fs::read(settings)?)?;
    let _ = rustix::process::nice(NICENESS);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).context("can't open that many files")?;
    let report = match place.as_str() {
        "native" => serde_json::to_vec_pretty(&native::measure(&settings)?),
        "guest" => serde_json::to_vec_pretty(&guest::measure(&settings)?),
        _ => bail!("native or guest?"),
    }?;
    fs::write(settings.folder.join("report.json"), report)?;
    Ok(())
}

/// The running kernel's release.
fn kernel() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}
