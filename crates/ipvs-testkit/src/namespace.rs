//! Network namespaces for one test alone, which clean up after themselves.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, anyhow, ensure};
use lab::process::output;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::memory_file::memory_file;
use crate::poll::eventually;

/// Where iproute2 keeps the names of network namespaces.
const DIRECTORY: &str = "/run/netns";

/// How long the processes in a namespace may take to die.
const KILL_LIMIT: Duration = Duration::from_secs(10);

/// A named network namespace; dropping it kills the processes inside and deletes it.
///
/// ```no_run
/// use ipvs_testkit::Namespace;
///
/// let netns = Namespace::create("director")?;
/// netns.ip(&["link add eth0 type dummy", "addr add 192.0.2.1/24 dev eth0"])?;
/// let table = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/ip_vs"))??;
/// assert!(table.starts_with("IP Virtual Server"));
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Creates a namespace with its loopback device up. `label` makes it recognizable in `ip netns
    /// list`; the rest of its name is unique to this process and call.
    ///
    /// # Errors
    ///
    /// If `ip netns add` fails, which it does unless run as root.
    pub fn create(label: &str) -> Result<Self> {
        let netns = Self::create_bare(label)?;
        netns.ip(&["link set lo up"])?;
        Ok(netns)
    }

    /// Creates a namespace in which no device is up.
    pub(crate) fn create_bare(label: &str) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", prefix(label));
        output(Command::new("ip").args(["netns", "add", &name]))?;
        Ok(Self { name })
    }

    /// The name that `ip -n` and `ip netns exec` know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The processes in it.
    ///
    /// # Errors
    ///
    /// If `/proc` can't be read.
    pub fn processes(&self) -> Result<Vec<Pid>> {
        processes_in(&path_of(&self.name))
    }

    /// A command that runs `program` inside the namespace.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.command_by(&[], program)
    }

    /// The same, executed by another command, which the words `by` begin.
    pub fn command_by(&self, by: &[&str], program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).args(by).arg(program);
        command
    }

    /// Executes ip(8) commands, written without the leading `ip`, in one batch. Starting a program
    /// takes most of the time where the kernel is itself a process (user-mode Linux).
    ///
    /// # Errors
    ///
    /// If a command fails; the ones after it aren't executed.
    pub fn ip(&self, commands: &[impl AsRef<str>]) -> Result<()> {
        let lines: Vec<&str> = commands.iter().map(AsRef::as_ref).collect();
        let batch = memory_file(lines.join("\n"))?;
        let mut ip = Command::new("ip");
        ip.args(["-n", &self.name, "-batch", "-"]).stdin(batch);
        output(&mut ip).with_context(|| format!("of these commands:\n{}", lines.join("\n")))?;
        Ok(())
    }

    /// Runs `work` inside the namespace, on a thread of its own that ends with it. No other thread
    /// changes its namespace.
    ///
    /// The thread's files are under `/proc/thread-self/net`; `/proc/net` shows those of the
    /// process's first thread. Sockets opened inside stay in the namespace and may be returned.
    ///
    /// # Errors
    ///
    /// If the namespace can't be entered, or `work` panics.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        let entered = || -> Result<T> {
            let path = path_of(&self.name);
            let file = File::open(&path).with_context(|| format!("cannot open {path:?}"))?;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                .with_context(|| format!("cannot enter network namespace {}", self.name))?;
            Ok(work())
        };
        thread::scope(|scope| scope.spawn(entered).join()).unwrap_or_else(|panic| {
            Err(anyhow!("panic in namespace {}: {}", self.name, panic_message(&*panic)))
        })
    }

    /// Sets a sysctl of the namespace, for example `net.ipv4.ip_forward`.
    ///
    /// # Errors
    ///
    /// If there is no such sysctl, or the kernel refuses the value.
    pub fn sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = sysctl_path(key);
        self.run(|| fs::write(&path, value))?
            .with_context(|| format!("cannot set {key} to {value} in {}", self.name))
    }

    /// Reads a sysctl of the namespace, without the trailing newline.
    ///
    /// # Errors
    ///
    /// If there is no such sysctl.
    pub fn read_sysctl(&self, key: &str) -> Result<String> {
        let path = sysctl_path(key);
        let value = self.run(|| fs::read_to_string(&path))?;
        let value = value.with_context(|| format!("cannot read {key} in {}", self.name))?;
        Ok(value.trim_end().to_owned())
    }

    /// Deletes the namespaces that [`Namespace::create`] made in this process for labels that begin
    /// with `label`, even if something still holds them. This cleans up after a test that hangs.
    pub(crate) fn sweep(label: &str) -> Result<()> {
        let prefix = prefix(label);
        let Ok(entries) = fs::read_dir(DIRECTORY) else {
            // iproute2 creates the directory along with the first namespace.
            return Ok(());
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(&prefix) {
                remove(&name)?;
            }
        }
        Ok(())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // Already gone if the harness swept it.
        if !path_of(&self.name).exists() {
            return;
        }
        if let Err(error) = remove(&self.name) {
            eprintln!("network namespace {} stays behind: {error:#}", self.name);
        }
    }
}

