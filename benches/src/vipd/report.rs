//! The results.

use serde::{Deserialize, Serialize};

use super::Load;
use crate::usage::Memory;

/// All results of one run of `cargo xtask bench vipd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The date, as `2026-01-31`.
    pub date: String,
    /// keepalived's version.
    pub keepalived: String,
    /// What was measured.
    pub native: Native,
}

/// What adverts cost on this machine's kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Native {
    /// The kernel's release.
    pub kernel: String,
    /// How long each program was watched in each round, in seconds.
    pub window: u64,
    /// A row for each load and program.
    pub costs: Vec<Cost>,
}

/// What one program's adverts cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The program.
    pub program: String,
    /// Its virtual routers.
    pub load: Load,
    /// In each round, the processor time of all its processes, in percent of one core.
    pub cpu: Vec<f64>,
    /// In each round, the adverts as a share of what the interval demands.
    pub sent: Vec<f64>,
    /// What each of its processes took, the one that was started first.
    pub processes: Vec<Process>,
}

/// What one process took.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// In each round, its voluntary context switches divided by the adverts of the program.
    pub waits: Vec<f64>,
    /// Its memory, from the round in which the program had the most.
    pub memory: Memory,
}
