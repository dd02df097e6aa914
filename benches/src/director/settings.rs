//! What to measure, as `cargo xtask bench director` tells the program that measures.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The programs and how long to watch them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The real servers.
    pub farm: PathBuf,
    /// The bare client.
    pub bare: PathBuf,
    /// The runner and the schedule of `health-probe` alone.
    pub runner: PathBuf,
    /// Ours and the words that start it. Outside of a guest, a model of IPVS is behind it.
    pub ours: Vec<PathBuf>,
    /// keepalived and the words that start it.
    pub keepalived: Vec<PathBuf>,
    /// The library that takes keepalived's requests to IPVS. Not needed in a guest.
    pub stand_in: Option<PathBuf>,
    /// How often the cost and the start of each program are measured.
    pub rounds: usize,
    /// How often to search how many checks fit: each search takes minutes.
    pub searches: usize,
    /// How long each program is watched each time, in seconds.
    pub window: u64,
    /// Measure only programs and work with this in their names.
    pub filter: String,
    /// The folder for files; the results are in `report.json`.
    pub folder: PathBuf,
}
