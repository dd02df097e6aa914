//! Descriptors that a process has inherited.

use std::io;

/// Has every descriptor except the three standard ones closed when this process executes another
/// program, as [`CLOSE_RANGE_CLOEXEC`](https://man7.org/linux/man-pages/man2/close_range.2.html)
/// does: what this process has inherited itself stays here.
///
/// # Errors
///
/// On kernels before Linux 5.11.
#[doc(alias = "close_range")]
pub fn close_others_on_exec() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: The call takes three numbers. With this flag it closes nothing now, so nobody's
    // descriptor becomes invalid.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            FIRST,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC as libc::c_uint,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell that has inherited descriptor 7 lets its child have it; this process doesn't.
    #[test]
    fn a_descriptor_of_others_is_not_passed_on() {
        const INHERITED: &str = "IPVS_OS_TEST_INHERITED";
        if std::env::var_os(INHERITED).is_some() {
            let listed = || {
                let mut command = Command::new("sh");
                command.args(["-c", "test -e /proc/self/fd/7"]).stdin(Stdio::null());
                command.status().expect("a shell").success()
            };
            assert!(listed());
            close_others_on_exec().expect("Linux 5.11 has it");
            assert!(!listed());
            assert!(std::fs::metadata("/proc/self/fd/7").is_ok(), "it stays open here");
            return;
        }
        let own = std::env::current_exe().expect("this program");
        let status = Command::new("sh")
            .args(["-c", "exec \"$0\" --exact \"$1\" 7</dev/null"])
            .arg(own)
            .arg("descriptors::tests::a_descriptor_of_others_is_not_passed_on")
            .env(INHERITED, "1")
            .status();
        assert!(status.expect("a shell").success());
    }
}
