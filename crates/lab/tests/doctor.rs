//! Tests what `cargo xtask doctor` finds. Each defect is simulated on this machine or in a guest,
//! which the doctor treats like any other machine. `cargo xtask test` runs this.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "Clippy takes helpers of a test for something else")]

use std::os::unix::process::CommandExt;
use std::process::{Command, Output, Stdio};

const LAB: &str = env!("CARGO_BIN_EXE_lab");

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a script as root in a guest, where `$0` is lab, and returns its output.
fn in_guest(options: &[&str], script: &str) -> String {
    let kernel = std::env::var("IPVS_KERNEL").expect("`cargo xtask test` says which kernel");
    let mut lab = Command::new(LAB);
    lab.args(["run", "--kernel", &kernel]).args(options);
    let output = lab.args(["--", "sh", "-c", script, LAB]).output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    said
}

/// The finding about this subject: its line, and the line with advice if there is one.
fn finding<'a>(said: &'a str, subject: &str) -> &'a str {
    let is_about = |line: &str| {
        // The subject follows the column with the level.
        line.get(9..).is_some_and(|rest| rest.starts_with(&format!("{subject}: ")))
    };
    let mut lines = said.split_inclusive('\n');
    let first = lines.by_ref().find(|line| is_about(line));
    let first = first.unwrap_or_else(|| panic!("nothing about {subject}: {said}"));
    let advice = lines.next().filter(|line| line.starts_with("         "));
    let start = first.as_ptr().addr() - said.as_ptr().addr();
    &said[start..start + first.len() + advice.map_or(0, str::len)]
}

#[track_caller]
fn assert_says(finding: &str, words: &[&str]) {
    for words in words {
        assert!(finding.contains(words), "no {words:?} in {finding:?}");
    }
}

/// Runs lab from a shell that has set a limit.
fn limited(limit: &str, arguments: &[&str]) -> Output {
    let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
    Command::new("sh").args(["-c", &script, LAB]).args(arguments).output().unwrap()
}

