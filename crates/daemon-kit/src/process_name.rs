//! What a process is called.

use std::ffi::CStr;

/// Sets the name of this process, of which the kernel keeps 15 bytes (`PR_SET_NAME` in prctl(2)): one that executes
/// `/proc/self/exe` is called `exe` in lists of processes. Only the first thread's name is the process's.
pub fn set(name: &CStr) {
    // It doesn't fail with a name in memory of one's own.
    let _ = rustix::thread::set_name(name);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_the_name() {
        let thread = std::thread::spawn(|| {
            set(c"another-name");
            std::fs::read_to_string("/proc/thread-self/comm")
        });
        assert_eq!(thread.join().expect("a thread").expect("a name"), "another-name\n");
    }
}
