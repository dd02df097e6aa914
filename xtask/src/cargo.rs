//! Runs Cargo, watching what it prints.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Program, paths, process};
use serde::Deserialize;

/// The longest that one call of Cargo may take: a first build of everything on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// Cargo, to be run at the root of the workspace: the one that runs xtask.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// Runs a command to its end and gives each line of its standard output to `line`; whether it
/// succeeded.
pub(crate) fn watch(command: &mut Command, line: impl FnMut(&str)) -> Result<bool> {
    process::watch(command, TIMEOUT, line).map(|status| status.success())
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
}
