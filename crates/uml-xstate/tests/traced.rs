//! Tests the completion on a real process of this machine: for any size of its processor's state, a
//! shorter area is refused without completion and accepted with it.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "Clippy takes helpers of a test for something else")]

use std::ffi::c_void;
use std::io::IoSliceMut;
use std::process::{Child, Command, Stdio};
use std::ptr;

use nix::sys::ptrace::attach;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;
use uml_xstate::area::Tracee;
use uml_xstate::host::{BUFFER_SIZE, Process, Refused};
use uml_xstate::{amx_host, completion};

/// See `crate::host`; repeated here from `linux/ptrace.h` and `linux/elf.h`.
const GETREGSET: u32 = 0x4204;
const SETREGSET: u32 = 0x4205;
const NT_X86_XSTATE: usize = 0x202;
const EFAULT: i32 = 14;

/// The offset of register XMM0 in the area, and the offset of the feature bitmap (Intel SDM, volume
/// 1, 13.4).
const XMM0: usize = 160;
const XSTATE_BV: usize = 512;
const SSE: u8 = 1 << 1;

type Ptrace = unsafe extern "C" fn(u32, i32, *mut c_void, *mut c_void) -> i64;

/// A stopped process that this thread traces.
struct Traced(Child);

impl Traced {
    fn start() -> Self {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
        attach(pid).unwrap();
        assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Stopped(..)));
        Self(child)
    }

    fn process(&self) -> Process {
        Process(i32::try_from(self.0.id()).unwrap())
    }

    /// Calls one of the replacements for ptrace(2) with a vector. Returns its result, and the
    /// vector's size afterwards.
    fn call(&self, ptrace: Ptrace, request: u32, area: &mut [u8]) -> (i64, usize) {
        // `IoSliceMut` has the layout of `struct iovec`.
        let mut vector = IoSliceMut::new(area);
        let data = (&raw mut vector).cast();
        // SAFETY: the vector describes `area`, and both outlive the call.
        let result = unsafe {
            ptrace(request, self.process().0, ptr::without_provenance_mut(NT_X86_XSTATE), data)
        };
        (result, vector.len())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_shorter_state_is_refused_without_completion_and_completed_with_it() {
    let traced = Traced::start();
    let mut before = vec![0; BUFFER_SIZE];
    let size = traced.process().read(&mut before).unwrap();
    before.truncate(size);

    let mut given = before[..size - 64].to_vec();
    given[XMM0..XMM0 + 16].copy_from_slice(b"sixteen letters.");
    given[XSTATE_BV] |= SSE;
    assert_eq!(traced.process().write(&given), Err(EFAULT));
    assert_eq!(traced.call(completion::ptrace, SETREGSET, &mut given).0, 0);

    let mut after = vec![0; size];
    assert_eq!(traced.process().read(&mut after), Ok(size));
    assert_eq!(after[XMM0..XMM0 + 16], *b"sixteen letters.");
    assert_eq!(after[size - 64..], before[size - 64..]);

    // The size is known now. A whole state is accepted, and so is one with extra bytes after it.
    before[XSTATE_BV] |= SSE;
    assert_eq!(traced.call(completion::ptrace, SETREGSET, &mut before).0, 0);
    assert_eq!(traced.process().read(&mut after), Ok(size));
    assert_eq!(after[XMM0..XMM0 + 16], before[XMM0..XMM0 + 16]);
    let mut longer = [&before[..], &[0xff; 64]].concat();
    assert_eq!(traced.call(completion::ptrace, SETREGSET, &mut longer).0, 0);
}

#[test]
fn the_host_of_the_tests_wants_what_one_with_amx_wants() {
    let traced = Traced::start();
    let mut area = vec![0xff; BUFFER_SIZE];
    assert_eq!(traced.call(amx_host::ptrace, GETREGSET, &mut area), (0, amx_host::SIZE));
    let size = traced.process().read(&mut vec![0; BUFFER_SIZE]).unwrap();
    assert!(area[size.min(amx_host::SIZE)..amx_host::SIZE].iter().all(|byte| *byte == 0));
    assert!(area[amx_host::SIZE..].iter().all(|byte| *byte == 0xff));

    assert_eq!(traced.call(amx_host::ptrace, GETREGSET, &mut area[..2_696]), (0, 2_696));
    assert_eq!(traced.call(amx_host::ptrace, SETREGSET, &mut area[..2_696]).0, -1);
    assert_eq!(traced.call(amx_host::ptrace, SETREGSET, &mut area[..amx_host::SIZE]).0, 0);
}

#[test]
fn a_round_trip_tells_the_size_and_a_process_that_is_not_traced_the_error() {
    let traced = Traced::start();
    let mut buffer = vec![0; BUFFER_SIZE];
    let size = traced.process().round_trip(&mut buffer).unwrap();
    // The smallest area consists of the legacy region and the header (Intel SDM, volume 1, 13.4.2).
    assert!((576..BUFFER_SIZE).contains(&size), "{size}");
    let own = i32::try_from(std::process::id()).unwrap();
    // ESRCH: ptrace(2).
    assert_eq!(Process(own).round_trip(&mut buffer), Err(Refused::Reading(3)));
}
