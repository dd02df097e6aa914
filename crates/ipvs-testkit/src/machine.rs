//! Machines that run systemd, to test services as they run at boot, with systemd's timeouts,
//! restarts and restrictions.
//!
//! A machine is a container. systemd is PID 1 in namespaces of its own, on the kernel that the test
//! runs on. Several machines can run at once, each in a [`Namespace`] that tests can wire up.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use lab::process::{Background, Finished, finish};
use lab::userland::MANAGERS;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::namespace::Namespace;
use crate::poll::eventually;
use crate::userland;

/// Where the files of machines are kept.
const STAGE: &str = "/run/ipvs-machines";

/// The script that becomes PID 1.
const INIT: &str = include_str!("machine.sh");

/// How long a machine may take to boot or shut down: several times what it takes on a busy
/// single-processor machine.
const LIMIT: Duration = Duration::from_secs(90);

/// The host's settings for what to start and mount at boot and which machine to be. The test
/// machine must not inherit them.
const SETTINGS: [&str; 12] = [
    "etc/systemd",
    "etc/fstab",
    "etc/crypttab",
    "etc/rc0.d",
    "etc/rc1.d",
    "etc/rc2.d",
    "etc/rc3.d",
    "etc/rc4.d",
    "etc/rc5.d",
    "etc/rc6.d",
    "etc/rcS.d",
    "var/lib/systemd",
];

/// Programs that generate units from such settings and from devices.
const GENERATORS: [&str; 2] = ["lib/systemd/system-generators", "usr/local/lib/systemd"];

/// Units for a machine's hardware and terminals, which a container doesn't have.
const MASKED: [&str; 4] = [
    "kmod-static-nodes.service",
    "systemd-modules-load.service",
    "console-getty.service",
    "getty.target",
];

/// Folders of packages that no program reads.
const UNREAD: [&str; 3] = ["usr/share/doc", "usr/share/locale", "usr/share/man"];

/// The files of a machine with systemd: the host's own files, without its settings for services.
/// Changes persist from one boot to the next, until this is dropped.
///
/// ```no_run
/// use ipvs_testkit::{Machine, Namespace};
///
/// let machine = Machine::create("director")?;
/// machine.write("etc/ipvsadm.rules", "-A -t 192.0.2.1:80 -s rr\n")?;
/// let network = Namespace::create("director")?;
/// let booted = machine.boot(&network)?;
/// booted.run("systemctl", &["start", "ipvsadm"])?.success()?;
/// booted.shut_down()?;
/// // A reboot: the same files, and a network and an IPVS table that are new.
/// let booted = machine.boot(&Namespace::create("director")?)?;
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct Machine {
    /// The directory of its files: an in-memory file system of its own.
    folder: PathBuf,
}

impl Machine {
    /// Creates the files. `label` becomes the host name.
    ///
    /// # Errors
    ///
    /// If the caller isn't root, systemd is missing, or the kernel lacks overlayfs.
    pub fn create(label: &str) -> Result<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        ensure!(
            Path::new("/lib/systemd/systemd").exists(),
            "there is no systemd (Debian package systemd)"
        );
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = PathBuf::from(format!("{STAGE}/{label}-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        mount("tmpfs", &folder, "tmpfs", MountFlags::empty(), None)
            .with_context(|| format!("cannot mount {folder:?}"))?;
        // From here on, dropping it unmounts it.
        let machine = Self { folder };
        let [upper, work, root] = ["upper", "work", "root"].map(|name| machine.folder.join(name));
        for folder in [&upper, &work, &root] {
            fs::create_dir(folder).with_context(|| format!("cannot make {folder:?}"))?;
        }
        let mut layers = b"lowerdir=/,upperdir=".to_vec();
        layers.extend(upper.as_os_str().as_bytes());
        layers.extend(b",workdir=");
        layers.extend(work.as_os_str().as_bytes());
        mount("overlay", &root, "overlay", MountFlags::empty(), &*std::ffi::CString::new(layers)?)
            .context("cannot lay a machine's files over those of this one")?;
        machine.settle(label)?;
        Ok(machine)
    }

    /// Removes what the host would start at boot, and gives the machine its identity.
    fn settle(&self, label: &str) -> Result<()> {
        for path in SETTINGS.into_iter().chain(GENERATORS) {
            let path = self.path(path);
            let gone =
                if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match gone {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("cannot remove {path:?}"));
                }
                _ => {}
            }
        }
        for folder in ["etc/systemd/system", "proc", "sys", "dev", "run", "tmp"] {
            let folder = self.path(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {folder:?}"))?;
        }
        for unit in MASKED {
            let link = self.path("etc/systemd/system").join(unit);
            symlink("/dev/null", &link).with_context(|| format!("cannot mask {unit}"))?;
        }
        self.write("etc/hostname", &format!("{label}\n"))?;
        // Without an ID, systemd would take this for the first boot and enable whatever is
        // installed.
        let id = fs::read_to_string("/proc/sys/kernel/random/uuid").context("cannot make an id")?;
        self.write("etc/machine-id", &id.replace('-', ""))
    }

    /// Adds NetworkManager and ifupdown of a fixed release, with all they need. Of what this machine has,
    /// its own version stays.
    ///
    /// # Errors
    ///
    /// If they weren't fetched, or can't be copied.
    pub fn add_network_managers(&self) -> Result<()> {
        add(&userland::root(MANAGERS)?, &self.path(""))
            .context("cannot copy NetworkManager and ifupdown")?;
        // The package of D-Bus makes them when it is installed.
        for (file, line) in [
            ("etc/passwd", "messagebus:x:990:990::/nonexistent:/usr/sbin/nologin\n"),
            ("etc/group", "messagebus:x:990:\n"),
        ] {
            let text = fs::read_to_string(self.path(file))?;
            if !text.lines().any(|it| it.starts_with("messagebus:")) {
                self.write(file, &format!("{text}{line}"))?;
            }
        }
        Ok(())
    }

