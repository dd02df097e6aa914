//! What was measured, as it goes from the guest to the host.

use serde::{Deserialize, Serialize};

/// All that was measured in one boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The kernel's release.
    pub kernel: String,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// One kind of work, done by each program in turn.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Row {
    /// The work: `restore`, `list`…
    pub work: String,
    /// What it was done on: `1,000 × 10`…
    pub on: String,
    /// How often each program did it.
    pub rounds: usize,
    /// The C ipvsadm.
    pub theirs: Option<Cost>,
    /// Ours.
    pub ours: Cost,
    /// The bare kernel.
    pub floor: Option<Cost>,
}

/// What a program took: medians of all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From start to end, in seconds.
    pub seconds: f64,
    /// The most memory it had, in KiB.
    pub memory: u64,
}

impl Cost {
    /// The median of several.
    pub fn median(costs: &[Self]) -> Self {
        let mut seconds: Vec<f64> = costs.iter().map(|cost| cost.seconds).collect();
        let mut memory: Vec<u64> = costs.iter().map(|cost| cost.memory).collect();
        seconds.sort_by(f64::total_cmp);
        memory.sort_unstable();
        let middle = costs.len() / 2;
        Self {
            seconds: seconds.get(middle).copied().unwrap_or_default(),
            memory: memory.get(middle).copied().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_one_that_is_far_off() {
        let cost = |seconds, memory| Cost { seconds, memory };
        let costs = [cost(9.0, 1), cost(1.0, 900), cost(1.5, 2)];
        assert_eq!(Cost::median(&costs), cost(1.5, 2));
        assert_eq!(Cost::median(&[]), Cost::default());
    }
}
