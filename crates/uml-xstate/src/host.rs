//! ptrace(2) of the host, as the program's libc has it.

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

/// More than any processor's area has, in bytes.
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

// Before glibc 2.34, dlsym is in a library of its own; later ones have an empty one by that name.
#[link(name = "dl")]
unsafe extern "C" {}

/// `RTLD_NEXT` of dlsym(3): the next object after the one that asks.
const NEXT: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// How ptrace(2) is declared.
type Ptrace = unsafe extern "C" fn(c_uint, ...) -> c_long;

/// The process's last error.
pub(crate) fn errno() -> i32 {
    // SAFETY: errno(3) is a variable of the calling thread, which the function points to.
    unsafe { *__errno_location() }
}

pub(crate) fn set_errno(number: i32) {
    // SAFETY: as in `errno`; nobody else has a reference to it.
    unsafe { *__errno_location() = number }
}

pub(crate) fn abort() -> ! {
    libc_abort()
}

/// The `ptrace` that a program would have without the object that this is in.
fn next() -> Ptrace {
    static FOUND: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let mut found = FOUND.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name ends with a zero, and dlsym keeps no pointer to it.
        found = unsafe { dlsym(NEXT, c"ptrace".as_ptr()) };
        if found.is_null() {
            abort();
        }
        FOUND.store(found, Ordering::Relaxed);
    }
    // SAFETY: `ptrace` of libc and of objects like this one has that type; it isn't null.
    unsafe { core::mem::transmute::<*mut c_void, Ptrace>(found) }
}

/// Calls ptrace(2); -1 and errno if it fails.
///
/// # Safety
///
/// As for ptrace(2): `address` and `data` must be what this request expects there.
pub(crate) unsafe fn ptrace(
    request: c_uint,
    pid: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    // SAFETY: the function takes these four, and the caller answers for their meaning.
    unsafe { next()(request, pid, address, data) }
}

/// A process of the host that this thread traces and that has stopped.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub i32);

impl Process {
    /// Reads the extended processor state and writes it back, as a guest's kernel does at each
    /// switch; its size in bytes. `buffer` should have [`BUFFER_SIZE`] bytes.
    ///
    /// # Errors
    ///
    /// The host's error number, and which of the two it refused. `ENODEV` for reading means that
    /// the processor has no XSAVE, or that the host doesn't use it.
    pub fn round_trip(self, buffer: &mut [u8]) -> Result<usize, Refused> {
        let size = self.read(buffer).map_err(Refused::Reading)?;
        self.write(buffer.get(..size).unwrap_or_default()).map_err(Refused::Writing)?;
        Ok(size)
    }
}

/// Which request the host refused, and the number of the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// `PTRACE_GETREGSET`.
    Reading(i32),
    /// `PTRACE_SETREGSET`.
    Writing(i32),
}

impl Tracee for Process {
    /// The number of the error.
    type Error = i32;

    fn read(&self, area: &mut [u8]) -> Result<usize, i32> {
        let mut vector = IoVec { base: area.as_mut_ptr(), size: area.len() };
        let data = (&raw mut vector).cast();
        // SAFETY: the vector describes `area`, which the host may fill, and `data` points to the
        // vector; both outlive the call.
        let result =
            unsafe { ptrace(GETREGSET, self.0, ptr::without_provenance_mut(X86_XSTATE), data) };
        if result == 0 { Ok(vector.size) } else { Err(errno()) }
    }

    fn write(&self, area: &[u8]) -> Result<(), i32> {
        let mut vector = IoVec { base: area.as_ptr().cast_mut(), size: area.len() };
        let data = (&raw mut vector).cast();
        // SAFETY: as in `read`; the host only reads what the vector describes.
        let result =
            unsafe { ptrace(SETREGSET, self.0, ptr::without_provenance_mut(X86_XSTATE), data) };
        if result == 0 { Ok(()) } else { Err(errno()) }
    }
}
