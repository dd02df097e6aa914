//! What to measure, as `cargo xtask bench vipd` tells the program that measures.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The programs and how long to watch them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// vipd.
    pub vipd: PathBuf,
    /// keepalived and the words that start it.
    pub keepalived: Vec<PathBuf>,
    /// How often each program is watched.
    pub rounds: usize,
    /// How long each program is watched each time, in seconds.
    pub window: u64,
    /// Measure only programs and loads with this in their names.
    pub filter: String,
    /// The folder for files; the results are in `report.json`.
    pub folder: PathBuf,
}
