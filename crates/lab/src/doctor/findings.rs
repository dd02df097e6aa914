//! Interprets the facts: what they mean for a guest, and how to fix what is wrong.

use std::fmt;

use rustix::io::Errno;

use super::facts::{Facts, Memory, Tracing};
use super::trial::Refusal;
use crate::guest::scratch::{self, Candidate, FileSystem};

/// The size of the extended processor state buffer in kernels up to Linux 6.12, in bytes.
const ROOM: usize = 2_696;

/// The least memory with which a guest boots (MiB).
pub(crate) const LEAST_MEMORY: u64 = 128;

/// A generous estimate of what a guest's kernel maps besides the guest's memory (MiB).
const KERNEL_MAPS: u64 = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Nothing is wrong.
    Fine,
    /// Some tasks may fail.
    Warning,
    /// No guest can boot.
    Obstacle,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub level: Level,
    pub subject: &'static str,
    pub what: String,
    /// How to fix it; empty if nothing is wrong.
    pub advice: String,
}

impl Finding {
    pub(crate) fn fine(subject: &'static str, what: impl Into<String>) -> Self {
        Self { level: Level::Fine, subject, what: what.into(), advice: String::new() }
    }

    pub(crate) fn warning(
        subject: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, subject, what: what.into(), advice: advice.into() }
    }

    pub(crate) fn obstacle(
        subject: &'static str,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self { level: Level::Obstacle, subject, what: what.into(), advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Fine => "ok",
            Level::Warning => "warning",
            Level::Obstacle => "MISSING",
        };
        write!(f, "{level:9}{}: {}", self.subject, self.what)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "\n{:9}{}", "", self.advice) }
    }
}

/// All findings about booting a guest.
pub(crate) fn of(facts: &Facts) -> Vec<Finding> {
    let mut all = vec![architecture(facts.architecture)];
    all.extend(tracing(&facts.tracing));
    all.push(memory(facts.memory));
    all.push(match scratch::choose(&facts.places, facts.memory.wanted) {
        Ok(place) => Finding::fine("place for memory", format!("in {}", place.display())),
        Err(reasons) => Finding::obstacle(
            "place for memory",
            format!("there is none for {} MiB ({reasons})", facts.memory.wanted),
            scratch::advice(facts.memory.wanted),
        ),
    });
    if let (target, Some(FileSystem { noexec: true, .. })) = &facts.target {
        all.push(Finding::obstacle(
            "place for kernels",
            format!("{} is mounted noexec", target.display()),
            "kernels and their programs are unpacked there and run: move the checkout",
        ));
    }
    all
}

fn architecture(name: &str) -> Finding {
    const SUBJECT: &str = "processor";
    if name == "x86_64" {
        return Finding::fine(SUBJECT, name);
    }
    Finding::obstacle(
        SUBJECT,
        format!("it is {name}, and Debian has User-Mode Linux for x86_64 only"),
        "--kernel host uses this machine's own kernel, as root, where it has IPVS",
    )
}

fn tracing(tracing: &Tracing) -> Vec<Finding> {
    const TRACING: &str = "tracing";
    const STATE: &str = "processor state";
    let size = match &tracing.trial {
        Ok(size) => *size,
        Err(refusal @ Refusal { request, reason, .. }) => {
            return vec![Finding::obstacle(
                TRACING,
                format!(
                    "a guest's kernel runs its processes with ptrace(2), and this machine refuses \
                     {request}: {reason}"
                ),
                causes(tracing, refusal).join("; "),
            )];
        }
    };
    let state = match size {
        None => Finding::warning(
            STATE,
            "this machine doesn't use XSAVE, and guests take an older request",
            "Linux 7.2 is known to work so (--kernel 7.2); up to 6.12, loading modules may fail",
        ),
        Some(size) if size > ROOM => Finding::fine(
            STATE,
            format!(
                "{size} bytes; kernels up to Linux 6.12 have room for {ROOM}, and are given the rest"
            ),
        ),
        Some(size) => Finding::fine(
            STATE,
            format!("{size} bytes; kernels up to Linux 6.12 have room for {ROOM}"),
        ),
    };
    vec![Finding::fine(TRACING, "processes may trace their children"), state]
}

/// Possible causes of the refusal to trace, each with its fix.
fn causes(tracing: &Tracing, refusal: &Refusal) -> Vec<&'static str> {
    let known = [Errno::IO, Errno::INVAL, Errno::NOSYS].map(Errno::raw_os_error);
    if refusal.errno.is_some_and(|number| known.contains(&number)) {
        return vec![
            "this machine's kernel doesn't know the request, perhaps because it is itself an \
             emulated one (User-Mode Linux, gVisor): try outside of it",
        ];
    }
    let mut causes = Vec::new();
    if tracing.traced {
        causes.push(
            "something traces this process, and a process can be traced by one only: run it \
             without strace or debugger",
        );
    }
    match tracing.yama {
        Some(2) => causes.push(
            "the sysctl kernel.yama.ptrace_scope is 2, which leaves tracing to root with \
             CAP_SYS_PTRACE: set it to 1",
        ),
        Some(3..) => causes.push(
            "the sysctl kernel.yama.ptrace_scope is 3, which forbids tracing until the next boot: \
             have it set to 1 at boot (/etc/sysctl.d)",
        ),
        _ => {}
    }
    if tracing.seccomp {
        causes.push(
            "a seccomp filter decides about system calls, as in containers: start the container \
             with --cap-add=SYS_PTRACE, or with --security-opt seccomp=unconfined",
        );
    }
    if causes.is_empty() {
        causes.push("a security module or a sandbox may forbid it: try outside of it");
    }
    causes
}

