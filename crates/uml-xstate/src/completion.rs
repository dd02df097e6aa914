//! Replaces ptrace(2) in a guest's kernel whose buffer is smaller than the host's processor state.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_long, c_uint, c_void};
use core::slice;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::area;
use crate::host::{self, BUFFER_SIZE, IoVec, Process};

/// `EBUSY` of `errno.h`.
const BUSY: i32 = 16;

/// The size of the host's area in bytes, which is the same for all processes; 0 until it is known.
static SIZE: AtomicUsize = AtomicUsize::new(0);

/// Room for a whole area. It isn't on the stack, because the stacks of the guest's kernel have only
/// 16 KiB.
struct Buffer {
    taken: AtomicBool,
    bytes: UnsafeCell<[u8; BUFFER_SIZE]>,
}

// SAFETY: `Buffer::with` lends the bytes to one caller at a time.
unsafe impl Sync for Buffer {}

static BUFFER: Buffer =
    Buffer { taken: AtomicBool::new(false), bytes: UnsafeCell::new([0; BUFFER_SIZE]) };

impl Buffer {
    /// `None` if another caller is using it: another thread, or code that a signal interrupted.
    fn with<T>(&self, work: impl FnOnce(&mut [u8]) -> T) -> Option<T> {
        if self.taken.swap(true, Ordering::Acquire) {
            return None;
        }
        // SAFETY: `taken` was false, so there is no other reference until it is false again.
        let result = work(unsafe { &mut *self.bytes.get() });
        self.taken.store(false, Ordering::Release);
        Some(result)
    }
}

/// Behaves like ptrace(2), but accepts an extended processor state that is shorter than the host's
/// and treats it as the beginning of the whole state.
///
/// Where the host's state isn't larger, only the first such call costs more than the original.
///
/// # Safety
///
/// As for ptrace(2): `address` and `data` must be what the request expects.
#[cfg_attr(uml_xstate = "completion", unsafe(export_name = "ptrace"))]
pub unsafe extern "C" fn ptrace(
    request: c_uint,
    pid: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    if request == host::SETREGSET && address.addr() == host::X86_XSTATE && !data.is_null() {
        // SAFETY: for this request `data` points to a vector that describes readable bytes.
        let given = unsafe {
            let vector = &*data.cast::<IoVec>();
            slice::from_raw_parts(vector.base, vector.size)
        };
        let known = SIZE.load(Ordering::Relaxed);
        if known == 0 || given.len() < known {
            return put(pid, given);
        }
    }
    // SAFETY: the caller guarantees that its arguments are valid.
    unsafe { host::ptrace(request, pid, address, data) }
}

fn put(pid: c_int, given: &[u8]) -> c_long {
    // Only one thread of a guest's kernel traces, and no signal handler of it calls this meanwhile.
    let put = BUFFER.with(|buffer| area::put(&Process(pid), given, buffer)).unwrap_or(Err(BUSY));
    match put {
        Ok(size) => {
            SIZE.store(size, Ordering::Relaxed);
            0
        }
        Err(number) => {
            host::set_errno(number);
            -1
        }
    }
}
