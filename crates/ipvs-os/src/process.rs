//! What a process inherits from Rust's start-up code and a command-line tool doesn't want.

/// Gives SIGPIPE its default action back, which Rust's start-up code sets to "ignore": a tool
/// whose reader has gone (`ipvsadm -L | head -1`) then ends silently, as C programs do.
///
/// Call it first thing in `main`: it changes the whole process.
pub fn restore_default_sigpipe() {
    // SAFETY: SIG_DFL is a valid disposition for SIGPIPE and runs no code of ours.
    // It can't fail: the signal number is valid and SIGPIPE may be set.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