fn memory(memory: Memory) -> Finding {
    const SUBJECT: &str = "memory";
    let Memory { wanted, available, group, address_space, file } = memory;
    if let Some(limit) = address_space.filter(|limit| *limit < wanted + KERNEL_MAPS) {
        return Finding::obstacle(
            SUBJECT,
            format!(
                "a process may have {limit} MiB of address space, and a guest's kernel maps \
                 {wanted} and some more"
            ),
            "raise the limit (ulimit -v unlimited), or ask for less with --memory",
        );
    }
    if let Some(limit) = file.filter(|limit| *limit < wanted) {
        return Finding::obstacle(
            SUBJECT,
            format!("a file may have {limit} MiB, and a guest's memory is one with {wanted}"),
            "raise the limit (ulimit -f unlimited), or ask for less with --memory",
        );
    }
    let left = [(available, "this machine"), (group, "this process's control group")];
    let least = left.into_iter().filter_map(|(left, whose)| Some((left?, whose))).min();
    match least {
        Some((left, whose)) if left < LEAST_MEMORY => Finding::obstacle(
            SUBJECT,
            format!("{whose} has {left} MiB left, and the smallest guest takes {LEAST_MEMORY}"),
            "end other work, or give the machine or container more",
        ),
        Some((left, whose)) if left < wanted => Finding::warning(
            SUBJECT,
            format!(
                "{whose} has {left} MiB left, and a guest may use {wanted}: it is killed if it \
                 needs more than there is"
            ),
            "end other work, or ask for less with --memory",
        ),
        Some((left, whose)) => {
            Finding::fine(SUBJECT, format!("{whose} has {left} MiB left; a guest has {wanted}"))
        }
        None => Finding::fine(SUBJECT, format!("a guest has {wanted} MiB")),
    }
}

