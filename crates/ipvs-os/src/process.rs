//! A program's entry point without Rust's start-up code.

use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::os::unix::ffi::OsStrExt as _;

/// Makes a function of the type `fn(Vec<OsString>) -> u8` a program's entry point: it gets the
/// arguments, the program's name first, and returns the exit code. The crate has to say
/// `#![no_main]`.
///
/// What Rust does before `main` a short-lived tool pays for and has no use for: it reads
/// `/proc/self/maps` to tell a stack overflow from other faults, makes a stack for the handler that
/// would say so, and has writing to a closed pipe fail instead of ending the program, as C programs
/// end (`ipvsadm -L | head -1`). What is needed of it is kept: standard input, output and error are
/// open, so that no socket is taken for one of them.
///
/// Nothing flushes Rust's standard output at the end; the function has to.
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
        // SAFETY: this is the program's only `main`, because without it there is none
        // (`no_main`), and it has the signature that the C library calls it with.
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::std::ffi::c_int,
            words: *const *const ::std::ffi::c_char,
        ) -> ::std::ffi::c_int {
            // SAFETY: these are what the C library gave `main`.
            unsafe { $crate::__enter(count, words, $run) }
        }
    };
}

/// The part of [`entry_point`] that is no macro.
///
/// # Safety
///
/// `words` points to `count` pointers to C strings, all of which stay as they are.
#[doc(hidden)]
pub unsafe fn __enter(
    count: c_int,
    words: *const *const c_char,
    run: fn(Vec<OsString>) -> u8,
) -> c_int {
    open_standard_streams();
    let count = usize::try_from(count).unwrap_or(0);
    let words = (0..count).map(|at| {
        // SAFETY: the caller says that there are so many, and that each is a C string.
        let word = unsafe { CStr::from_ptr(*words.add(at)) };
        OsStr::from_bytes(word.to_bytes()).to_owned()
    });
    run(words.collect()).into()
}

/// Opens `/dev/null` for each of standard input, output and error that is closed: else the next
/// thing that is opened would be it. What can't be opened stays closed.
fn open_standard_streams() {
    let stream = |fd| libc::pollfd { fd, events: 0, revents: 0 };
    let mut streams = [stream(0), stream(1), stream(2)];
    // SAFETY: there are three elements, and they are writable.
    let polled = unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) };
    // A stream that poll can't be asked about was most likely not closed.
    let closed = |stream: &&libc::pollfd| polled > 0 && stream.revents & libc::POLLNVAL != 0;
    for _ in streams.iter().filter(closed) {
        // The lowest number that is free is given, and this begins with the lowest.
        // SAFETY: the path is a C string.
        unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
    }
}
