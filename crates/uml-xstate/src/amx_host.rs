//! Simulates ptrace(2) of a host whose processor has AMX, on any host, for tests.

use core::ffi::{c_int, c_long, c_uint, c_void};
use core::slice;

use crate::host::{self, IoVec};

/// The size of the extended state area on a processor with AMX, in bytes.
pub const SIZE: usize = 11_008;

/// `EFAULT` of `errno.h`.
const FAULT: i32 = 14;

/// Behaves like ptrace(2) on a host whose extended processor state has [`SIZE`] bytes. State that
/// the real host lacks reads as zeros, and a shorter state is refused.
///
/// # Safety
///
/// As for ptrace(2): `address` and `data` must be what the request expects.
#[cfg_attr(uml_xstate = "amx_host", unsafe(export_name = "ptrace"))]
pub unsafe extern "C" fn ptrace(
    request: c_uint,
    pid: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    let is_regset = request == host::GETREGSET || request == host::SETREGSET;
    if !is_regset || address.addr() != host::X86_XSTATE || data.is_null() {
        // SAFETY: the caller guarantees that its arguments are valid.
        return unsafe { host::ptrace(request, pid, address, data) };
    }
    // SAFETY: for these requests `data` points to the caller's vector.
    let wanted = unsafe { (*data.cast::<IoVec>()).size }.min(SIZE);
    if request == host::SETREGSET && wanted < SIZE {
        host::set_errno(FAULT);
        return -1;
    }
    // SAFETY: as above.
    let result = unsafe { host::ptrace(request, pid, address, data) };
    if request == host::GETREGSET && result == 0 {
        // SAFETY: the vector describes bytes for the host to fill: `wanted` is at most the vector's
        // size, and the host has filled the first `size`.
        unsafe {
            let vector = &mut *data.cast::<IoVec>();
            let bytes = slice::from_raw_parts_mut(vector.base, wanted);
            bytes.get_mut(vector.size..).unwrap_or_default().fill(0);
            vector.size = wanted;
        }
    }
    result
}
