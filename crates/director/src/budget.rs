//! What this process may use, and whether the checks of a configuration fit into it.

use std::fs;
use std::path::Path;

use probe::Needs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

/// Descriptors for everything that isn't a check: the runtime, the kernel's socket, the state, the
/// control socket with its clients, and files that are read for a moment.
const OTHER_DESCRIPTORS: u64 = 96;

/// Bytes for everything that isn't a check.
const OTHER_MEMORY: u64 = 8 << 20;

/// Limits of this process. None means that there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Open files (`RLIMIT_NOFILE`).
    pub descriptors: Option<u64>,
    /// Processes, the own threads included (`pids.max` of the control group, `RLIMIT_NPROC`).
    pub processes: Option<u64>,
    /// Bytes (`memory.max` of the control group, `RLIMIT_AS`).
    pub memory: Option<u64>,
}

/// A configuration needs more than the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the checks may need {needed} {what} at the same time, and this process may have {limit}; {help}"
)]
pub struct OverBudget {
    what: &'static str,
    needed: u64,
    limit: u64,
    help: &'static str,
}

impl Budget {
    /// The limits of this process, after raising those that it may raise itself.
    pub fn of_this_process() -> Self {
        let files = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: files.maximum, maximum: files.maximum };
        // If it can't be raised, what is in force counts.
        let _ = setrlimit(Resource::Nofile, raised);
        let group = fs::read_to_string("/proc/self/cgroup").ok();
        let group = group.as_deref().and_then(unified);
        let of_group = |file: &str| group_limit(Path::new("/sys/fs/cgroup"), group?, file);
        let least = |one: Option<u64>, two: Option<u64>| one.into_iter().chain(two).min();
        Self {
            descriptors: getrlimit(Resource::Nofile).current,
            processes: least(of_group("pids.max"), getrlimit(Resource::Nproc).current),
            memory: least(of_group("memory.max"), getrlimit(Resource::As).current),
        }
    }

    /// Whether checks with these needs fit in, of which at most `in_flight` run at the same time.
    ///
    /// # Errors
    ///
    /// What is needed more of.
    pub fn check(&self, needs: &Needs, in_flight: usize) -> Result<(), OverBudget> {
        let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
        // Each check in flight has one socket at most.
        let descriptors = number(needs.descriptors.min(in_flight)) + OTHER_DESCRIPTORS;
        let rows = [
            (
                "descriptors",
                descriptors,
                self.descriptors,
                "raise it with `ulimit -n`, or with LimitNOFILE= in a unit",
            ),
            (
                "processes",
                number(needs.processes),
                self.processes,
                "raise it with `ulimit -u`, or with TasksMax= in a unit",
            ),
            (
                "bytes of memory",
                number(needs.memory).saturating_add(OTHER_MEMORY),
                self.memory,
                "raise it with `ulimit -v`, or with MemoryMax= in a unit",
            ),
        ];
        for (what, needed, limit, help) in rows {
            if let Some(limit) = limit.filter(|limit| needed > *limit) {
                return Err(OverBudget { what, needed, limit, help });
            }
        }
        Ok(())
    }
}

/// The control group of version 2 in a `/proc/PID/cgroup` (cgroups(7)).
fn unified(file: &str) -> Option<&str> {
    file.lines().find_map(|line| line.strip_prefix("0::"))
}

/// The lowest limit of a control group and those around it. `max` means none.
fn group_limit(mount: &Path, group: &str, file: &str) -> Option<u64> {
    let group = Path::new(group.trim_start_matches('/'));
    let folders = group.ancestors().map(|folder| mount.join(folder));
    folders.filter_map(|it| fs::read_to_string(it.join(file)).ok()?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use probe::{Check, External, Limits, Probe};
    use tempfile::tempdir;

    use super::*;

    fn needs(check: &Check, count: u8) -> Needs {
        let probe = |n| Probe::new(([10, 10, 10, n], 80).into(), check.clone(), Duration::ZERO);
        let probes: Vec<Probe> = (0..count).map(probe).collect();
        Needs::of(&probes, Limits::default())
    }

    #[test]
    fn what_does_not_fit_in_is_named_with_its_limit() {
        let budget = Budget { descriptors: Some(256), ..Budget::default() };
        assert_eq!(budget.check(&needs(&Check::Connect, 160), 4096), Ok(()));
        let error = budget.check(&needs(&Check::Connect, 161), 4096).unwrap_err().to_string();
        assert!(error.contains("257 descriptors") && error.contains("may have 256"), "{error}");
        assert_eq!(budget.check(&needs(&Check::Connect, 161), 100), Ok(()), "not all at once");

        let budget = Budget { processes: Some(4), ..Budget::default() };
        let script = External { program: "/bin/true".into(), arguments: Vec::new() };
        let error = budget.check(&needs(&Check::External(script), 5), 4096).unwrap_err();
        assert!(error.to_string().contains("5 processes"), "{error}");
        let budget = Budget { memory: Some(8 << 20), ..Budget::default() };
        assert!(budget.check(&needs(&Check::Connect, 1), 4096).is_err());
    }

    #[test]
    fn a_control_group_is_limited_by_those_around_it() {
        let folder = tempdir().unwrap();
        let mount = folder.path();
        fs::create_dir_all(mount.join("system.slice/web.service")).unwrap();
        fs::write(mount.join("system.slice/web.service/pids.max"), "max\n").unwrap();
        fs::write(mount.join("system.slice/pids.max"), "64\n").unwrap();
        let group = unified("1:name=systemd:/\n0::/system.slice/web.service\n").unwrap();
        assert_eq!(group_limit(mount, group, "pids.max"), Some(64));
        assert_eq!(group_limit(mount, group, "memory.max"), None);
    }
}
