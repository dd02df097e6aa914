//! Keeps a guest from outliving its owner, the process that started it, however the owner ends.
//!
//! A guest consists of several host processes, and killing one of them leaves others behind. They
//! form one process group, which User-Mode Linux creates itself. Two processes outside the kernel
//! can end that group: the owner, and a keeper inside the group, which waits for the owner's end of
//! a pipe to close.
//!
//! - The owner dies, even by SIGKILL: the keeper ends the group.
//! - The keeper dies: the owner ends the group and reports a failure.
//! - linux.uml dies: the owner ends what it left in the group.
//!
//! The kernel starts only once its keeper runs. Until then its process waits at a gate. If the
//! owner dies, the gate never opens.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_current_process_group, kill_process_group,
    set_parent_process_death_signal, setrlimit,
};

use crate::program::Program;
use crate::signals;

/// What the gate becomes, as given on its command line.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Let the host run the kernel on several processors.
    #[arg(long)]
    pub(crate) spread: bool,
    /// The value of `LD_PRELOAD`.
    #[arg(long)]
    pub(crate) preload: OsString,
    /// The kernel and its arguments.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

/// A guest's processes. None of them outlives this process.
#[derive(Debug)]
pub(crate) struct Group {
    /// The leader of the group.
    guest: Child,
    keeper: Child,
    /// Closes when this process ends.
    _alive: OwnedFd,
    is_over: bool,
}

impl Group {
    /// Starts a kernel in the first of `folders`, with `far_line`, the other end of `line`, as
    /// standard input and `console` as output. The keeper removes both folders if it has to act.
    pub(crate) fn start(
        program: &Program,
        start: &Start,
        line: &mut UnixStream,
        far_line: UnixStream,
        console: OwnedFd,
        folders: [&Path; 2],
    ) -> Result<Self> {
        let mut guest = program
            .task("gate")
            .args(start.spread.then_some("--spread"))
            .arg("--preload")
            .arg(&start.preload)
            .arg("--")
            .args(&start.command)
            .env_clear()
            .env("TMPDIR", folders[0])
            .current_dir(folders[0])
            .stdin(OwnedFd::from(far_line))
            .stderr(console.try_clone()?)
            .stdout(console)
            // The terminal's Ctrl-C must not reach the guest: this process catches it and ends the
            // guest.
            .process_group(0)
            .spawn()
            .context("can't start the guest")?;
        let kept = pipe_with(PipeFlags::CLOEXEC).map_err(std::io::Error::from).and_then(
            |(watched, alive)| {
                let keeper = program
                    .task("keeper")
                    .args(folders)
                    .stdin(watched)
                    .process_group(Pid::from_child(&guest).as_raw_nonzero().get())
                    .spawn()?;
                Ok((keeper, alive))
            },
        );
        match kept {
            Ok((keeper, alive)) => {
                let group = Self { guest, keeper, _alive: alive, is_over: false };
                line.write_all(b"!").context("can't let the guest start")?;
                Ok(group)
            }
            Err(error) => {
                let _ = guest.kill();
                let _ = guest.wait();
                Err(error).context("can't start the guest's keeper")
            }
        }
    }

    /// How the guest ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.guest.try_wait().context("can't wait for the guest")
    }

    /// Whether the keeper is running. It should be until [`Group::end`].
    pub(crate) fn is_kept(&mut self) -> bool {
        matches!(self.keeper.try_wait(), Ok(None))
    }

    /// Ends every process of the group.
    pub(crate) fn end(&mut self) {
        // The id refers to this group until both processes have been reaped. After that it may be
        // reused.
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        let _ = kill_process_group(Pid::from_child(&self.guest), Signal::KILL);
        let _ = self.guest.wait();
        let _ = self.keeper.wait();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// The gate: becomes the kernel when the owner says so over the serial line on standard input.
pub(crate) fn pass_gate(start: &Start) -> Result<Infallible> {
    // If the owner and the keeper die together, at least the kernel dies with them.
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("can't tie the guest to its owner")?;
    let mut word = [0];
    let count = rustix::io::read(rustix::stdio::stdin(), &mut word)
        .context("can't wait for the guest's owner")?;
    ensure!(count == 1, "the guest's owner ended before the guest could start");
    signals::release()?;
    // A kernel that panics aborts; a core file of its memory is not worth having.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .context("can't forbid core files")?;
    if !start.spread {
        super::processor::settle();
    }
    let (program, arguments) = start.command.split_first().context("no kernel to start")?;
    let error = Command::new(program).args(arguments).env("LD_PRELOAD", &start.preload).exec();
    Err(error).with_context(|| format!("can't start {}", Path::new(program).display()))
}

/// The keeper: waits until standard input ends, which means that the owner is gone, and then ends
/// the group, including this process.
pub(crate) fn keep(folders: &[PathBuf]) -> Result<u8> {
    // Nothing is ever written to this pipe. An error would leave the owner's end unwatched, so it
    // counts as the owner's end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    for folder in folders {
        let _ = std::fs::remove_dir_all(folder);
    }
    kill_current_process_group(Signal::KILL).context("can't end the guest")?;
    Ok(0)
}
