//! A program without Rust's start-up code: this test is one, and runs itself in the states that
//! such a program has to be able to start in.

#![no_main]

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use libtest_mimic::{Arguments, Trial};

ipvs_os::entry_point!(run);

/// The argument that makes this the program under test instead of the test.
const INSIDE: &str = "--inside";

const SIGPIPE: i32 = 13;

fn run(words: Vec<OsString>) -> u8 {
    if words.get(1).is_some_and(|word| word == INSIDE) {
        return inside(&words[2..]);
    }
    let tests = [
        trial("arguments_and_exit_code_get_through", arguments_and_exit_code_get_through),
        trial("a_closed_pipe_ends_the_program", a_closed_pipe_ends_the_program),
        trial("closed_streams_are_opened", closed_streams_are_opened),
    ];
    let arguments = Arguments::from_iter(words);
    u8::from(libtest_mimic::run(&arguments, tests.into()).has_failed())
}

fn trial(name: &str, test: fn()) -> Trial {
    Trial::test(name, move || {
        test();
        Ok(())
    })
}

/// The program under test.
fn inside(words: &[OsString]) -> u8 {
    match words {
        [word] if word == "pipe" => {
            while io::stdout().write_all(&[b'x'; 4096]).is_ok() {}
            1
        }
        [word] if word == "streams" => {
            let target = |fd| std::fs::read_link(format!("/proc/self/fd/{fd}"));
            let null = |fd| target(fd).is_ok_and(|path| path.as_os_str() == "/dev/null");
            u8::from(null(0)) | u8::from(null(1)) << 1 | u8::from(null(2)) << 2
        }
        words => {
            let seen = words.iter().map(|word| format!("{word:?};")).collect::<String>();
            let _ = io::stdout().write_all(seen.as_bytes());
            let _ = io::stdout().flush();
            42
        }
    }
}

fn this(words: &[OsString]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg(INSIDE).args(words);
    command
}

fn arguments_and_exit_code_get_through() {
    let words = [b"".to_vec(), b"a b".to_vec(), b"\xff\xfe".to_vec()].map(OsString::from_vec);
    let output = this(&words).output().expect("it runs");
    assert_eq!(output.status.code(), Some(42));
    assert_eq!(output.stdout, br#""";"a b";"\xFF\xFE";"#);
}

fn a_closed_pipe_ends_the_program() {
    let mut child = this(&["pipe".into()]).stdout(Stdio::piped()).spawn().expect("it runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("it ends").signal(), Some(SIGPIPE));
}

/// Each bit of the exit code stands for a stream that is open on /dev/null.
fn closed_streams_are_opened() {
    let program = std::env::current_exe().expect("this program");
    let status = |redirections: &str| {
        let script = format!("exec \"$0\" {INSIDE} streams {redirections}");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(&program);
        let streams = shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        streams.output().expect("it runs").status.code()
    };
    assert_eq!(status(""), Some(0));
    assert_eq!(status("<&-"), Some(0b001));
    assert_eq!(status(">&-"), Some(0b010));
    assert_eq!(status("<&- 2>&-"), Some(0b101));
    assert_eq!(status("<&- >&- 2>&-"), Some(0b111));
}
