//! The floor that health checks are measured against: `bare-checker COUNT INTERVAL`, in
//! milliseconds.

#![forbid(unsafe_code)]

use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_benches::director::bare;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let count = words.next().context("how many?")?.parse()?;
    let interval = Duration::from_millis(words.next().context("which interval?")?.parse()?);
    Ok(bare::check(count, interval)?)
}
