//! Calls ptrace(2) of the host, through the program's libc.

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::area::Tracee;

/// `PTRACE_GETREGSET` of `linux/ptrace.h`.
pub(crate) const GETREGSET: c_uint = 0x4204;

/// `PTRACE_SETREGSET` of `linux/ptrace.h`.
pub(crate) const SETREGSET: c_uint = 0x4205;

/// `NT_X86_XSTATE` of `linux/elf.h`.
pub(crate) const X86_XSTATE: usize = 0x202;

/// The size of a buffer larger than any processor's area, in bytes.
pub const BUFFER_SIZE: usize = 65_536;

/// `struct iovec` of readv(2).
#[repr(C)]
pub(crate) struct IoVec {
    pub(crate) base: *mut u8,
    pub(crate) size: usize,
}

#[link(name = "c")]
unsafe extern "C" {
    fn dlsym(handle: *mut c_void, symbol: *const c_char) -> *mut c_void;
    fn __errno_location() -> *mut c_int;
    #[link_name = "abort"]
    safe fn libc_abort() -> !;
}

// Before glibc 2.34, dlsym is in a separate library; later versions have an empty library by that
// name.
#[link(name = "dl")]
unsafe extern "C" {}

/// `RTLD_NEXT` of dlsym(3): the next object after the caller's.
const NEXT: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// The type of ptrace(2).
type Ptrace = unsafe extern "C" fn(c_uint, ...) -> c_long;

/// The last error of the calling thread.
pub(crate) fn errno() -> i32 {
    // SAFETY: the function points to errno(3), a variable of the calling thread.
    unsafe { *__errno_location() }
}

pub(crate) fn set_errno(number: i32) {
    // SAFETY: as in `errno`; there is no other reference to it.
    unsafe { *__errno_location() = number }
}

pub(crate) fn abort() -> ! {
    libc_abort()
}

/// The `ptrace` that the program would use without this object.
fn next() -> Ptrace {
    static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let mut found = FOUND.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name ends with a zero byte, and dlsym keeps no pointer to it.
        found = unsafe { dlsym(NEXT, c"ptrace".as_ptr()) };
        if found.is_null() {
            abort();
        }
        FOUND.store(found, Ordering::Relaxed);
    }
    // SAFETY: `ptrace` of libc, and of objects like this one, has that type, and the pointer isn't
    // null.
    unsafe { core::mem::transmute::<*mut c_void, Ptrace>(found) }
}

/// Calls ptrace(2); returns -1 and sets errno if it fails.
///
/// # Safety
///
/// As for ptrace(2): `address` and `data` must be what the request expects.
pub(crate) unsafe fn ptrace(
    request: c_uint,
    pid: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    // SAFETY: the function takes these four arguments, and the caller guarantees that they are
    // valid.
    unsafe { next()(request, pid, address, data) }
}

/// A host process that this thread traces and that has stopped.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub i32);

impl Process {
    /// Reads the extended processor state and writes it back, as a guest's kernel does at each
    /// switch. Returns its size in bytes. `buffer` should have [`BUFFER_SIZE`] bytes.
    ///
    /// # Errors
    ///
    /// The host's error number, and which of the two requests failed. `ENODEV` for reading means
    /// that the processor has no XSAVE, or that the host doesn't use it.
    pub fn round_trip(self, buffer: &mut [u8]) -> Result<usize, Refused> {
        let size = self.read(buffer).map_err(Refused::Reading)?;
        self.write(buffer.get(..size).unwrap_or_default()).map_err(Refused::Writing)?;
        Ok(size)
    }
}

/// The request that the host refused, and the error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `PTRACE_GETREGSET`.
    Reading(i32),
    /// `PTRACE_SETREGSET`.
    Writing(i32),
}

impl Tracee for Process {
    /// The error number.
    type Error = i32;

    fn read(&self, area: &mut [u8]) -> Result<usize, i32> {
        let mut vector = IoVec { base: area.as_mut_ptr(), size: area.len() };
        let data = (&raw mut vector).cast();
        // SAFETY: the vector describes `area`, which the host may fill, and `data` points to the
        // vector. Both outlive the call.
        let result =
            unsafe { ptrace(GETREGSET, self.0, ptr::without_provenance_mut(X86_XSTATE), data) };
        if result == 0 { Ok(vector.size) } else { Err(errno()) }
    }

    fn write(&self, area: &[u8]) -> Result<(), i32> {
        let mut vector = IoVec { base: area.as_ptr().cast_mut(), size: area.len() };
        let data = (&raw mut vector).cast();
        // SAFETY: as in `read`; the host only reads the bytes that the vector describes.
        let result =
            unsafe { ptrace(SETREGSET, self.0, ptr::without_provenance_mut(X86_XSTATE), data) };
        if result == 0 { Ok(()) } else { Err(errno()) }
    }
}