    /// The path of a file of the machine, `etc/default/ipvsadm` for example, as seen from outside.
    pub fn path(&self, path: &str) -> PathBuf {
        self.folder.join("root").join(path)
    }

    /// Writes a file of the machine.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn write(&self, path: &str, contents: &str) -> Result<()> {
        let path = self.path(path);
        fs::write(&path, contents).with_context(|| format!("cannot write {path:?}"))
    }

    /// Boots the machine in the network namespace `network`, and waits until systemd has started
    /// everything it should, even if some of it failed.
    ///
    /// # Errors
    ///
    /// If booting takes more than a minute and a half; the error includes systemd's output.
    pub fn boot(&self, network: &Namespace) -> Result<Booted> {
        let console = self.folder.join("console");
        File::create(&console).with_context(|| format!("cannot make {console:?}"))?;
        let mut command = network.command("unshare");
        command.args(["--fork", "--kill-child=KILL", "--pid", "--mount", "--ipc", "--uts"]);
        command.args(["--cgroup", "--", "sh", "-euc", INIT, "machine"]);
        command.arg(self.folder.join("root")).arg(&console);
        let mut process = Background::start(command.stdin(std::process::Stdio::null()))?;
        let pid = eventually(LIMIT, || {
            process.still_running()?;
            let said = process.stdout()?;
            said.trim_end().parse::<u32>().with_context(|| format!("it said {said:?}"))
        })?;
        let mut booted = Booted { process, pid, console };
        booted.wait_until_up().map_err(|error| booted.explain(error))?;
        Ok(booted)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        for path in [self.folder.join("root"), self.folder.clone()] {
            // There is no overlay if mounting it failed.
            let _ = unmount(&path, UnmountFlags::DETACH);
        }
        let _ = fs::remove_dir(&self.folder);
    }
}

/// Copies what isn't there.
fn add(from: &Path, to: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        // A link such as /var/run leads out of the machine's files.
        let leads_out = fs::read_link(&to).is_ok_and(|it| it.is_absolute());
        if leads_out || UNREAD.iter().any(|it| from.ends_with(it)) {
            continue;
        }
        if kind.is_dir() {
            fs::create_dir_all(&to)?;
            add(&from, &to)?;
        } else if fs::symlink_metadata(&to).is_ok() {
            // This machine's own.
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if kind.is_file() {
            fs::copy(&from, &to)?;
        }
    }
    Ok(())
}

/// A running machine. Dropping it kills all of its processes at once, like a power failure.
#[derive(Debug)]
pub struct Booted {
    process: Background,
    /// Its PID 1, as numbered outside the container.
    pid: u32,
    console: PathBuf,
}

impl Booted {
    /// A command that runs `program` on the machine, as root.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg("--target").arg(self.pid.to_string()).args(["--all", "--wd=/", "--"]);
        command.args(["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]);
        command.arg(program);
        command
    }

    /// Runs a program on the machine to completion, whatever its exit status.
    ///
    /// # Errors
    ///
    /// If the program can't be started, or runs for more than a minute and a half.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<Finished> {
        self.run_within(LIMIT, program, arguments)
    }

    /// [`Booted::run`] with another limit than its 90 seconds.
    ///
    /// # Errors
    ///
    /// If the program can't be started or runs into the limit.
    pub fn run_within(
        &self,
        limit: Duration,
        program: &str,
        arguments: &[&str],
    ) -> Result<Finished> {
        finish(self.command(program).args(arguments), limit)
    }

    /// The output of systemd and the services, for error messages.
    pub fn log(&self) -> String {
        let journal = self.run("journalctl", &["--no-pager", "--boot", "--lines=60"]);
        let journal = journal.map_or_else(|error| format!("{error:#}"), |said| said.stdout);
        let console = fs::read(&self.console).unwrap_or_default();
        format!("{}{journal}", String::from_utf8_lossy(&console))
    }

    /// Stops all services in order, and waits until the machine has shut down.
    ///
    /// # Errors
    ///
    /// If shutting down takes more than a minute and a half.
    pub fn shut_down(mut self) -> Result<()> {
        self.run("systemctl", &["poweroff", "--no-wall"])?.success()?;
        if self.process.wait(LIMIT)?.is_none() {
            bail!("the machine doesn't shut down: {}", self.log());
        }
        Ok(())
    }

    fn wait_until_up(&mut self) -> Result<()> {
        // systemd responds once it has created its sockets.
        eventually(LIMIT, || {
            self.process.still_running()?;
            self.run("systemctl", &["show", "--property=Version"])?.success()
        })?;
        // It waits for the end of the boot, but loses its connection if that was made too early.
        eventually(LIMIT, || {
            self.process.still_running()?;
            let state = self.run("systemctl", &["is-system-running", "--wait"])?;
            let word = state.stdout.trim_end();
            // `degraded` means that a unit failed, which may be what is being tested.
            let is_up = ["running", "degraded"].contains(&word);
            ensure!(is_up, "it is {word:?} after its boot: {}", state.stderr.trim_end());
            Ok(())
        })
    }

    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        error.context(format!("the machine doesn't boot: {}", self.log()))
    }
}
