//! What the binary does without IPVS, which is the same on every machine.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Output, Stdio};

fn called_as(name: &str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ipvsadm"));
    command.arg0(name).args(args).stdin(Stdio::null()).output().expect("the binary was built")
}

#[test]
fn help_and_version_need_no_kernel() {
    for args in [&["-h"][..], &["--help", "--bogus"], &["foo", "-h"]] {
        let output = called_as("ipvsadm", args);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stdout.starts_with(b"ipvsadm v"));
        assert!(output.stdout.windows(6).any(|text| text == b"Usage:"));
        assert_eq!(output.stderr, b"");
    }
    let output = called_as("ipvsadm", &["-v", "-L"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"ipvsadm v1.31 "));
}

#[test]
fn a_full_disk_is_an_error() {
    let full = File::options().write(true).open("/dev/full").expect("/dev/full is there");
    let status = Command::new(env!("CARGO_BIN_EXE_ipvsadm"))
        .arg("-h")
        .stdout(full)
        .stderr(Stdio::piped())
        .output()
        .expect("the binary was built");
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stderr).contains("No space left on device"));
}

#[test]
fn a_closed_pipe_ends_it_silently() {
    let (reader, writer) = UnixStream::pair().expect("a pair of sockets can be made");
    drop(reader);
    let output = Command::new(env!("CARGO_BIN_EXE_ipvsadm"))
        .arg("-h")
        .stdout(OwnedFd::from(writer))
        .stderr(Stdio::piped())
        .output()
        .expect("the binary was built");
    // SIGPIPE, signal 13 of signal(7).
    assert_eq!(output.status.signal(), Some(13));
    assert_eq!(output.stderr, b"");
}

/// The message is that of the script.
#[test]
fn ipvsadm_save_has_one_option() {
    for args in [&["-x"][..], &["-n", "--"], &["foo", "-nn"]] {
        let output = called_as("/sbin/ipvsadm-save", args);
        assert_eq!(output.status.code(), Some(1));
        assert_eq!(output.stdout, b"");
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            "ipvsadm-save: Script to save the IPVS table to stdout.\n   \
             With the -n option, prints out the table in numeric format.\n"
        );
    }
}
