//! What keeps a guest from outliving the xtask that started it, however that one ends.
//!
//! A guest is several host processes, and killing one of them leaves the others behind. So three processes watch each
//! other, and each death has somebody who survives it:
//!
//! ```text
//! xtask ──socket── supervisor ──parent-death signal── linux.uml and its helpers (a process group)
//! ```
//!
//! - xtask dies, even by SIGKILL: its end of the socket closes, the supervisor ends the group.
//! - The supervisor dies: the kernel kills linux.uml, xtask ends the rest of the group.
//! - linux.uml dies: the supervisor ends the rest of the group and goes, xtask sees the console close.
//! - xtask and the supervisor die together: the parent-death signal takes linux.uml, and it takes its helpers.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, getppid, kill_process_group, set_parent_process_death_signal,
    setrlimit,
};

use super::console::group_line;

const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// The supervisor: starts `command` (linux.uml) with its own standard input (the serial line) and output (the console),
/// and ends it when `parent` (xtask) is gone. `folders` are the guest's and are removed at the end.
pub(crate) fn supervise(parent: i32, folders: &[PathBuf], command: &[OsString]) -> Result<()> {
    ensure_parent(parent)?;
    let console = std::io::stdout().as_fd().try_clone_to_owned()?;
    let mut guest = Command::new("/proc/self/exe")
        .args(["guest-starter", "--parent", &std::process::id().to_string(), "--"])
        .args(command)
        .stderr(console)
        .process_group(0)
        .spawn()
        .context("can't start the guest")?;
    let group = Pid::from_child(&guest);
    // The console must close when the last process of the guest closes it.
    let null = OpenOptions::new().write(true).open("/dev/null").context("can't open /dev/null")?;
    rustix::stdio::dup2_stdout(&null).context("can't let go of the console")?;

    let line = std::io::stdin();
    while guest.try_wait().context("can't wait for the guest")?.is_none() {
        let mut fds = [PollFd::new(&line, PollFlags::RDHUP)];
        let _ = poll(&mut fds, Some(&TICK));
        if !fds[0].revents().is_empty() || ensure_parent(parent).is_err() {
            break;
        }
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = guest.wait();
    for folder in folders {
        let _ = std::fs::remove_dir_all(folder);
    }
    Ok(())
}

/// Becomes `command`, which dies with `parent` (the supervisor). A process of its own because only a process itself can
/// ask for that signal, and nothing of ours may run between fork and exec without unsafe code.
pub(crate) fn start(parent: i32, command: &[OsString]) -> Result<Infallible> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("can't tie the guest to xtask")?;
    // It may have died before the signal was asked for.
    ensure_parent(parent)?;
    // A panicking kernel aborts, and its memory is not worth a core file.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("can't forbid core files")?;
    let group = i32::try_from(std::process::id()).context("a process id that is too large")?;
    let mut console = std::io::stdout();
    writeln!(console, "{}", group_line(group))
        .and_then(|()| console.flush())
        .context("can't write to the guest's console")?;
    let (program, arguments) = command.split_first().context("no kernel to start")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("can't start {}", Path::new(program).display()))
}

fn ensure_parent(expected: i32) -> Result<()> {
    let parent = getppid().map(Pid::as_raw_nonzero).map(std::num::NonZero::get);
    ensure!(parent == Some(expected), "the process that started this one is gone");
    Ok(())
}
