//! Runs Cargo, watching what it prints.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Program, paths, process};
use serde::Deserialize;

/// The timeout for one call of Cargo: enough for a first build of everything on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(45 * 60);

/// The Cargo that runs xtask, as a command to run at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root());
    command
}

/// Runs a command to its end, passing each line of its standard output to `line`. Returns whether
/// it succeeded.
pub(crate) fn watch(command: &mut Command, line: impl FnMut(&str)) -> Result<bool> {
    process::watch(command, TIMEOUT, line).map(|status| status.success())
}

/// The parts of a `--message-format json` message that concern programs.
#[derive(Debug, Deserialize)]
struct Message {
    target: Option<Target>,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
}

/// Builds something (`build -p ipvsadm`, `test -p ipvs-tests --no-run`) and returns the path of its
/// program `name`.
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

/// Builds the program `lab`.
pub(crate) fn lab() -> Result<Program> {
    build(&["build", "-p", "lab", "--bin", "lab"], "lab").map(Program::at)
}

/// A copy of the running program, for a guest to run too.
///
/// A copy is needed because Cargo may have replaced the file meanwhile. It does so when it builds
/// the whole workspace, which enables other features of the dependencies than xtask alone does.
pub(crate) fn own() -> Result<PathBuf> {
    let kept = paths::root().join("target/xtask-in-guests");
    let copy = kept.with_extension(std::process::id().to_string());
    fs::copy("/proc/self/exe", &copy)
        .and_then(|_| fs::rename(&copy, &kept))
        .with_context(|| format!("can't copy xtask to {}", kept.display()))?;
    Ok(kept)
}

/// The path of the program `name`, if this message of Cargo's is about it.
fn executable(message: &str, name: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(message).ok()?;
    message.executable.filter(|_| message.target.is_some_and(|target| target.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a test, the running program is the test program.
    #[test]
    fn the_running_program_is_copied_even_if_its_file_is_gone() {
        let copy = own().unwrap();
        assert_eq!(fs::read(copy).unwrap(), fs::read("/proc/self/exe").unwrap());
    }

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
