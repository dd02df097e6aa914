//! Lets User-Mode Linux run on hosts whose processor state is larger than its buffer.
//!
//! A guest's processes are processes of the host, and the guest's kernel switches between them by
//! reading and writing their registers with ptrace(2). It writes the extended processor state
//! (`NT_X86_XSTATE`, the area that the XSAVE instruction fills) from a buffer that has a fixed size
//! up to Linux 6.12: 2,696 bytes, enough for AVX-512. The host takes the area only as a whole
//! (`xstateregs_set` in Linux's `arch/x86/kernel/fpu/regset.c`) and refuses less with `EFAULT`. On
//! a processor with AMX the area has 11,008 bytes, so there such a guest's kernel panics at start.
//!
//! [`completion`] stands in for ptrace(2) in the guest's kernel: what the kernel gives becomes the
//! beginning of the area that the process has. What the kernel's buffer lacks, AMX's tiles, can't
//! be in use in the guest: the host gives a process the tiles only after `arch_prctl(2)`, which is
//! a system call of the guest's kernel there.
//!
//! The crate takes two forms. Cargo builds a library that has everything under a Rust name, for
//! tests and for [`host`]. The build script of `lab` builds shared objects for `LD_PRELOAD`, with
//! the cfg `uml_xstate` naming the module whose function they export as `ptrace`: `completion`, or
//! `amx_host`, which makes any host behave like one with AMX, for tests. They use nothing but
//! `core` and libc: they are loaded into programs that may bring a libc of their own.

#![no_std]
#![deny(unsafe_op_in_unsafe_fn)]
#![expect(unexpected_cfgs, reason = "the build script of lab sets uml_xstate, Cargo doesn't")]

pub mod amx_host;
pub mod area;
pub mod completion;
pub mod host;

/// What a program without the standard library has to bring along. Nothing here panics; if it did,
/// the guest's kernel would better end than go on.
#[cfg(any(uml_xstate = "completion", uml_xstate = "amx_host"))]
mod program {
    #[panic_handler]
    fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
        crate::host::abort()
    }

    /// `core` was built to unwind and names this function, which is for that.
    // SAFETY: nothing else here, nor libc, defines a function by that name.
    #[unsafe(no_mangle)]
    extern "C" fn rust_eh_personality() {}
}
