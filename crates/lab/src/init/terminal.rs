//! Gives the command its own terminal.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

/// Becomes `command`, with the terminal at `path` as its controlling terminal, which job control
/// and Ctrl-C need.
///
/// This is a separate program between PID 1 and the command: a process can only acquire a
/// controlling terminal itself, and running our code between fork and exec would take unsafe code.
pub(crate) fn exec_on_terminal(path: &Path, command: &[OsString]) -> Result<Infallible> {
    rustix::process::setsid().context("can't start a session")?;
    // A session leader without a terminal gets the first one that it opens.
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .with_context(|| format!("can't open {}", path.display()))?;
    let (program, arguments) = command.split_first().context("no command")?;
    let error = Command::new(program)
        .args(arguments)
        .stdin(terminal.try_clone()?)
        .stdout(terminal.try_clone()?)
        .stderr(terminal)
        .exec();
    Err(error).with_context(|| format!("can't run {}", Path::new(program).display()))
}
