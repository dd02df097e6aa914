//! ptrace(2) of a host whose processor has AMX, on any host: for tests of what happens there.

use core::ffi::{c_int, c_long, c_uint, c_void};
use core::slice;

use crate::host::{self, IoVec};

/// The size of the area on a processor with AMX, in bytes.
pub const SIZE: usize = 11_008;

/// `EFAULT` of `errno.h`.
const FAULT: i32 = 14;

/// Does what ptrace(2) does on a host whose extended processor state has [`SIZE`] bytes: what the
/// real one lacks reads as zeros, and a shorter state is refused.
///
/// # Safety
///
/// As for ptrace(2): `address` and `data` must be what this request expects there.
#[cfg_attr(uml_xstate = "amx_host", unsafe(export_name = "ptrace"))]
pub unsafe extern "C" fn ptrace(
    request: c_uint,
    pid: c_int,
    address: *mut c_void,
    data: *mut c_void,
) -> c_long {
    let is_regset = request == host::GETREGSET || request == host::SETREGSET;
    if !is_regset || address.addr() != host::X86_XSTATE || data.is_null() {
        // SAFETY: the caller answers for the meaning of its own words.
        return unsafe { host::ptrace(request, pid, address, data) };
    }
    // SAFETY: for these requests `data` points to a vector of the caller's.
    let wanted = unsafe { (*data.cast::<IoVec>()).size }.min(SIZE);
    if request == host::SETREGSET && wanted < SIZE {
        host::set_errno(FAULT);
        return -1;
    }
    // SAFETY: as above.
    let result = unsafe { host::ptrace(request, pid, address, data) };
    if request == host::GETREGSET && result == 0 {
        // SAFETY: the vector describes bytes that the caller wants filled: `wanted` is not
        // more than it said, and the host has filled the first `size`.
        unsafe {
            let vector = &mut *data.cast::<IoVec>();
            let bytes = slice::from_raw_parts_mut(vector.base, wanted);
            bytes.get_mut(vector.size..).unwrap_or_default().fill(0);
            vector.size = wanted;
        }
    }
    result
}
