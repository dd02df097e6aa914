//! In a binary of its own: it changes what a signal does to the whole process.

/// Bit of SIGPIPE, signal 13 (signal(7)), in the masks of `/proc/PID/status`.
const SIGPIPE: u64 = 1 << 12;

fn sigpipe_is_ignored() -> Option<bool> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    Some(u64::from_str_radix(mask.trim(), 16).ok()? & SIGPIPE != 0)
}

#[test]
fn sigpipe_acts_as_in_a_c_program_again() {
    assert_eq!(sigpipe_is_ignored(), Some(true), "Rust's start-up code ignores it");
    ipvs_os::restore_default_sigpipe();
    assert_eq!(sigpipe_is_ignored(), Some(false));
}