/// How many guests, at most `most`, have all of their memory; at least one, which [`memory`] judges.
pub(crate) fn guests_at_once(memory: Memory, places: &[Candidate], most: usize) -> usize {
    let Memory { wanted, available, group, .. } = memory;
    let fits = |count: usize| {
        let all = wanted.saturating_mul(count as u64);
        [available, group].into_iter().flatten().all(|left| left >= all)
            && scratch::choose(places, all).is_ok()
    };
    (2..=most).rev().find(|count| fits(*count)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// The facts of a machine where nothing is wrong.
    fn facts() -> Facts {
        let file_system = FileSystem { noexec: false, free: 20_000 };
        Facts {
            architecture: "x86_64",
            tracing: Tracing {
                trial: Ok(Some(2_440)),
                yama: Some(1),
                seccomp: false,
                traced: false,
            },
            memory: Memory { wanted: 1_024, available: Some(20_000), ..Memory::default() },
            places: vec![Candidate { path: "/dev/shm".into(), state: Ok(file_system) }],
            target: (PathBuf::from("/src/target"), Some(file_system)),
        }
    }

    /// The findings for that machine after `change`.
    fn with(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
        let mut facts = facts();
        change(&mut facts);
        of(&facts)
    }

    /// The level and the text of the only finding that is not fine.
    fn one(findings: &[Finding]) -> (Level, String) {
        let mut bad = findings.iter().filter(|finding| finding.level != Level::Fine);
        let finding = bad.next().expect("something that isn't fine");
        assert!(!finding.advice.is_empty(), "{finding}");
        assert_eq!(bad.next(), None);
        (finding.level, finding.to_string())
    }

    fn refused(request: &'static str, errno: i32) -> Result<Option<usize>, Refusal> {
        Err(Refusal { request, reason: "no".to_owned(), errno: Some(errno) })
    }

    #[test]
    fn a_machine_that_has_everything_is_fine() {
        let all = with(|_| {});
        assert!(all.iter().all(|finding| finding.level == Level::Fine), "{all:?}");
        assert_eq!(all.len(), 5);
    }

    #[test]
    fn the_processor_state_is_reported_whatever_its_size() {
        let said = |size| {
            let all = with(|facts| facts.tracing.trial = Ok(size));
            all.iter().find(|finding| finding.subject == "processor state").unwrap().clone()
        };
        for (size, level, words) in [
            (
                Some(11_008),
                Level::Fine,
                "11008 bytes; kernels up to Linux 6.12 have room for 2696,",
            ),
            (Some(2_696), Level::Fine, "2696 bytes; kernels up to Linux 6.12 have room for 2696"),
            (Some(832), Level::Fine, "832 bytes"),
            (None, Level::Warning, "doesn't use XSAVE"),
        ] {
            let finding = said(size);
            assert_eq!(finding.level, level);
            assert!(finding.what.contains(words), "{finding}");
            assert_eq!(finding.what.contains("given the rest"), size == Some(11_008));
        }
    }

    #[test]
    fn whatever_may_forbid_tracing_is_named() {
        const ADVICE: [(&str, &str); 5] = [
            ("yama", "ptrace_scope is 3"),
            ("yama", "ptrace_scope is 2"),
            ("seccomp", "--cap-add=SYS_PTRACE"),
            ("traced", "without strace"),
            ("none", "security module or a sandbox"),
        ];
        let cases: [(Option<u8>, bool, bool, &[usize]); 6] = [
            (Some(3), false, false, &[0]),
            (Some(2), false, false, &[1]),
            (Some(1), true, false, &[2]),
            (None, false, true, &[3]),
            (Some(3), true, true, &[0, 2, 3]),
            (Some(1), false, false, &[4]),
        ];
        for (yama, seccomp, traced, wanted) in cases {
            let trial = refused("PTRACE_TRACEME", 1);
            let (level, text) =
                one(&with(|facts| facts.tracing = Tracing { trial, yama, seccomp, traced }));
            assert_eq!(level, Level::Obstacle);
            assert!(text.contains("refuses PTRACE_TRACEME: no"), "{text}");
            for (at, (_, words)) in ADVICE.iter().enumerate() {
                assert_eq!(text.contains(words), wanted.contains(&at), "{words} in {text}");
            }
        }
    }

    #[test]
    fn a_kernel_that_lacks_a_request_is_not_blamed_on_a_setting() {
        let (_, text) = one(&with(|facts| {
            facts.tracing = Tracing {
                trial: refused("PTRACE_SYSEMU", 5),
                yama: Some(2),
                seccomp: true,
                traced: false,
            };
        }));
        assert!(text.contains("emulated") && !text.contains("yama"), "{text}");
    }

    #[test]
    fn guests_run_at_once_as_far_as_processors_and_memory_go() {
        let place = |free| Candidate {
            path: PathBuf::from("/shm"),
            state: Ok(FileSystem { noexec: false, free }),
        };
        let count = |available, group, free, processors| {
            let memory = Memory { wanted: 1_024, available, group, ..Memory::default() };
            guests_at_once(memory, &[place(free)], processors)
        };
        assert_eq!(count(Some(20_000), None, 20_000, 2), 2);
        assert_eq!(count(Some(20_000), None, 20_000, 16), 16);
        assert_eq!(count(None, None, 20_000, 1), 1);
        assert_eq!(count(Some(3_100), None, 20_000, 16), 3);
        assert_eq!(count(Some(20_000), Some(2_047), 20_000, 2), 1);
        assert_eq!(count(Some(20_000), None, 2_048, 16), 2);
        assert_eq!(count(Some(10), None, 10, 2), 1);
    }

    #[test]
    fn each_limit_of_memory_has_a_level_and_a_remedy() {
        type Change = fn(&mut Memory);
        let memory = |change: Change| with(|facts| change(&mut facts.memory));
        let cases: [(Change, Level, &str); 6] = [
            (|memory| memory.address_space = Some(1_087), Level::Obstacle, "ulimit -v"),
            (|memory| memory.file = Some(1_023), Level::Obstacle, "ulimit -f"),
            (|memory| memory.available = Some(127), Level::Obstacle, "this machine has 127 MiB"),
            (|memory| memory.available = Some(1_023), Level::Warning, "this machine has 1023 MiB"),
            (|memory| memory.group = Some(127), Level::Obstacle, "control group has 127 MiB"),
            (|memory| memory.group = Some(128), Level::Warning, "control group has 128 MiB"),
        ];
        for (change, level, words) in cases {
            let (found, text) = one(&memory(change));
            assert_eq!(found, level, "{text}");
            assert!(text.contains(words), "{words} in {text}");
        }
        let enough: Change = |memory| {
            *memory = Memory {
                wanted: 1_024,
                available: Some(1_024),
                group: Some(1_024),
                address_space: Some(1_088),
                file: Some(1_024),
            };
        };
        assert!(memory(enough).iter().all(|finding| finding.level == Level::Fine));
    }

    #[test]
    fn no_place_a_checkout_that_is_noexec_and_another_processor_are_obstacles() {
        let (level, text) = one(&with(|facts| {
            facts.places[0].state = Ok(FileSystem { noexec: false, free: 64 });
        }));
        assert_eq!(level, Level::Obstacle);
        assert!(
            text.contains("/dev/shm: only 64 MiB are free") && text.contains("TMPDIR"),
            "{text}"
        );

        let (level, text) = one(&with(|facts| {
            facts.target.1 = Some(FileSystem { noexec: true, free: 20_000 });
        }));
        assert_eq!(level, Level::Obstacle);
        assert!(text.contains("/src/target is mounted noexec"), "{text}");

        let (level, text) = one(&with(|facts| facts.architecture = "aarch64"));
        assert_eq!(level, Level::Obstacle);
        assert!(text.contains("aarch64") && text.contains("--kernel host"), "{text}");
    }
}
