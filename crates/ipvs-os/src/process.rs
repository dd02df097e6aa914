//! A program's entry point without Rust's start-up code.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

/// Makes a function of the type `fn(Vec<OsString>) -> u8` a program's entry point: it receives the
/// arguments, the program's name first, and returns the exit code. The crate must have
/// `#![no_main]`.
///
/// Rust's start-up code costs a short-lived tool time without benefit: it reads `/proc/self/maps`
/// to tell a stack overflow from other faults, allocates a stack for the handler that reports it,
/// and makes writing to a closed pipe fail instead of ending the program, as it does C programs
/// (`ipvsadm -L | head -1`). The necessary part is kept: standard input, output and error are open,
/// so that no socket is mistaken for one of them.
///
/// Rust's standard output isn't flushed at the end; the function must do that.
///
/// ```no_run
/// #![no_main]
///
/// use std::ffi::OsString;
///
/// ipvs_os::entry_point!(run);
///
/// fn run(words: Vec<OsString>) -> u8 {
///     u8::from(words.len() != 2)
/// }
/// ```
#[macro_export]
macro_rules! entry_point {
    ($run:path) => {
        // SAFETY: this is the program's only `main`, because `no_main` suppresses Rust's own, and
        // it has the signature that the C library expects.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::std::ffi::c_int,
            words: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            // SAFETY: these are the arguments that the C library passed to `main`.
            unsafe { $crate::__enter(count, words, $run) }
        }
    };
}

/// The part of [`entry_point`] that doesn't need a macro.
///
/// # Safety
///
/// `words` points to `count` pointers to C strings, none of which ever changes.
#[doc(hidden)]
pub unsafe fn __enter(
    count: c_int,
    words: *const *const c_char,
    run: fn(Vec<OsString>) -> u8,
) -> c_int {
    open_standard_streams();
    let count = usize::try_from(count).unwrap_or(0);
    let words = (0..count).map(|at| {
        // SAFETY: the caller guarantees that there are `count` pointers, each to a C string.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    run(words.collect()).into()
}

/// Opens `/dev/null` for each of standard input, output and error that is closed; otherwise the
/// next descriptor opened would take its place. If opening fails, it stays closed.
fn open_standard_streams() {
    let stream = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut streams = [stream(0), stream(1), stream(2)];
    // SAFETY: there are three elements, and they are writable.
    let polled = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    // If poll fails, the streams were most likely not closed.
    let closed = |stream: &&libc::pollfd| polled > 0 && stream.revents & libc::POLLNVAL != 0;
    for _ in streams.iter().filter(closed) {
        // open(2) returns the lowest free descriptor, and this loop starts with the lowest.
        // SAFETY: the path is a C string.
        unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    }
}
