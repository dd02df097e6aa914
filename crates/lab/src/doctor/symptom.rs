//! Finds out from a guest's console why it didn't boot.

/// Words on the console that reveal a cause, and that cause with its fix.
struct Symptom {
    /// The words to find in a line.
    words: &'static str,
    cause: &'static str,
}

const SYMPTOMS: [Symptom; 8] = [
    Symptom {
        words: "ptrace set fp regs failed, errno = 14",
        cause: "the kernel has less room for the processor's state than this machine wants back, \
                and the stand-in for ptrace(2) that completes it wasn't at work",
    },
    Symptom {
        words: "from LD_PRELOAD cannot be preloaded",
        cause: "the stand-in for ptrace(2) couldn't be loaded into the kernel; is the place of the \
                guest's memory mounted noexec?",
    },
    Symptom {
        words: "check_ptrace : expected SIGSTOP",
        cause: "this machine forbids tracing: ptrace(2)",
    },
    Symptom {
        words: "must be not mounted noexec",
        cause: "the place of the guest's memory is mounted noexec: set TMPDIR to another",
    },
    Symptom {
        words: "mount likely just ran out of space",
        cause: "the place of the guest's memory is full: set TMPDIR to another, or ask for less \
                with --memory",
    },
    Symptom {
        words: "bytes of memory at 0x(____ptrval____) failed - errno = -12",
        cause: "a process may not have as much address space as the guest has memory: raise the \
                limit (ulimit -v unlimited), or ask for less with --memory",
    },
    Symptom {
        words: "Too few physical memory!",
        cause: "the guest has too little memory to boot: ask for more with --memory",
    },
    Symptom {
        words: "Out of memory: Killed process",
        cause: "the guest's memory was used up: ask for more with --memory",
    },
];

/// Why the guest doesn't boot, if this line of the console reveals a known cause.
pub(crate) fn in_line(line: &str) -> Option<&'static str> {
    let symptom = SYMPTOMS.iter().find(|symptom| line.contains(symptom.words))?;
    Some(symptom.cause)
}

/// What the signal that ended a guest's kernel says about the cause (signal(7)).
pub(crate) fn in_signal(number: i32) -> Option<&'static str> {
    match number {
        7 => Some("the place of the guest's memory is full: set TMPDIR to another"),
        9 => Some("somebody killed it, perhaps the host for lack of memory: see its kernel's log"),
        25 => Some(
            "a file may not be as large as the guest's memory: raise the limit (ulimit -f \
             unlimited), or ask for less with --memory",
        ),
        31 => Some("a seccomp filter forbids what a guest's kernel does"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::guest::console::Console;

    /// Messages of kernels that were deliberately deprived of something, recorded from Linux
    /// 6.1.176, 6.12.113 and 7.2.7. An empty cause means that none is known.
    const RECORDED: [(&str, &str); 10] = [
        // A host with 11,008 bytes of processor state, without completion.
        (
            "mmapper_init - find_iomem failed\n\
             Failed to initialize ubd device 0 :Couldn't determine size of device's file\n\
             userspace - ptrace set fp regs failed, errno = 14\n\
             Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n",
            "less room for the processor's state",
        ),
        // A preloaded file that isn't a shared object. The later lines are consequences.
        (
            "ERROR: ld.so: object './passwd' from LD_PRELOAD cannot be preloaded (invalid ELF \
             header): ignored.\n\
             userspace - ptrace set fp regs failed, errno = 14\n",
            "couldn't be loaded",
        ),
        // A seccomp filter that makes ptrace(2) fail with EPERM, and one that kills the caller.
        (
            "ptrace: Operation not permitted\ncheck_ptrace : expected SIGSTOP, got status = 9",
            "forbids tracing",
        ),
        ("check_ptrace : expected SIGSTOP, got status = 31", "forbids tracing"),
        // TMPDIR on a file system that is mounted noexec.
        ("Operation not permitted\n/dev/shm must be not mounted noexec\n", "is mounted noexec"),
        // TMPDIR on a tmpfs of 1 MiB.
        (
            "<6>Initmem setup node 0 [mem 0x0000000000000000-0x000000002fc58fff]\n\
             <3>Bus error - the host /dev/shm or /tmp mount likely just ran out of space\n\
             <0>Kernel panic - not syncing: Kernel mode signal 7\n",
            "is full",
        ),
        // RLIMIT_AS of 200 MB.
        (
            "setup_physmem - mapping 252796928 bytes of memory at 0x(____ptrval____) failed - \
             errno = -12\n",
            "address space",
        ),
        // mem=16M.
        ("Too few physical memory! Needed=83886080, given=81977344\n", "too little memory"),
        ("Kernel panic - not syncing: sysrq triggered crash\n", ""),
        ("", ""),
    ];

    #[test]
    fn each_recorded_console_gives_its_cause_away() {
        for (text, cause) in RECORDED {
            let mut console = Console::default();
            console.feed(text.as_bytes());
            // Far more of the console than an error message shows.
            console.feed("<4> [<60055aca>] sig_handler+0x6a/0x82\n".repeat(100).as_bytes());
            console.end();
            let found = console.cause().unwrap_or_default();
            assert_eq!(found.is_empty(), cause.is_empty(), "{text}: {found}");
            assert!(found.contains(cause), "{text}: {found}");
        }
    }
}
