//! The results, in the form in which the guest sends them to the host.

use serde::{Deserialize, Serialize};

/// All results of one boot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Whether the kernel was pinned to one processor of the machine.
    pub pinned: bool,
    /// The kernel's release.
    pub kernel: String,
    /// The date, as `2026-01-31`.
    pub date: String,
    /// The results.
    pub rows: Vec<Row>,
}

/// One kind of work, done by each program in turn, or by the library within one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The work: `restore`, `list`… for programs; `Client::run`… for the library.
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
    /// The cost of reading the table that the work is about, where the work is compared with that.
    pub snapshot: Option<Cost>,
}

/// The cost of a single run of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Run {
    /// Elapsed time in seconds.
    pub seconds: f64,
    /// Peak memory of the process in KiB; `None` if it had no process of its own.
    pub memory: Option<u64>,
}

/// The cost of a program over all rounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Elapsed time in seconds: the median.
    pub seconds: f64,
    /// The shortest of all rounds, in seconds.
    pub least: f64,
    /// The longest of all rounds, in seconds.
    pub most: f64,
    /// Peak memory of the process in KiB: the median. `None` if it had no process of its own.
    pub memory: Option<u64>,
    /// What it executed, if that was counted.
    pub counts: Option<Counts>,
}

/// What a program executes for a piece of work, regardless of what a system call costs on a
/// machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// How many system calls it makes, including startup.
    pub system_calls: u64,
    /// How many instructions it executes outside the kernel, including startup.
    pub instructions: u64,
}

impl Cost {
    /// Computes the medians of several runs, and their spread.
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
    /// How long the step takes: the median of many samples.
    pub seconds: f64,
    /// How often the step is repeated in one sample.
    pub times: u64,
    /// How many instructions the step takes, if they were counted.
    pub instructions: Option<f64>,
    /// How many memory allocations the step makes, if they were counted.
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
