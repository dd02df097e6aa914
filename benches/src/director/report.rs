//! The results.

use serde::{Deserialize, Serialize};

use crate::usage::Memory;

/// All results of one run of `cargo xtask bench director`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The date, as `2026-01-31`.
    pub date: String,
    /// keepalived's version.
    pub keepalived: String,
    /// On this machine's kernel, with a model of IPVS.
    pub native: Native,
    /// In a guest, with IPVS.
    pub guest: Guest,
}

/// What checks cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Native {
    /// The release of this machine's kernel.
    pub kernel: String,
    /// How long each program was watched in each round, in seconds.
    pub window: u64,
    /// A row for each program and number of checks.
    pub costs: Vec<Cost>,
}

/// What one program's checks cost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The program.
    pub program: String,
    /// How many checks it makes.
    pub checks: usize,
    /// In each round, the processor time of all its processes divided by the answers that the real
    /// servers counted, in microseconds.
    pub per_answer: Vec<f64>,
    /// In each round, the answers as a share of what the interval demands.
    pub answered: Vec<f64>,
    /// The memory of each of its processes, from the round in which they had the most.
    pub memory: Vec<Memory>,
    /// How long each reply about its status took, in milliseconds; none if it has no such thing.
    #[serde(default)]
    pub replies: Vec<f64>,
}

impl Cost {
    /// Resident memory of all its processes, in KiB. What they share counts for each.
    pub fn resident(&self) -> u64 {
        resident(&self.memory)
    }
}

/// Resident memory of these processes, in KiB. What they share counts for each.
pub fn resident(memory: &[Memory]) -> u64 {
    memory.iter().map(|it| it.resident).sum()
}

/// How fast the table follows, and how many checks fit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guest {
    /// The release of the guest's kernel.
    pub kernel: String,
    /// A row for each program.
    pub starts: Vec<Start>,
    /// A row for each program.
    pub capacities: Vec<Capacity>,
}

/// How long a program takes from its start until its table has all healthy real servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// The program and its settings.
    pub program: String,
    /// In each round, in seconds.
    pub seconds: Vec<f64>,
}

/// How many checks a second a program makes before its periods stretch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// The program.
    pub program: String,
    /// In each round.
    pub per_second: Vec<f64>,
}

/// The median, the least and the most; zeros if there are none.
pub fn spread(figures: &[f64]) -> (f64, f64, f64) {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |index: usize| sorted.get(index).copied().unwrap_or_default();
    (at(sorted.len() / 2), at(0), at(sorted.len().saturating_sub(1)))
}
