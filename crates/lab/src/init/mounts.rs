//! The guest's file systems.
//!
//! The root is the host's own, read-only through hostfs, with an overlay in memory on top. Programs
//! run as built and may write wherever root may, but only changes in the folders that the spec
//! names reach the host. The overlay also makes room for `/lib/modules` on a host without that
//! folder.

use std::ffi::CString;
use std::fs::{self, File, create_dir, create_dir_all};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount};
use rustix::process::pivot_root;

use super::SELF;
use crate::guest::spec::Spec;

/// Folders that every Linux system has and that contain nothing PID 1 needs. The overlay is
/// assembled in one of them.
const STAGES: [&str; 3] = ["/run", "/tmp", "/mnt"];

/// Replaces the root that the kernel mounted with the one for the spec's command.
pub(super) fn enter_root(spec: &Spec) -> Result<()> {
    special("proc", "/proc")?;
    load_overlay(&spec.modules)?;
    let stage = STAGES
        .into_iter()
        .map(Path::new)
        .find(|stage| stage.is_dir())
        .context("the host has none of /run, /tmp and /mnt to build the guest's root in")?;
    special("tmpfs", stage)?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| stage.join(name));
    for directory in [&upper, &work, &root] {
        create_dir(directory).with_context(|| format!("can't make {}", directory.display()))?;
    }
    let layers = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount("overlay", &root, "overlay", MountFlags::empty(), &*CString::new(layers)?)
        .context("can't lay a writable layer over the host's files")?;
    fill(&root, spec)?;

    std::env::set_current_dir(&root).context("can't enter the new root")?;
    // With "." for both, the old root ends up on top of the new one, so it can be unmounted at
    // once.
    pivot_root(".", ".").context("can't change the root")?;
    unmount(".", UnmountFlags::DETACH).context("can't take the old root away")?;
    open_ways(spec)?;
    std::env::set_current_dir(&spec.directory)
        .with_context(|| format!("can't enter {} in the guest", spec.directory.display()))
}

/// Mounts everything on the root: the kernel's own file systems, the modules, and the writable
/// folders.
fn fill(root: &Path, spec: &Spec) -> Result<()> {
    for (kind, place) in [("proc", "proc"), ("sysfs", "sys"), ("devtmpfs", "dev"), ("tmpfs", "run")]
    {
        let place = root.join(place);
        create_dir_all(&place).with_context(|| format!("can't make {}", place.display()))?;
        special(kind, &place)?;
    }
    for (kind, place) in [("devpts", "dev/pts"), ("tmpfs", "dev/shm")] {
        let place = root.join(place);
        create_dir_all(&place).with_context(|| format!("can't make {}", place.display()))?;
        special(kind, &place)?;
    }
    for (name, target) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")]
    {
        std::os::unix::fs::symlink(target, root.join("dev").join(name))
            .with_context(|| format!("can't make /dev/{name}"))?;
    }

    let modules = root.join("lib/modules");
    create_dir_all(&modules).context("can't make /lib/modules")?;
    mount_bind(&spec.modules, &modules).context("can't put the kernel's modules in place")?;

    let own = root.join(SELF.trim_start_matches('/'));
    File::create(&own).with_context(|| format!("can't make {SELF}"))?;
    mount_bind("/proc/self/exe", &own).with_context(|| format!("can't put {SELF} in place"))?;

    spec.writable.iter().try_for_each(|folder| host_folder(root, folder))
}

/// Lets all users of the guest reach the spec's programs: a checkout may be in a home that only its
/// owner can enter. These changes don't reach the host, and the spec's writable folders are left as
/// they are.
fn open_ways(spec: &Spec) -> Result<()> {
    const SEARCH: u32 = 0o011;
    let path = spec.variable("PATH").cloned().unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        let Ok(real) = folder.canonicalize() else { continue };
        for part in folder.ancestors().chain(real.ancestors()) {
            let Ok(permissions) = fs::metadata(part).map(|found| found.permissions()) else {
                continue;
            };
            let is_the_hosts = spec.writable.iter().any(|writable| part.starts_with(writable));
            if permissions.mode() & SEARCH == SEARCH || is_the_hosts {
                continue;
            }
            fs::set_permissions(part, PermissionsExt::from_mode(permissions.mode() | SEARCH))
                .with_context(|| format!("can't open {} to all of the guest", part.display()))?;
        }
    }
    Ok(())
}

/// Mounts a host folder for writing. The root's mount of the host is read-only as a whole, so this
/// needs a second one.
fn host_folder(root: &Path, folder: &Path) -> Result<()> {
    let place = root.join(folder.strip_prefix("/").unwrap_or(folder));
    create_dir_all(&place).with_context(|| format!("can't make {}", folder.display()))?;
    let source = CString::new(folder.as_os_str().as_bytes())?;
    mount("hostfs", &place, "hostfs", MountFlags::empty(), &*source)
        .with_context(|| format!("can't make {} writable in the guest", folder.display()))
}

fn special(kind: &str, place: impl AsRef<Path>) -> Result<()> {
    let place = place.as_ref();
    mount(kind, place, kind, MountFlags::empty(), None)
        .with_context(|| format!("can't mount {kind} on {}", place.display()))
}

/// Loads overlayfs directly from its file: modprobe would look for it in the host's `/lib/modules`.
fn load_overlay(modules: &Path) -> Result<()> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let path = modules.join(release).join("kernel/fs/overlayfs/overlay.ko");
    let file = File::open(&path).with_context(|| format!("can't open {}", path.display()))?;
    match rustix::system::finit_module(&file, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error).with_context(|| format!("can't load {}", path.display())),
    }
}
