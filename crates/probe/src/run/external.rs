//! Checks made by external commands.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PrepareError, local};
use crate::probe::External;
use crate::verdict::{ReasonKind, Stage, Verdict};

/// How long a command may take to end by itself once it gets TERM.
const GRACE: Duration = Duration::from_secs(1);

/// Checks that the program can be run.
pub(super) fn prepare(external: &External) -> Result<(), PrepareError> {
    let program = &external.program;
    let found = if program.components().count() > 1 || program.is_absolute() {
        executable(program)
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|it| executable(&it.join(program)).is_ok());
        found.then_some(()).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not in PATH"))
    };
    found.map_err(|source| PrepareError::Program { program: program.clone(), source })
}

fn executable(path: &Path) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "not an executable file"))
}

/// Runs the command in its own process group, which outlives `limit` by at most a second.
pub(super) async fn run(external: &External, limit: Duration) -> Verdict {
    let mut command = Command::new(&external.program);
    command
        .args(&external.arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            return local(format!("cannot run {}: {error}", external.program.display()));
        }
    };
    let mut group = Group::of(child);
    match timeout(limit, group.child.wait()).await {
        Ok(Ok(status)) => {
            group.ended();
            judge(status)
        }
        Ok(Err(error)) => local(format!("cannot wait for {}: {error}", external.program.display())),
        Err(_) => {
            group.signal(Signal::TERM);
            let _ = timeout(GRACE, group.child.wait()).await;
            // Whatever is left of it, its children included, is killed with the group.
            drop(group);
            let text = format!("timed out after {limit:?} waiting for the command");
            Verdict::down(ReasonKind::Timeout, Stage::Reply, text)
        }
    }
}

fn judge(status: ExitStatus) -> Verdict {
    if status.success() {
        return Verdict::Up;
    }
    let text = match status.code() {
        Some(code) => format!("the command ended with status {code}"),
        // "signal: 9 (SIGKILL)"
        None => format!("the command was ended by {status}"),
    };
    Verdict::down(ReasonKind::Command(status.code()), Stage::Reply, text)
}

/// A command and the processes that it has started. Dropping the group kills them.
struct Group {
    child: Child,
    /// None once there is nothing to kill.
    leader: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Self { child, leader }
    }

    /// The command has ended by itself: processes that it leaves behind are meant to stay.
    fn ended(&mut self) {
        self.leader = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.leader {
            // It fails if the group is already gone.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
