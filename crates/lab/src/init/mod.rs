//! Inside the guest: `lab` as PID 1.
//!
//! It sets up a root file system that keeps every change in memory, runs one command, passes its
//! input and output through the serial line, and leaves exactly one verdict on the console before
//! it powers the machine off.

mod mounts;
mod relay;
mod terminal;

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::system::{RebootCommand, reboot, sethostname};

use crate::guest::console::Verdict;
use crate::guest::spec::{self, Spec};
use crate::process::succeed;

pub(crate) use terminal::exec_on_terminal;

/// Several times longer than loading a module takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where the guest finds this program, even if the host's copy is moved meanwhile.
const SELF: &str = "/run/ipvs-guest";

/// Whether this process is the PID 1 that a guest's kernel started.
pub(crate) fn is_init() -> bool {
    std::process::id() == 1 && std::env::var_os(spec::VARIABLE).is_some()
}

/// Runs as PID 1. It never returns, because the kernel panics when PID 1 exits.
pub(crate) fn init() -> ! {
    let verdict = match serve() {
        Ok(status) => Verdict::Exit(status),
        Err(error) => Verdict::Failed(format!("{error:#}")),
    };
    // Data written to the host's files is still in this kernel's memory.
    rustix::fs::sync();
    say(&verdict.line());
    let _ = reboot(RebootCommand::PowerOff);
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

/// Writes a line to the console. Errors are ignored, as there is nowhere to report them: the host
/// then finds no verdict and says so.
fn say(line: &str) {
    if let Ok(mut console) = std::fs::OpenOptions::new().write(true).open("/dev/console") {
        let _ = console.write_all(format!("{line}\n").as_bytes());
        let _ = rustix::termios::tcdrain(&console);
    }
}

fn serve() -> Result<u8> {
    let path = std::env::var_os(spec::VARIABLE).unwrap_or_default();
    let spec = Spec::read(Path::new(&path))?;
    ensure!(!spec.command.is_empty(), "the spec has no command");
    mounts::enter_root(&spec)?;
    prepare(&spec)?;
    relay::run(&spec)
}

/// Prepares the kernel: module loading, the loopback device, IPVS.
fn prepare(spec: &Spec) -> Result<()> {
    sethostname(b"ipvs-guest").context("can't set the host name")?;
    let modprobe = find_program(spec, "modprobe").context("no modprobe (Debian package kmod)")?;
    // The kernel runs modprobe itself when a scheduler, a device type or a protocol is requested.
    std::fs::write("/proc/sys/kernel/modprobe", modprobe.as_os_str().as_encoded_bytes())
        .context("can't tell the kernel where modprobe is")?;
    let ip = find_program(spec, "ip").context("no ip (Debian package iproute2)")?;
    run(spec, &ip, &["link", "set", "lo", "up"])?;
    run(spec, &modprobe, &["ip_vs"])
}

fn find_program(spec: &Spec, name: &str) -> Option<std::path::PathBuf> {
    let path = spec.variable("PATH")?;
    std::env::split_paths(path).map(|dir| dir.join(name)).find(|candidate| candidate.is_file())
}

fn run(spec: &Spec, program: &Path, arguments: &[&str]) -> Result<()> {
    let mut command = std::process::Command::new(program);
    command.args(arguments).env_clear().envs(spec.environment.iter().cloned());
    succeed(&mut command, TIMEOUT).map(drop)
}
