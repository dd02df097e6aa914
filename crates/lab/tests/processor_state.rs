//! Simulates a guest on a host whose processor has AMX, on any host. `cargo xtask test` runs this.
//!
//! The host is real, with a stand-in for ptrace(2) that requires 11,008 bytes of processor state.
//! User-Mode Linux has room for 2,696 up to Linux 6.12.
#![cfg(target_arch = "x86_64")]
#![allow(clippy::unwrap_used, reason = "Clippy takes helpers of a test for something else")]

use std::arch::asm;
use std::process::{Command, Output, Stdio};

use lab::kernel::KernelVersion;

/// The shared objects, built by the build script.
const COMPLETION: &str = env!("UML_XSTATE_COMPLETION");
const AMX_HOST: &str = env!("UML_XSTATE_AMX_HOST");

/// The number of threads that take turns, and how often each of them yields.
const THREADS: u8 = 5;
const SWITCHES: u32 = 40_000;

fn kernel() -> String {
    std::env::var("IPVS_KERNEL").expect("`cargo xtask test` says which kernel")
}

/// Runs a command in a guest, with these objects preloaded into its kernel.
fn run(objects: &[&str], command: &[&str]) -> Output {
    let mut lab = Command::new(env!("CARGO_BIN_EXE_lab"));
    lab.args(["run", "--kernel", &kernel(), "--"]).args(command).stdin(Stdio::null());
    lab.env("IPVS_GUEST_PRELOAD", std::env::join_paths(objects).unwrap()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_guest_needs_completion_until_its_kernel_asks_for_the_size() {
    let output = run(&[AMX_HOST], &["uname", "-r"]);
    let said = text(&output.stderr);
    // Of the fetched series, 7.2 is the first that asks the host for the size (host_fp_size in
    // arch/x86/um/os-Linux/registers.c).
    if kernel().parse::<KernelVersion>().unwrap() >= "7.2".parse().unwrap() {
        assert_eq!(output.status.code(), Some(0), "{said}");
    } else {
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert!(said.contains("userspace - ptrace set fp regs failed, errno = 14"), "{said}");
        let cause = said.find("less room for the processor's state than this machine wants back");
        assert!(cause.is_some() && cause < said.find("the last lines of its console"), "{said}");
    }
}

#[test]
fn a_guest_boots_with_completion_and_its_threads_keep_their_registers() {
    let own = std::env::current_exe().unwrap();
    let output = run(&[COMPLETION, AMX_HOST], &[own.to_str().unwrap(), "--exact", NAME]);
    let (said, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}{stderr}");
    assert!(said.contains("1 passed"), "{said}");
}

/// The name of the test that runs again in a guest.
const NAME: &str = "a_thread_keeps_its_registers_while_others_run";

/// Each process of a guest is a process of the host, which keeps its registers. Threads share a
/// host process, so at each switch between threads the guest's kernel writes the registers of the
/// next.
#[test]
fn a_thread_keeps_its_registers_while_others_run() {
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                let given =
                    std::array::from_fn(|n| n.to_le_bytes()[0].wrapping_mul(7) ^ (thread * 41));
                for switch in 0..SWITCHES {
                    let mut kept = [0; 256];
                    give_turn_away(&given, &mut kept);
                    assert!(kept == given, "switch {switch}: {kept:?} instead of {given:?}");
                }
            });
        }
    });
}

/// Fills vector registers, yields to another thread, and reads the registers back. Registers that
/// the processor lacks are copied.
fn give_turn_away(given: &[u8; 256], kept: &mut [u8; 256]) {
    macro_rules! with {
        ($load:literal, $register:literal, $size:literal, $last:literal) => {
            // SAFETY: sched_yield(2) takes no arguments and touches no memory. The registers that
            // hold addresses point to 256 bytes each, of which at most four times 64 are used. All
            // other registers that change are declared.
            unsafe {
                asm!(
                    concat!($load, " ", $register, "0, [r8]"),
                    concat!($load, " ", $register, "7, [r8 + ", $size, "]"),
                    concat!($load, " ", $register, "8, [r8 + 2 * ", $size, "]"),
                    concat!($load, " ", $register, $last, ", [r8 + 3 * ", $size, "]"),
                    "syscall",
                    concat!($load, " [r9], ", $register, "0"),
                    concat!($load, " [r9 + ", $size, "], ", $register, "7"),
                    concat!($load, " [r9 + 2 * ", $size, "], ", $register, "8"),
                    concat!($load, " [r9 + 3 * ", $size, "], ", $register, $last),
                    in("r8") given.as_ptr(),
                    in("r9") kept.as_mut_ptr(),
                    inout("rax") 24_i64 => _,
                    clobber_abi("sysv64"),
                );
            }
        };
    }
    *kept = *given;
    if is_x86_feature_detected!("avx512f") {
        kept.fill(0);
        with!("vmovups", "zmm", "64", "31");
    } else if is_x86_feature_detected!("avx") {
        kept[..128].fill(0);
        with!("vmovups", "ymm", "32", "15");
    } else {
        kept[..64].fill(0);
        with!("movups", "xmm", "16", "15");
    }
}
