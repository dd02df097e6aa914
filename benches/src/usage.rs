//! What a program and the processes that it has started use, as seen from outside.

use std::collections::HashSet;
use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// What a program has used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a processor since its start.
    pub cpu: Duration,
    /// The memory of each of its processes now, itself first.
    pub memory: Vec<Memory>,
    /// How often each of its processes, in the same order, has gone to sleep since its start: the
    /// voluntary context switches of all threads.
    pub waits: Vec<u64>,
}

/// The memory of one process in KiB, as in `/proc/PID/smaps_rollup`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// Resident (`Rss`): pages that it shares with others count in full.
    pub resident: u64,
    /// Resident (`Pss`), where a page of n processes counts as 1/n.
    pub proportional: u64,
    /// What comes from no file (`Anonymous`): heap, stacks, changed data.
    pub anonymous: u64,
}

impl Memory {
    /// The memory of the process `pid`.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let text = text.with_context(|| format!("process {pid} has ended"))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            value.and_then(first_number).with_context(|| format!("no {name} of process {pid}"))
        };
        Ok(Self {
            resident: field("Rss:")?,
            proportional: field("Pss:")?,
            anonymous: field("Anonymous:")?,
        })
    }
}

impl Usage {
    /// The usage of the process `pid` and its descendants.
    ///
    /// # Errors
    ///
    /// If the process has ended.
    pub fn of(pid: u32) -> Result<Self> {
        let mut usage = Self::default();
        for pid in tree(pid)? {
            usage.memory.push(Memory::of(pid)?);
            let mut waits = 0;
            for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
                // A thread that has ended meanwhile counts no more.
                let thread = thread?.path();
                let read = |name: &str| fs::read_to_string(thread.join(name)).unwrap_or_default();
                let cpu = first_number(&read("schedstat")).unwrap_or_default();
                usage.cpu += Duration::from_nanos(cpu);
                waits += voluntary_switches(&read("status")).unwrap_or_default();
            }
            usage.waits.push(waits);
        }
        Ok(usage)
    }
}

/// A process and its descendants.
fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("can't read /proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        parents.extend(parent(&stat).map(|parent| (pid, parent)));
    }
    let mut found = vec![root];
    let mut seen = HashSet::from([root]);
    let mut at = 0;
    while let Some(&pid) = found.get(at) {
        found.extend(parents.iter().filter(|it| it.1 == pid && seen.insert(it.0)).map(|it| it.0));
        at += 1;
    }
    Ok(found)
}

/// The parent in `/proc/PID/stat`. The name before it may contain anything.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// The voluntary context switches in `/proc/PID/status` (`proc_pid_status(5)`).
fn voluntary_switches(status: &str) -> Option<u64> {
    first_number(status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn children_count() {
        let before = Usage::of(std::process::id()).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let with_child = Usage::of(std::process::id());
        child.kill().unwrap();
        child.wait().unwrap();
        let with_child = with_child.unwrap();
        assert!(with_child.memory.len() > before.memory.len(), "{with_child:?}");
        assert!(with_child.cpu > Duration::ZERO);
        let own = before.memory[0];
        assert!(own.resident > 100 && own.proportional <= own.resident, "{own:?}");
        assert_eq!(with_child.waits.len(), with_child.memory.len());
        assert!(own.anonymous > 0 && own.anonymous <= own.resident, "{own:?}");
    }

    #[test]
    fn only_voluntary_switches_count() {
        let status =
            "Threads:\t1\nvoluntary_ctxt_switches:\t84\nnonvoluntary_ctxt_switches:\t498\n";
        assert_eq!(voluntary_switches(status), Some(84));
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("7 (a) R 9 (b) S 3 7 7 0"), Some(3));
        assert_eq!(parent(""), None);
    }
}
