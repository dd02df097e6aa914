//! The directory that all instances share: each has its state, its lock and its socket there.
//!
//! Their workers may belong to different users. None of them may replace another one's files, and none
//! has to be able to: a worker needs to create and rename its own, and to look at the others'. So the
//! directory is root's, is writable for a group that workers get for this alone, and has the sticky
//! bit. Without such a group it belongs to the user of the workers, and there can be only one.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown,
};
use std::path::Path;

use daemon_kit::users::User;
use director::Store;
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::instance::{Instance, RUN_DIR};

/// The group that workers get for the directory. Nobody else should be in it.
pub(super) const GROUP: &str = "ldirectord";

/// Makes sure that the directory is there, and that an instance's worker can use it. `group` is
/// [`GROUP`]'s, if it exists.
///
/// # Errors
///
/// If a file can't be created or given away; without a group, also if running instances belong to
/// another user.
pub(super) fn prepare(instance: &Instance, user: User, group: Option<u32>) -> io::Result<()> {
    let path = Path::new(RUN_DIR);
    DirBuilder::new().recursive(true).mode(0o755).create(path)?;
    if !rustix::process::getuid().is_root() {
        return Ok(());
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    let own = |suffix: &str| path.join(format!("{}.{suffix}", instance.name()));
    match group {
        Some(group) => set(&folder, 0, group, 0o1775)?,
        // Nor can root's worker use another one's: it lacks the capability for that.
        None => {
            if let Some(name) = running_of_another(path, user.uid, instance.name())? {
                let text = format!(
                    "{name} runs as another user: for instances of several users there has to be a \
                     group `{GROUP}`, of which nobody is a member"
                );
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
            }
            set(&folder, user.uid, user.gid, 0o755)?;
        }
    }
    // Instances of other users look whether its owner is running.
    let (gid, mode) = group.map_or((user.gid, 0o600), |group| (group, 0o640));
    create(&own("lock"));
    give(&own("lock"), user.uid, gid, mode);
    give(&own("state"), user.uid, user.gid, 0o644);
    // Whoever may use the directory may lock the claims.
    let (owner, claims) = (folder.metadata()?, path.join(Store::CLAIMS));
    create(&claims);
    give(&claims, owner.uid(), owner.gid(), if group.is_some() { 0o660 } else { 0o600 });
    // These are replaced by new ones, which can't be done with another user's.
    for path in [own("state.new"), instance.socket()] {
        if fs::symlink_metadata(&path).is_ok_and(|it| it.uid() != user.uid) {
            let _ = fs::remove_file(path);
        }
    }
    remove_half_made(path, user.uid);
    Ok(())
}

/// Removes what other users' workers have left if they were killed while they made their sockets, which
/// are called `.PID` until then. A worker of this user that gets the number couldn't.
fn remove_half_made(folder: &Path, uid: u32) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|it| it.strip_prefix('.')?.parse().ok());
        let Some(pid) = number.and_then(Pid::from_raw) else { continue };
        let is_others = fs::symlink_metadata(entry.path())
            .is_ok_and(|it| it.file_type().is_socket() && it.uid() != uid);
        if is_others && test_kill_process(pid) == Err(Errno::SRCH) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Creates a file that may be there already.
fn create(path: &Path) {
    let flags = OFlags::RDONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    // Whoever needs it says so.
    let _ = rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR);
}

/// Gives a file to a user, if there is one. If that can't be done, the worker says so.
///
/// Another user may have had it, and put a name for something else in its place. So a symbolic link
/// isn't followed, and a file with other names isn't touched. The documented drop-in leaves no right to
/// read another user's file, so it isn't opened for that.
fn give(path: &Path, uid: u32, gid: u32, mode: u32) {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()).map(File::from) else { return };
    if file.metadata().is_ok_and(|it| it.is_file() && it.nlink() == 1) {
        let _ = set(&file, uid, gid, mode);
    }
}

/// Sets owner, group and mode, if any of them differs. The documented drop-in leaves no right to change
/// the mode of another user's file either, so it's changed while the file is root's.
fn set(file: &File, uid: u32, gid: u32, mode: u32) -> io::Result<()> {
    let is = file.metadata()?;
    if (is.uid(), is.gid(), is.mode() & 0o7777) == (uid, gid, mode) {
        return Ok(());
    }
    // fchown(2) and fchmod(2) refuse a descriptor of O_PATH. This is the same file, whatever is at its
    // path by now (proc_pid_fd(5)).
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    chown(&path, Some(0), Some(0))?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    chown(&path, Some(uid), Some(gid))
}

/// The name of an instance beside `own` that is running, as another user.
fn running_of_another(folder: &Path, uid: u32, own: &str) -> io::Result<Option<String>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().and_then(|it| it.strip_suffix(".lock")) else { continue };
        let file = fs::symlink_metadata(entry.path())?;
        if name == own || !file.is_file() || file.uid() == uid {
            continue;
        }
        let is_running = is_locked(&entry.path()).or_else(|error| {
            // Under the documented drop-in, a worker's lock can't be read, and its parent's can.
            Instance::new(Some(name.as_ref())).map_or(Err(error), |it| is_locked(&it.lock_file()))
        });
        // It may be.
        if is_running.unwrap_or(true) {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

fn is_locked(path: &Path) -> Result<bool, Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(lock) => Ok(flock(&lock, FlockOperation::NonBlockingLockShared).is_err()),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}
