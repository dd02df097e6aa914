//! How the C library's allocator treats memory that was freed.

/// Freed memory goes back to the system beyond this many bytes at the end of the heap, and
/// allocations of this size have memory of their own, which goes back at once. It is glibc's own
/// value at a program's start.
#[cfg(target_env = "gnu")]
const THRESHOLD: libc::c_int = 128 << 10;

/// Has the allocator keep little of what is freed, for programs that run for months.
///
/// By default, glibc raises its thresholds, up to 64 MiB, with each large allocation that is freed,
/// and gives threads heaps of their own, which share nothing of what is free: a program that has
/// read a large file once keeps most of that memory. This fixes the thresholds at 128 KiB and leaves
/// one heap (`mallopt(3)`: `M_TRIM_THRESHOLD`, `M_MMAP_THRESHOLD`, `M_ARENA_MAX`). Threads that
/// allocate at the same time wait for each other a little more.
///
/// Call it before there is a second thread. With other C libraries it does nothing.
#[doc(alias = "mallopt")]
pub fn keep_little_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_TRIM_THRESHOLD, THRESHOLD),
        (libc::M_MMAP_THRESHOLD, THRESHOLD),
        (libc::M_ARENA_MAX, 1),
    ] {
        // SAFETY: mallopt takes two numbers and locks the allocator while it sets a parameter. It
        // changes nothing about memory that is allocated already.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives freed memory back to the system now, wherever it is: the thresholds are about the end of
/// the heap only, where a single small allocation keeps everything before it. It looks
/// through the whole heap, so call it after something large.
///
/// With C libraries other than glibc it does nothing.
#[doc(alias = "malloc_trim")]
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, locks the allocator, and touches only pages in which
    // nothing is allocated.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Private memory of this process in KiB, from `/proc/PID/smaps_rollup`.
    fn anonymous() -> u64 {
        let text = fs::read_to_string("/proc/self/smaps_rollup").expect("Linux 4.14 has it");
        let line = text.lines().find(|it| it.starts_with("Anonymous:")).expect("a line");
        line.split_ascii_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    /// 40 MB in small pieces, and 32 MB in one that grows like any `Vec`; in a process of its own,
    /// which has one thread.
    #[test]
    fn what_was_freed_goes_back() {
        const ALONE: &str = "IPVS_OS_TEST_ALONE";
        if std::env::var_os(ALONE).is_none() {
            let own = std::env::current_exe().expect("this program");
            let status = std::process::Command::new(own)
                .args(["--exact", "memory::tests::what_was_freed_goes_back", "--test-threads=1"])
                .env(ALONE, "1")
                .status();
            assert!(status.expect("it runs").success());
            return;
        }
        keep_little_freed_memory();
        for _ in 0..3 {
            let before = anonymous();
            let pieces: Vec<Box<[u8]>> = (0..40_000).map(|_| vec![1; 1000].into()).collect();
            let mut grown = Vec::new();
            (0..4_000_000_u64).for_each(|it| grown.push(it));
            let peak = anonymous();
            assert!(peak > before + 60_000, "{before} and {peak}");
            drop((pieces, grown));
            return_freed_memory();
            let after = anonymous();
            assert!(after < before + 1000, "{before} and {after}");
        }
    }
}
