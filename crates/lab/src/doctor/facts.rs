//! Gathers facts about this machine. [`super::findings`] interprets them.

use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};

use super::trial::{self, Refusal};
use crate::guest::scratch::{self, Candidate, FileSystem};
use crate::paths;
use crate::program::Program;

/// Everything that decides whether a guest boots here.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// The processor architecture, as Rust names it.
    pub architecture: &'static str,
    pub tracing: Tracing,
    pub memory: Memory,
    /// Candidate folders for the guest's memory.
    pub places: Vec<Candidate>,
    /// Where kernels and programs are unpacked.
    pub target: (PathBuf, Option<FileSystem>),
}

/// Whether a process may trace another, and possible reasons if not.
#[derive(Debug, Clone)]
pub(crate) struct Tracing {
    /// The size of the extended processor state in bytes; `None` if the processor or the host lacks
    /// it.
    pub trial: Result<Option<usize>, Refusal>,
    /// The sysctl `kernel.yama.ptrace_scope`.
    pub yama: Option<u8>,
    /// Whether a seccomp filter applies to this process's system calls.
    pub seccomp: bool,
    /// Whether another process traces this one.
    pub traced: bool,
}

/// What may limit a guest's memory, in MiB; `None` means no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub wanted: u64,
    /// `MemAvailable` of proc(5).
    pub available: Option<u64>,
    /// What this process's control group has left.
    pub group: Option<u64>,
    pub address_space: Option<u64>,
    pub file: Option<u64>,
}

impl Facts {
    /// Gathers the facts for a guest with `memory` MiB. Takes a few milliseconds.
    pub(crate) fn gather(memory: u64, program: &Program) -> Self {
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        let status = text(Path::new("/proc/self/status")).unwrap_or_default();
        let target = paths::root().join("target");
        let file_system = scratch::file_system(&target).ok();
        Self {
            architecture: std::env::consts::ARCH,
            tracing: Tracing {
                trial: trial::run(program),
                yama: text(Path::new("/proc/sys/kernel/yama/ptrace_scope"))
                    .and_then(|text| text.trim().parse().ok()),
                seccomp: field(&status, "Seccomp:").is_some_and(|mode| mode != 0),
                traced: field(&status, "TracerPid:").is_some_and(|pid| pid != 0),
            },
            memory: Memory::gather(memory),
            places: scratch::candidates(),
            target: (target, file_system),
        }
    }
}

impl Memory {
    /// Gathers what limits a guest that wants this many MiB.
    pub(crate) fn gather(wanted: u64) -> Self {
        let text = |path: &Path| std::fs::read_to_string(path).ok();
        let limit = |resource| getrlimit(resource).current.map(|bytes| bytes >> 20);
        Self {
            wanted,
            available: text(Path::new("/proc/meminfo"))
                .and_then(|text| field(&text, "MemAvailable:"))
                .map(|kib| kib >> 10),
            group: text(Path::new("/proc/self/cgroup"))
                .and_then(|groups| group_left(&groups, text))
                .map(|bytes| bytes >> 20),
            address_space: limit(Resource::As),
            file: limit(Resource::Fsize),
        }
    }
}

/// The number after a name at the start of a line, in the format of /proc files.
fn field(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// The bytes left in the strictest control group, counting caches that can be dropped. Computed
/// from the text of `/proc/self/cgroup` and the groups' files (cgroups(7)). `None` if there is no
/// limit.
fn group_left(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let number = |path: PathBuf| read(&path)?.trim().parse::<u64>().ok();
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(kind), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, [limit, used], cache) = match kind {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current"], "inactive_file "),
            "memory" => (
                "/sys/fs/cgroup/memory",
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
                "total_inactive_file ",
            ),
            _ => continue,
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        // A container sees its own group as the root, whatever path it has outside.
        for folder in group.ancestors().take_while(|folder| folder.starts_with(root)) {
            let (Some(limit), Some(used)) = (number(folder.join(limit)), number(folder.join(used)))
            else {
                continue;
            };
            let stat = read(&folder.join("memory.stat")).unwrap_or_default();
            let left = limit.saturating_sub(used.saturating_sub(field(&stat, cache).unwrap_or(0)));
            least = Some(least.map_or(left, |least: u64| least.min(left)));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reader that serves these files.
    fn files<'a>(all: &'a [(&str, &str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        |path| all.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| (*text).into())
    }

    #[test]
    fn a_field_is_the_first_number_of_its_line() {
        let text = "MemTotal:       24538164 kB\nMemAvailable:   23901236 kB\n";
        assert_eq!(field(text, "MemAvailable:"), Some(23_901_236));
        assert_eq!(field(text, "MemFree:"), None);
        assert_eq!(field("Seccomp:\t2\nSeccomp_filters:\t1\n", "Seccomp:"), Some(2));
    }

    #[test]
    fn the_strictest_group_of_the_second_version_counts_without_its_cache() {
        let root = "/sys/fs/cgroup";
        let read = files(&[
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/b/memory.current", "100\n"),
            ("/sys/fs/cgroup/a/memory.max", "1000\n"),
            ("/sys/fs/cgroup/a/memory.current", "700\n"),
            ("/sys/fs/cgroup/a/memory.stat", "anon 400\ninactive_file 300\n"),
        ]);
        assert_eq!(group_left("0::/a/b\n", &read), Some(600), "{root}");
        assert_eq!(group_left("0::/\n", &read), None);
        assert_eq!(group_left("", &read), None);
    }

    #[test]
    fn a_group_of_the_first_version_is_found_where_a_container_sees_it() {
        let read = files(&[
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "2000\n"),
            ("/sys/fs/cgroup/memory/memory.stat", "inactive_file 1\ntotal_inactive_file 1500\n"),
        ]);
        let groups = "5:devices:/docker/x\n4:memory:/docker/x\n0::/\n";
        assert_eq!(group_left(groups, read), Some(500));
    }
}
