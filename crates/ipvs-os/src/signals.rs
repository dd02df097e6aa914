//! Signals as something to read.

use std::ffi::c_int;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd as _, OwnedFd};

/// Blocks these signals in the calling thread, and returns a descriptor that is readable while one
/// of them is pending: [signalfd(2)](https://man7.org/linux/man-pages/man2/signalfd.2.html),
/// non-blocking, and closed on exec. [`signal_of`] says which.
///
/// Threads that are started later inherit the block. So do programs, unless `std::process::Command`
/// starts them.
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

    #[test]
    fn what_is_no_signal_is_an_error() {
        let error = signal_descriptor(&[100_000]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
        assert_eq!(signal_of(&[0; 127]), None);
    }
}
