//! Lets User-Mode Linux run on hosts whose processor state is larger than its buffer.
//!
//! A guest's processes are processes of the host, and the guest's kernel switches between them by
//! reading and writing their registers with ptrace(2). It writes the extended processor state
//! (`NT_X86_XSTATE`, the area that the XSAVE instruction fills) from a buffer. Up to Linux 6.12
//! that buffer has a fixed size of 2,696 bytes, enough for AVX-512. The host only accepts the whole
//! area (`xstateregs_set` in Linux's `arch/x86/kernel/fpu/regset.c`) and refuses less with
//! `EFAULT`. On a processor with AMX the area has 11,008 bytes, so such a guest's kernel panics at
//! startup there.
//!
//! [`completion`] replaces ptrace(2) in the guest's kernel: what the kernel writes becomes the
//! beginning of the process's area. The part that doesn't fit the kernel's buffer, AMX's tiles,
//! can't be in use in the guest. The host enables the tiles only for processes that call
//! `arch_prctl(2)`, and in a guest that call goes to the guest's kernel.
//!
//! The crate is built in two forms. Cargo builds a library with Rust names for everything, for
//! tests and for [`host`]. The build script of `lab` builds shared objects for `LD_PRELOAD`. Its
//! cfg `uml_xstate` names the module whose function is exported as `ptrace`: `completion`, or
//! `amx_host`, which makes any host behave like one with AMX, for tests. The objects use only
//! `core` and libc, because the programs that load them may bring their own libc.

#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(unexpected_cfgs, reason = "the build script of lab sets uml_xstate, Cargo doesn't")]

pub mod amx_host;
pub mod area;
pub mod completion;
pub mod host;

/// The panic handler that a program without the standard library needs. Nothing here panics; if it
/// did, ending the guest's kernel would be better than continuing.
#[cfg(any(uml_xstate = "completion", uml_xstate = "amx_host"))]
mod program {
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        crate::host::abort()
    }

    /// `core` was built with unwinding and refers to this function.
    // SAFETY: neither this crate nor libc defines another function by that name.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}
}