/// Runs lab with a filter that makes ptrace(2) fail with EPERM, or kills the caller.
fn without_ptrace(kill: bool, arguments: &[&str]) -> Output {
    /// `struct sock_filter` and `struct sock_fprog` of `linux/filter.h`.
    #[repr(C)]
    struct Instruction(u16, u8, u8, u32);
    #[repr(C)]
    struct Program(u16, *const Instruction);
    unsafe extern "C" {
        fn prctl(option: i32, ...) -> i32;
    }
    const PTRACE: u32 = 101;
    const KILL: u32 = 0x8000_0000;
    const FAIL_WITH_EPERM: u32 = 0x0005_0001;
    const ALLOW: u32 = 0x7fff_0000;
    const NO_NEW_PRIVS: i32 = 38;
    const SET_SECCOMP: i32 = 22;

    let verdict = if kill { KILL } else { FAIL_WITH_EPERM };
    let mut lab = Command::new(LAB);
    lab.args(arguments).stdin(Stdio::null());
    let enter = move || {
        // Load the number of the call; compare it; one of two verdicts.
        let filter = [
            Instruction(0x20, 0, 0, 0),
            Instruction(0x15, 0, 1, PTRACE),
            Instruction(0x06, 0, 0, verdict),
            Instruction(0x06, 0, 0, ALLOW),
        ];
        let program = Program(4, filter.as_ptr());
        // SAFETY: prctl(2) takes these arguments; the program and its filter outlive the calls.
        let entered = unsafe {
            prctl(NO_NEW_PRIVS, 1_u64, 0_u64, 0_u64, 0_u64) == 0
                && prctl(SET_SECCOMP, 2_u64, &raw const program) == 0
        };
        if entered { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { lab.pre_exec(enter) };
    lab.output().unwrap()
}

#[test]
fn a_machine_on_which_the_tests_run_lacks_nothing() {
    let output = Command::new(LAB).arg("doctor").output().unwrap();
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(!said.contains("MISSING"), "{said}");
    for subject in ["tracing", "processor state", "memory", "place for memory", "kernels"] {
        assert_says(finding(&said, subject), &["ok "]);
    }
}

#[test]
fn tracing_that_a_filter_forbids_is_found_before_the_boot() {
    for (kill, reason) in [(false, "PTRACE_TRACEME: Operation not permitted"), (true, "signal 31")]
    {
        let output = without_ptrace(kill, &["doctor"]);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stdout);
        assert_says(finding(&said, "tracing"), &["MISSING", reason, "--cap-add=SYS_PTRACE"]);

        let output = without_ptrace(kill, &["run", "--", "true"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{said}");
        assert_says(&said, &["no guest boots on this machine", reason, "cargo xtask doctor"]);
        assert!(!said.contains("booting"), "{said}");
    }
}

#[test]
fn limits_below_a_guests_memory_are_found_before_the_boot() {
    // In KiB for the address space, and in blocks of 512 bytes for a file's size.
    for (limit, words) in [("-v 1000000", "ulimit -v"), ("-f 1000000", "ulimit -f")] {
        for arguments in [&["doctor"][..], &["run", "--", "true"]] {
            let output = limited(limit, arguments);
            let said = text(&output.stdout) + &text(&output.stderr);
            assert_ne!(output.status.code(), Some(0), "{said}");
            assert_says(finding(&said, "memory"), &["MISSING", words, "--memory"]);
        }
        let less = limited(limit, &["doctor", "--memory", "256"]);
        assert_eq!(less.status.code(), Some(0), "{}", text(&less.stdout));
    }
}

#[test]
fn a_place_that_is_noexec_too_small_or_read_only_is_none() {
    let said = in_guest(
        &[],
        // Uses a copy of lab, because the checkout may be below one of these folders.
        "cp \"$0\" /run/lab && mount -t tmpfs -o noexec,size=4g none /dev/shm && \
         mount -t tmpfs -o size=64m none /tmp && mount -t tmpfs -o ro,size=4g none /var/tmp || exit; \
         TMPDIR=/nowhere /run/lab doctor --memory 128; \
         mount -t tmpfs -o size=200m none /tmp && /run/lab doctor --memory 128; true",
    );
    assert_says(
        finding(&said, "place for memory"),
        &[
            "MISSING",
            "/nowhere: it can't be examined",
            "/dev/shm: it is mounted noexec",
            "/tmp: only 64 MiB are free",
            "/var/tmp: it can't be written to",
            "TMPDIR",
        ],
    );
    // The guest takes a larger folder instead.
    let (_, later) = said.split_once("in /tmp").expect("/tmp is taken");
    assert!(!later.contains("place for memory"), "{said}");
}

#[test]
fn yama_and_a_kernel_that_knows_too_little_are_told_apart() {
    // ptrace(2) inside a guest lacks requests that a guest's kernel needs.
    let said = in_guest(&[], "\"$0\" doctor; true");
    assert_says(finding(&said, "tracing"), &["MISSING", "Input/output error", "emulated"]);

    let scope = "/proc/sys/kernel/yama/ptrace_scope";
    let said = in_guest(
        &[],
        &format!(
            "echo 2 >{scope} && setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" doctor; \
             true"
        ),
    );
    assert_says(
        finding(&said, "tracing"),
        &["MISSING", "ptrace_scope is 2", "CAP_SYS_PTRACE: set it to 1"],
    );
    let said = in_guest(&[], &format!("echo 3 >{scope} && \"$0\" doctor; true"));
    assert_says(finding(&said, "tracing"), &["MISSING", "ptrace_scope is 3", "at boot"]);
}

#[test]
fn a_machine_without_enough_memory_is_found_out() {
    // The guest's kernel reserves a part of that for itself.
    let said = in_guest(&["--memory", "192"], "\"$0\" doctor --memory 4096; true");
    assert_says(finding(&said, "memory"), &["warning", "a guest may use 4096", "--memory"]);
    let said = in_guest(&["--memory", "128"], "\"$0\" doctor --memory 128; true");
    assert_says(finding(&said, "memory"), &["MISSING", "the smallest guest takes 128"]);
}

#[test]
fn what_fetching_kernels_takes_is_apt_debians_keys_and_a_mirror() {
    // The fetched kernels are hidden. The first apt is set up like Ubuntu's.
    let said = in_guest(
        &[],
        &format!(
            "mount -t tmpfs none '{}/../../target/kernels' && \
             echo deb http://mirror.example/ubuntu noble main >/run/list && \
             echo 'Dir::Etc::sourcelist \"/run/list\"; Dir::Etc::sourceparts \"/dev/null\";' \
                 >/run/apt && export APT_CONFIG=/run/apt && \"$0\" doctor; echo GIVEN; \
             DEBIAN_MIRROR=http://mirror.example/debian/ \"$0\" doctor; \
             unset APT_CONFIG; echo NEXT; \
             mount -t tmpfs none /usr/share/keyrings && \"$0\" doctor; \
             mount --bind /dev/null /usr/bin/apt-get && echo THEN && \"$0\" doctor; true",
            env!("CARGO_MANIFEST_DIR")
        ),
    );
    let (ubuntu, rest) = said.split_once("NEXT").expect(&said);
    let (keys, apt) = rest.split_once("THEN").expect(&said);
    let (ubuntu, given) = ubuntu.split_once("GIVEN").expect(&said);
    assert_says(finding(ubuntu, "kernels"), &["MISSING", "no mirror of Debian", "DEBIAN_MIRROR"]);
    assert_says(finding(given, "kernels"), &["ok ", "to be fetched when needed"]);
    assert_says(finding(keys, "kernels"), &["MISSING", "apt-get install debian-archive-keyring"]);
    assert_says(finding(apt, "kernels"), &["MISSING", "no apt", "--kernel host"]);
}
