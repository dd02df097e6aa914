//! Our `ipvsadm` as a user would run it.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipvs_testkit::{Finished, Namespace, finish, memory_file};
use serde_json::Value;

/// User and group `nobody` on most systems; any that isn't root will do.
pub const NOBODY: u32 = 65534;

/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Our own `ipvsadm`.
///
/// # Errors
///
/// If the variable `IPVSADM` doesn't name it.
pub fn our_ipvsadm() -> Result<PathBuf> {
    env::var_os("IPVSADM").map(PathBuf::from).context("IPVSADM doesn't name our ipvsadm")
}

/// Runs a program in a namespace under the name `ipvsadm`, whatever its file is called.
///
/// # Errors
///
/// If the program can't be started, or runs for more than 30 seconds.
pub fn run(
    netns: &Namespace,
    program: impl AsRef<OsStr>,
    prepare: impl FnOnce(&mut Command) + Send,
) -> Result<Finished> {
    let mut command = Command::new(program);
    command.arg0("ipvsadm").stdin(Stdio::null());
    netns.run(|| {
        prepare(&mut command);
        finish(&mut command, LIMIT)
    })?
}

/// Runs our `ipvsadm` with these arguments, separated by blanks.
///
/// # Errors
///
/// See [`run`].
pub fn ours(netns: &Namespace, arguments: &str) -> Result<Finished> {
    run(netns, our_ipvsadm()?, |command| {
        command.args(arguments.split_whitespace());
    })
}

/// Runs `-R` of a program with these lines as its standard input.
///
/// # Errors
///
/// See [`run`].
pub fn restore(
    netns: &Namespace,
    program: impl AsRef<OsStr>,
    options: &[&str],
    lines: &str,
) -> Result<Finished> {
    let stdin = memory_file(lines)?;
    run(netns, program, |command| {
        command.arg("-R").args(options).stdin(stdin);
    })
}

/// The output of our `ipvsadm` with these arguments, which must include `--json`.
///
/// # Errors
///
/// If the program fails, or doesn't print JSON.
pub fn json(netns: &Namespace, arguments: &str) -> Result<Value> {
    let text = ours(netns, arguments)?.success()?;
    serde_json::from_str(&text).with_context(|| format!("of {arguments}: {text}"))
}

/// Exit code, standard output and standard error.
pub fn said(finished: &Finished) -> (Option<i32>, &str, &str) {
    (finished.status.code(), &finished.stdout, &finished.stderr)
}

/// A copy of our `ipvsadm` that every user can execute, wherever it was built. Dropping it removes
/// the copy.
#[derive(Debug)]
pub struct PublicCopy(PathBuf);

impl PublicCopy {
    /// Creates a copy.
    ///
    /// # Errors
    ///
    /// If the copy can't be written.
    pub fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("ipvsadm-{}", std::process::id()));
        fs::copy(our_ipvsadm()?, &path).with_context(|| format!("cannot make {path:?}"))?;
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }

    /// The path of the copy.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Runs it as the user `nobody`.
    ///
    /// # Errors
    ///
    /// See [`run`].
    pub fn run_as_nobody(&self, netns: &Namespace, arguments: &str) -> Result<Finished> {
        run(netns, &self.0, |command| {
            command.args(arguments.split(' ')).uid(NOBODY).gid(NOBODY).current_dir("/");
        })
    }
}

impl Drop for PublicCopy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            eprintln!("{:?} stays behind: {error}", self.0);
        }
    }
}
