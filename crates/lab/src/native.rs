//! Runs a command on this machine's own kernel, in separate network, mount and process namespaces.
//!
//! When the command or this process ends, the process namespace ends everything that the command
//! started.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sched::{CloneFlags, unshare};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, Signal, WaitOptions, set_parent_process_death_signal};

use crate::failure::Failure;
use crate::guest::spec::{Spec, status};
use crate::process;
use crate::program::Program;
use crate::signals::{self, Caught, Signals};

/// How long a module may take to load from a slow disk.
const MODPROBE_TIMEOUT: Duration = Duration::from_secs(60);

const TICK: Duration = Duration::from_millis(20);

/// Makes sure that this machine's kernel can do what the tests need; the error says what is
/// missing.
fn ready() -> Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    ensure!(
        rustix::process::geteuid().is_root(),
        "this machine's own kernel ({release}) can be used by root only: \
         IPVS requires CAP_NET_ADMIN in the initial user namespace"
    );
    if Path::new("/proc/net/ip_vs").exists() {
        return Ok(());
    }
    let modprobe = process::find("modprobe")
        .map(|modprobe| process::succeed(Command::new(modprobe).arg("ip_vs"), MODPROBE_TIMEOUT));
    match modprobe {
        Some(Ok(_)) if Path::new("/proc/net/ip_vs").exists() => Ok(()),
        Some(Err(error)) => Err(error).with_context(|| {
            format!(
                "this machine's own kernel ({release}) has no IPVS: there is no /proc/net/ip_vs"
            )
        }),
        _ => bail!(
            "this machine's own kernel ({release}) has no IPVS: \
             there is no /proc/net/ip_vs, and no modprobe that could load \
             the module ip_vs"
        ),
    }
}

/// Runs a spec's command on this machine's kernel and returns its exit status.
pub(crate) fn run(spec: &Spec, timeout: Option<Duration>, program: &Program) -> Result<u8> {
    ready()?;
    let mut signals = Signals::catch()?;
    let mut child = program
        .task("native-namespaces")
        .arg("--")
        .args(&spec.command)
        .env_clear()
        .envs(spec.environment.iter().cloned())
        .current_dir(&spec.directory)
        .spawn()
        .context("can't start a process for the namespaces")?;
    let deadline = timeout.map(|timeout| (Instant::now() + timeout, timeout));
    loop {
        if let Some(status) = child.try_wait().context("can't wait for the command")? {
            return exit_status(status);
        }
        let stop = match (signals.next()?, deadline) {
            // A command on the terminal receives Ctrl-C itself, and may want to survive it.
            (Some(Caught::End(number)), _) if number != Signal::INT.as_raw() => {
                Failure::signal(number)
            }
            (_, Some((at, timeout))) if Instant::now() >= at => Failure::timeout(format!(
                "the command was ended after {} s (--timeout)",
                timeout.as_secs()
            )),
            _ => {
                std::thread::sleep(TICK);
                continue;
            }
        };
        let _ = child.kill();
        let _ = child.wait();
        return Err(stop);
    }
}

/// The process between the caller and the namespaces, needed because a new process namespace
/// applies only to children. It dies with the caller.
pub(crate) fn enter(command: &[OsString]) -> Result<u8> {
    die_with_parent()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWPID)
        .context("can't make namespaces")?;
    let mut init = Program::own()
        .task("native-init")
        .arg("--")
        .args(command)
        .spawn()
        .context("can't start the first process of the namespace")?;
    exit_status(init.wait().context("can't wait for the command")?)
}

/// PID 1 of the process namespace. It dies with [`enter`], and so does everything in the namespace.
pub(crate) fn init(command: &[OsString]) -> Result<u8> {
    die_with_parent()?;
    signals::release()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .context("can't keep mounts to ourselves")?;
    // /sys shows the network devices of the namespace it was mounted in, and /proc the processes.
    // `ip netns` needs a writable /run.
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run")] {
        mount(kind, place, kind, MountFlags::empty(), None)
            .with_context(|| format!("can't mount {kind} on {place}"))?;
    }
    let ip = process::find("ip").context("no ip (Debian package iproute2)")?;
    process::succeed(Command::new(ip).args(["link", "set", "lo", "up"]), MODPROBE_TIMEOUT)?;

    let (program, arguments) = command.split_first().context("no command")?;
    let child = match Command::new(program).args(arguments).spawn() {
        Ok(child) => Pid::from_child(&child),
        Err(error) => {
            eprintln!("lab: can't run {}: {error}", Path::new(program).display());
            return Ok(match error.kind() {
                ErrorKind::NotFound => status::NOT_FOUND,
                _ => status::NOT_EXECUTABLE,
            });
        }
    };
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, how))) if pid == child => {
                return exit_status(ExitStatus::from_raw(how.as_raw()));
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("can't wait for the command"),
        }
    }
}

/// Asks for a signal when the parent dies. If the parent is already gone, the signal never comes,
/// but then nobody waits for the result either.
fn die_with_parent() -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("can't tie the command to its parent")
}

fn exit_status(status: ExitStatus) -> Result<u8> {
    let code = status.code().or_else(|| status.signal().map(|n| status::SIGNAL_BASE + n));
    code.and_then(|code| u8::try_from(code).ok()).context("the command ended in no known way")
}
