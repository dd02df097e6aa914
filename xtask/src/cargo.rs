//! Runs Cargo, watching what it prints.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Program, paths};
use serde::Deserialize;

/// The longest that one call of Cargo may take: a first build of everything on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(45 * 60);

const TICK: Duration = Duration::from_millis(50);

/// How long an output that is still open may be silent after its command has ended, before it counts
/// as held open by something else. A busy machine may take its time to let the reader run.
const GRACE: Duration = Duration::from_secs(5);

/// Cargo, to be run at the root of the workspace: the one that runs xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// Runs a command to its end and gives each line of its standard output to `line`; whether it
/// succeeded. What it says on standard error goes to ours.
pub(crate) fn watch(command: &mut Command, mut line: impl FnMut(&str)) -> Result<bool> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {name}"))?;
    let output = child.stdout.take().context("a process without standard output")?;
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut bytes = Vec::new();
        while output.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            // Nobody listens any more after the deadline.
            if sender.send(text).is_err() {
                break;
            }
            bytes.clear();
        }
    });
    let deadline = Instant::now() + TIMEOUT;
    let mut ended = None;
    let mut silent_since = Instant::now();
    loop {
        if ended.is_none() {
            ended = child.try_wait().with_context(|| format!("can't wait for {name}"))?;
            silent_since = Instant::now();
        }
        match (lines.recv_timeout(TICK), ended) {
            (Ok(text), _) => {
                line(&text);
                silent_since = Instant::now();
            }
            (Err(RecvTimeoutError::Disconnected), Some(status)) => return Ok(status.success()),
            (Err(RecvTimeoutError::Disconnected), None) => std::thread::sleep(TICK),
            (Err(RecvTimeoutError::Timeout), Some(status)) if silent_since.elapsed() >= GRACE => {
                return Ok(status.success());
            }
            (Err(RecvTimeoutError::Timeout), _) => {}
        }
        if Instant::now() >= deadline {
            let _ = child.kill();
            let _ = child.wait();
            bail!("{name} did not end within {} minutes", TIMEOUT.as_secs() / 60);
        }
    }
}

/// A message of `--message-format json`, as far as it concerns programs.
#[derive(Debug, Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// Builds something (`build -p ipvsadm`, `test -p ipvs-tests --no-run`); the path of the program
/// `name` in it.
pub(crate) fn build(arguments: &[&str], name: &str) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(arguments).args(["--quiet", "--message-format", "json-render-diagnostics"]);
    let mut found = None;
    let succeeded = watch(&mut command, |line| {
        if let Some(path) = executable(line, name) {
            found = Some(path);
        }
    })?;
    ensure!(succeeded, "`cargo {}` failed", arguments.join(" "));
    found.with_context(|| format!("`cargo {}` built no program {name}", arguments.join(" ")))
}

/// The program `lab`, built.
pub(crate) fn lab() -> Result<Program> {
    build(&["build", "-p", "lab", "--bin", "lab"], "lab").map(Program::at)
}

/// The program that runs now, for a guest to run it too.
pub(crate) fn own() -> Result<PathBuf> {
    std::env::current_exe().context("can't tell where xtask is")
}

/// The path of the program `name`, if that is what this message of Cargo's is about.
fn executable(message: &str, name: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(message).ok()?;
    message.executable.filter(|_| message.target.is_some_and(|target| target.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_found_among_cargos_messages() {
        let library = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"ipvsadm"},"executable":null}"#;
        let program = r#"{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"ipvsadm"},"executable":"/t/debug/ipvsadm"}"#;
        let end = r#"{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(library, "ipvsadm"), None);
        assert_eq!(executable(program, "ipvsadm"), Some(PathBuf::from("/t/debug/ipvsadm")));
        assert_eq!(executable(program, "xtask"), None);
        assert_eq!(executable(end, "ipvsadm"), None);
        assert_eq!(executable("warning: something", "ipvsadm"), None);
    }

    #[test]
    fn every_line_is_seen_and_a_failure_told() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "echo one; printf 'two\\nthree'; exit 1"]);
        assert!(!watch(&mut command, |line| lines.push(line.to_owned())).unwrap());
        assert_eq!(lines, ["one", "two", "three"]);
    }

    /// As on a machine that lets the reader run late: the lines come after the command's end.
    #[test]
    fn lines_that_come_late_are_seen() {
        let mut lines = Vec::new();
        let mut command = Command::new("sh");
        command.args(["-c", "(sleep 1; echo late) & exit 0"]);
        assert!(watch(&mut command, |line| lines.push(line.to_owned())).unwrap());
        assert_eq!(lines, ["late"]);
    }
}
