//! What was measured, as it goes from the guest to the host.

use serde::{Deserialize, Serialize};

/// All that was measured in one boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the kernel was kept on one processor of the machine.
    pub pinned: bool,
    /// The kernel's release.
    pub kernel: String,
    /// The day, as `2026-01-31`.
    pub date: String,
    /// What was measured.
    pub rows: Vec<Row>,
}

/// One kind of work, done by each program in turn, or by the library in one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The work: `restore`, `list`…; `Client::run`… for the library.
    pub work: String,
    /// What it was done on: `1,000 × 10`…
    pub on: String,
    /// How often ours and the floor did it.
    pub rounds: usize,
    /// How often the C ipvsadm did it.
    pub their_rounds: usize,
    /// The C ipvsadm.
    pub theirs: Option<Cost>,
    /// Ours.
    pub ours: Cost,
    /// The bare kernel.
    pub floor: Option<Cost>,
    /// Reading the table that the work was about, where that is what it is compared with.
    pub snapshot: Option<Cost>,
}

/// What a program took one time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Run {
    /// From start to end, in seconds.
    pub seconds: f64,
    /// The most memory the process had, in KiB; `None` if it had no process of its own.
    pub memory: Option<u64>,
}

/// What a program took, over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// From start to end, in seconds: the median.
    pub seconds: f64,
    /// The shortest of all rounds, in seconds.
    pub least: f64,
    /// The longest of all rounds, in seconds.
    pub most: f64,
    /// The most memory the process had, in KiB: the median. `None` if it had no process of its own.
    pub memory: Option<u64>,
    /// What it did, if that was counted.
    pub counts: Option<Counts>,
}

/// What a program does for a work, whatever a system call costs on a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many system calls it makes, its start included.
    pub system_calls: u64,
    /// How many instructions it executes outside the kernel, its start included.
    pub instructions: u64,
}

impl Cost {
    /// The medians of several runs, and their spread.
    pub fn of(runs: &[Run]) -> Self {
        let mut seconds: Vec<f64> = runs.iter().map(|run| run.seconds).collect();
        let mut memory: Vec<u64> = runs.iter().filter_map(|run| run.memory).collect();
        seconds.sort_by(f64::total_cmp);
        memory.sort_unstable();
        Self {
            seconds: seconds.get(seconds.len() / 2).copied().unwrap_or_default(),
            least: seconds.first().copied().unwrap_or_default(),
            most: seconds.last().copied().unwrap_or_default(),
            memory: memory.get(memory.len() / 2).copied(),
            counts: None,
        }
    }
}

/// A case of the micro benchmarks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Micro {
    /// The step.
    pub work: String,
    /// The crate that does it.
    pub by: String,
    /// How long it takes once: the median of many samples.
    pub seconds: f64,
    /// How often it was done for one sample.
    pub times: u64,
    /// How many instructions it takes once, if they were counted.
    pub instructions: Option<f64>,
    /// How many memory allocations it makes, if they were counted.
    pub allocations: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_one_that_is_far_off() {
        let run = |seconds, memory| Run { seconds, memory: Some(memory) };
        let cost = Cost::of(&[run(9.0, 1), run(1.0, 900), run(1.5, 2)]);
        assert_eq!((cost.seconds, cost.memory), (1.5, Some(2)));
        assert_eq!((cost.least, cost.most), (1.0, 9.0));
        assert_eq!(Cost::of(&[]), Cost::default());
    }
}
