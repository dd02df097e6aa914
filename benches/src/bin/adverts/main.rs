//! Measures what virtual routers cost that are Active: `adverts measure SETTINGS`, with the settings as a
//! JSON file. The results are in `report.json` in the settings' folder. `cargo xtask bench vipd` provides
//! all of that.
//!
//! `adverts bare LOAD`, with the load as JSON, is the bare loop.

#![forbid(unsafe_code)]

mod contender;
mod measure;

use std::fs;

use anyhow::{Result, bail};
use ipvs_benches::vipd::bare;

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare", load] => bare::send(serde_json::from_str(load)?),
        ["measure", settings] => measure::measure(&serde_json::from_slice(&fs::read(settings)?)?),
        _ => bail!("measure and a file of settings, or bare and a load"),
    }
}
