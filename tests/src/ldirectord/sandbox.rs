//! A place for both programs on this machine, without a network: the original in its Debian, ours
//! beside it. Names mean the same to both, and what they write goes with the sandbox.

use std::fs::{self, File};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipvs_testkit::{Finished, finish};
use nix::sched::{CloneFlags, unshare};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::process::{getegid, geteuid};

use super::reader::Reader;
use super::verdict::Verdict;

/// The directory that stands in for `/etc`, of the parity of ipvsadm.
const ETC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/world");

/// Where the files are, for both programs.
const FOLDER: &str = "/run/parity";

/// How long a program may take to read a file, on a machine with a lot to do.
const LIMIT: Duration = Duration::from_secs(60);

/// One in this many files is also read by the original as it starts by itself, which has to say the
/// same.
const ALSO_STARTED: u64 = 40;

/// The sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The original's `/`.
    root: PathBuf,
    ours: PathBuf,
    /// Readers that nobody uses at the moment.
    readers: Mutex<Vec<Reader>>,
    files: AtomicU64,
}

impl Sandbox {
    /// Puts this process into a sandbox, which takes root or a user namespace. It may have no other
    /// thread yet.
    ///
    /// # Errors
    ///
    /// If this machine forbids it, or a program is missing.
    pub fn enter() -> Result<Self> {
        let variable = lab::userland::RIVALS.variable();
        let root = std::env::var_os(variable).map(PathBuf::from);
        let root = root.with_context(|| format!("{variable} doesn't name a userland"))?;
        let ours = std::env::var_os("LDIRECTORD").context("LDIRECTORD doesn't name our program")?;
        enter_namespaces().context(
            "cannot make namespaces; that takes root with the right to mount, or a machine that lets ordinary users \
             make them",
        )?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .context("cannot keep mounts to this namespace")?;
        let inside = |place: &str| root.join(place.trim_start_matches('/'));
        for place in ["/run", "/var/log"] {
            empty(Path::new(place))?;
        }
        for place in ["/var/log", "/tmp", "/dev"] {
            empty(&inside(place))?;
        }
        fs::create_dir_all(FOLDER)?;
        mount_bind("/run", inside("/run")).context("cannot share /run")?;
        for etc in [Path::new("/etc"), &inside("/etc")] {
            mount_bind(ETC, etc)
                .with_context(|| format!("cannot put the tests' files in place of {etc:?}"))?;
        }
        for device in ["/dev/null", "/dev/zero", "/dev/urandom"] {
            File::create(inside(device))?;
            mount_bind(device, inside(device)).with_context(|| format!("cannot mount {device}"))?;
        }
        let log = UnixDatagram::bind(inside("/dev/log")).context("cannot be the system's log")?;
        thread::spawn(move || while log.recv(&mut [0; 1024]).is_ok() {});
        Ok(Self { root, ours: ours.into(), readers: Mutex::default(), files: AtomicU64::new(0) })
    }

    /// What both say about a file, the original first.
    pub(super) fn judge(&self, text: &str) -> Result<(Verdict, Verdict)> {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        // Each thread has its own file.
        let thread = format!("{:?}", thread::current().id());
        let name: String = thread.chars().filter(char::is_ascii_digit).collect();
        let file = Path::new(FOLDER).join(format!("{name}.cf"));
        fs::write(&file, text).with_context(|| format!("cannot write {file:?}"))?;
        let (exit, said) = self.read(&file)?;
        let theirs = Verdict::of_original(exit, said);
        if number % ALSO_STARTED == 0 {
            let mut original = self.original("/usr/sbin/ldirectord");
            // It would start itself again to set PERLIO.
            let (exit, said) = status(&mut original, &file)?;
            let started = Verdict::of_original(exit, said);
            let same = (started.exit, &started.errors) == (theirs.exit, &theirs.errors);
            ensure!(
                same,
                "started by itself, the original says\n{started:?} instead of\n{theirs:?} to\n{text}"
            );
        }
        let mut ours = Command::new(&self.ours);
        ours.env_clear().env("LC_ALL", "C").current_dir(FOLDER);
        let (exit, said) = status(&mut ours, &file)?;
        Ok((theirs, Verdict::of_ours(exit, said)))
    }

    /// A program of the original's Debian.
    fn original(&self, program: &str) -> Command {
        let mut command = Command::new("chroot");
        command.arg(&self.root).args(["/usr/bin/env", "-C", FOLDER, program]);
        command.env_clear().envs([("LC_ALL", "C"), ("PERLIO", "perlio")]).env("PATH", path());
        command
    }

    /// What the original says about a file: its exit status, and what it prints.
    fn read(&self, file: &Path) -> Result<(Option<i32>, String)> {
        let idle = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader::start(&mut self.original("/usr/bin/perl"))?,
        };
        let said = reader.run(file, "status")?;
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        Ok(said)
    }
}

/// The exit status of a program's `status`, and what it prints.
fn status(command: &mut Command, file: &Path) -> Result<(Option<i32>, String)> {
    let Finished { status, stdout, stderr, .. } = finish(command.arg(file).arg("status"), LIMIT)?;
    Ok((status.code(), stderr + &stdout))
}

/// PATH for chroot(8).
fn path() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let own = std::env::var("PATH").unwrap_or_default();
        format!("{own}:/usr/sbin:/usr/bin:/sbin:/bin")
    })
}

fn empty(place: &Path) -> Result<()> {
    fs::create_dir_all(place).with_context(|| format!("cannot make {place:?}"))?;
    mount("tmpfs", place, "tmpfs", MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {place:?}"))
}

/// Namespaces in which this process is root: the programs it starts are, too, and may change their
/// root.
fn enter_namespaces() -> Result<()> {
    let own = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET;
    if geteuid().is_root() {
        return Ok(unshare(own)?);
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(own | CloneFlags::CLONE_NEWUSER)?;
    // user_namespaces(7): an unprivileged process may map a group only after it has denied
    // setgroups.
    for (file, text) in [
        ("setgroups", "deny".to_owned()),
        ("uid_map", format!("0 {user} 1")),
        ("gid_map", format!("0 {group} 1")),
    ] {
        fs::write(Path::new("/proc/self").join(file), text)
            .with_context(|| format!("cannot write {file}"))?;
    }
    Ok(())
}
