//! Checks made by external commands.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{PrepareError, local, watch};
use crate::probe::External;
use crate::verdict::{Reason, ReasonKind, Stage, Verdict};

/// How long a command may take to end once it gets TERM, and again once it gets KILL.
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

/// Runs the command in its own process group, which is killed a second after `limit` has passed.
pub(super) async fn run(external: &External, limit: Duration, started: Instant) -> Verdict {
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
    let late = || {
        let text = format!("timed out after {limit:?} waiting for the command");
        Reason::new(ReasonKind::Timeout, Stage::Reply, text)
    };
    let verdict = {
        let check = pin!(group.judged(external));
        watch::within(limit, started, started, late, check).await
    };
    if group.leader.is_some() {
        group.signal(Signal::TERM);
        let _ = timeout(GRACE, group.child.wait()).await;
        // Its children may have stayed.
        group.signal(Signal::KILL);
        let _ = timeout(GRACE, group.child.wait()).await;
        group.leader = None;
    }
    verdict
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

/// A command and the processes that it has started. Dropping the group kills them, if the command
/// is still running.
struct Group {
    child: Child,
    /// None once the command has ended by itself.
    leader: Option<Pid>,
}

impl Group {
    fn of(child: Child) -> Self {
        let leader = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        Self { child, leader }
    }

    /// Waits until the command ends by itself.
    async fn judged(&mut self, external: &External) -> Verdict {
        match self.child.wait().await {
            Ok(status) => {
                // Processes that it leaves behind are meant to stay.
                self.leader = None;
                judge(status)
            }
            Err(error) => local(format!("cannot wait for {}: {error}", external.program.display())),
        }
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

#[cfg(test)]
mod tests {
    use tokio::time::{Instant as Clock, advance};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(3);

    /// The verdict on a command that doesn't end, if this process stops for so long while it runs.
    /// The clock moves only when every task is waiting.
    fn outcome(stop: Duration) -> Verdict {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().start_paused(true).build().unwrap();
        let endless = External { program: "/bin/sleep".into(), arguments: vec!["1000".into()] };
        runtime.block_on(async {
            let check = run(&endless, LIMIT, Clock::now().into_std());
            let stalled = tokio::spawn(async move { advance(stop).await });
            let verdict = check.await;
            stalled.await.unwrap();
            verdict
        })
    }

    #[test]
    fn a_command_that_is_late_is_down() {
        for stop in [Duration::ZERO, LIMIT / 5] {
            let reason = outcome(stop).reason().cloned().unwrap();
            assert_eq!((reason.kind(), reason.stage()), (ReasonKind::Timeout, Stage::Reply));
            assert_eq!(reason.text(), "timed out after 3s waiting for the command");
        }
    }

    #[test]
    fn a_command_does_not_pay_for_this_process_being_stopped() {
        for stop in [LIMIT / 2, LIMIT, LIMIT * 20] {
            let verdict = outcome(stop);
            assert!(matches!(verdict, Verdict::Inconclusive(_)), "{stop:?}: {verdict}");
            assert_eq!(verdict.reason().map(Reason::kind), Some(ReasonKind::Stalled));
        }
    }
}
