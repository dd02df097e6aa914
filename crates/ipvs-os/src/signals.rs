//! Signals as something to read.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Blocks these signals in the calling thread, and returns a descriptor that is readable while one
/// of them is pending: [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html),
/// non-blocking, and closed on exec. [`signal_of`] says which.
///
/// Threads that are started later inherit the block, and so do programs, unless [`unblock_signals`] says
/// otherwise.
///
/// # Errors
///
/// EINVAL for a number that isn't a signal's; EMFILE. No signal is blocked then.
#[doc(alias = "signalfd")]
pub fn signal_descriptor(signals: &[c_int]) -> io::Result<OwnedFd> {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `set` is writable, and sigemptyset initializes it.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: sigemptyset has initialized it; it doesn't fail.
    let mut set: libc::sigset_t = unsafe { set.assume_init() };
    for signal in signals {
        // SAFETY: `set` is an initialized set, and any number may be given.
        if unsafe { libc::sigaddset(&raw mut set, *signal) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: -1 asks for a new descriptor, and `set` is initialized.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new, so nothing else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `set` is initialized, and the old set isn't asked for.
    let error =
        unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if error == 0 { Ok(fd) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// Has a program start with no signal blocked, whatever the thread that starts it has blocked: most
/// programs take it for granted that signals reach them. It is forked and executed then, by
/// [fork(2)](https://man7.org/linux/man-pages/man2/fork.2.html).
#[doc(alias = "sigprocmask")]
pub fn unblock_signals(command: &mut Command) {
    let unblock = || {
        let mut none = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `none` is writable, and sigemptyset initializes it.
        unsafe { libc::sigemptyset(none.as_mut_ptr()) };
        // SAFETY: `none` is initialized, and the old set isn't asked for.
        let error = unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut())
        };
        if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
    };
    // SAFETY: the closure runs after fork(2), in a process that may have had other threads, and calls
    // only what signal-safety(7) allows there. It allocates nothing, and touches no memory but its own.
    unsafe { command.pre_exec(unblock) };
}

/// The number of the signal that a record from [`signal_descriptor`] is about, which is 128 bytes
/// long (`struct signalfd_siginfo`). None for anything else.
pub fn signal_of(record: &[u8]) -> Option<c_int> {
    if record.len() != size_of::<libc::signalfd_siginfo>() {
        return None;
    }
    // `ssi_signo` is the first field.
    c_int::try_from(u32::from_ne_bytes(*record.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read as _;
    use std::thread;

    use super::*;

    /// The test's thread sends signals to itself, so no other test sees them.
    fn raise(signal: c_int) {
        // SAFETY: the calling thread exists.
        assert_eq!(unsafe { libc::pthread_kill(libc::pthread_self(), signal) }, 0);
    }

    #[test]
    fn blocked_signals_are_read_one_after_the_other() {
        let work = || {
            let mut file = File::from(signal_descriptor(&[libc::SIGUSR1, libc::SIGHUP]).unwrap());
            let mut record = [0; 128];
            assert_eq!(file.read(&mut record).unwrap_err().kind(), io::ErrorKind::WouldBlock);
            raise(libc::SIGUSR1);
            raise(libc::SIGHUP);
            let mut seen = [(), ()].map(|()| {
                let length = file.read(&mut record).unwrap();
                signal_of(&record[..length])
            });
            seen.sort_unstable();
            assert_eq!(seen, [Some(libc::SIGHUP), Some(libc::SIGUSR1)]);
            assert_eq!(file.read(&mut record).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        };
        thread::spawn(work).join().unwrap();
    }

    /// Without it, the second program inherits what its thread has blocked (sigprocmask(2)).
    #[test]
    fn a_program_starts_with_no_signal_blocked() {
        use std::os::unix::process::ExitStatusExt as _;

        let work = || {
            let _blocked = signal_descriptor(&[libc::SIGTERM]).unwrap();
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "kill -TERM $$; exit 7"]);
            assert_eq!(command.status().unwrap().code(), Some(7), "it is blocked");
            unblock_signals(&mut command);
            assert_eq!(command.status().unwrap().signal(), Some(libc::SIGTERM));
        };
        thread::spawn(work).join().unwrap();
    }

    #[test]
    fn what_is_no_signal_is_an_error() {
        let error = signal_descriptor(&[100_000]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(signal_of(&[0; 127]), None);
    }
}