/// Kills the processes in a namespace and deletes it, as `ip netns delete` does.
fn remove(name: &str) -> Result<()> {
    let path = path_of(name);
    eventually(KILL_LIMIT, || {
        let pids = processes_in(&path)?;
        for pid in &pids {
            // The process may have ended already.
            let _ = kill_process(*pid, Signal::KILL);
        }
        ensure!(pids.is_empty(), "{} processes are alive in {name}", pids.len());
        Ok(())
    })?;
    unmount(&path, UnmountFlags::DETACH).with_context(|| format!("cannot unmount {path:?}"))?;
    fs::remove_file(&path).with_context(|| format!("cannot remove {path:?}"))
}

/// The processes whose first thread is in the namespace, as `ip netns pids` lists them.
fn processes_in(path: &Path) -> Result<Vec<Pid>> {
    let netns = fs::metadata(path).with_context(|| format!("cannot open {path:?}"))?;
    let mut pids = Vec::new();
    for entry in fs::read_dir("/proc").context("cannot list /proc")? {
        let entry = entry?;
        let pid = entry.file_name().to_str().and_then(|name| Pid::from_raw(name.parse().ok()?));
        let Some(pid) = pid else { continue };
        // A process that has just ended has no namespace.
        let Ok(its) = fs::metadata(entry.path().join("ns/net")) else { continue };
        if (its.dev(), its.ino()) == (netns.dev(), netns.ino()) {
            pids.push(pid);
        }
    }
    Ok(pids)
}

/// The prefix of all namespace names with this label. No two processes share one, not even two that
/// had the same process ID one after the other.
fn prefix(label: &str) -> String {
    static TOKEN: OnceLock<String> = OnceLock::new();
    let token = TOKEN.get_or_init(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        format!("ipvs-{:x}-{:x}", std::process::id(), now.as_millis())
    });
    let label = label.replace(|c: char| !c.is_ascii_alphanumeric() && c != '_', "-");
    format!("{token}-{label}")
}

fn path_of(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn sysctl_path(key: &str) -> PathBuf {
    Path::new("/proc/sys").join(key.replace('.', "/"))
}

/// The message of a panic.
pub(crate) fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_safe_file_names_of_this_process() {
        let name = prefix("netlink::errors/one more");
        assert!(name.ends_with("-netlink--errors-one-more"), "{name}");
        assert!(name.contains(&format!("-{:x}-", std::process::id())), "{name}");
    }

    #[test]
    fn sysctls_are_files() {
        assert_eq!(
            sysctl_path("net.ipv4.conf.all.arp_ignore"),
            Path::new("/proc/sys/net/ipv4/conf/all/arp_ignore")
        );
    }
}
