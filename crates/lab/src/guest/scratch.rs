//! The two folders on the host that one guest needs while it runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use rustix::fs::{StatVfsMountFlags, statvfs};
use rustix::io::Errno;

use crate::paths;

/// The prefix of every such folder's name; the id of the process that created it follows.
const PREFIX: &str = "ipvs-guest-";

/// The two folders, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// What the guest reads: PID 1 and its job. It is in the checkout, because the guest has its
    /// own /dev, /run and /proc.
    pub files: PathBuf,
    /// The guest's memory. It is on a file system in memory if there is one, to avoid needless
    /// writes to a disk.
    pub memory: PathBuf,
}

impl Scratch {
    /// Creates the folders for a guest with `memory` MiB.
    pub(crate) fn new(memory: u64) -> Result<Self> {
        let files = make(&paths::guests())?;
        let memory = choose(&candidates(), memory)
            .map_err(|reasons| {
                anyhow!("no place for the guest's memory: {} ({reasons})", advice(memory))
            })
            .and_then(make);
        if memory.is_err() {
            let _ = std::fs::remove_dir_all(&files);
        }
        Ok(Self { files, memory: memory? })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for folder in [&self.files, &self.memory] {
            let _ = std::fs::remove_dir_all(folder);
        }
    }
}

fn make(place: &Path) -> Result<PathBuf> {
    let path = place.join(format!("{PREFIX}{}", std::process::id()));
    sweep(place);
    // Left by an earlier process with the same id.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
    Ok(path)
}

/// Removes what guests left behind when they were killed together with everything that watched over
/// them.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists() {
            // Other users' folders can't be removed by us, and need not be.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A folder that could hold a guest's memory, and its file system.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub path: PathBuf,
    /// The file system, or why no guest can use the folder.
    pub state: Result<FileSystem, String>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct FileSystem {
    pub noexec: bool,
    /// Free space in MiB, as available to this user.
    pub free: u64,
}

/// All candidates, best first.
pub(crate) fn candidates() -> Vec<Candidate> {
    let own = std::env::var_os("TMPDIR").map(PathBuf::from);
    own.into_iter()
        .chain(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from))
        .map(|path| {
            let state = examine(&path).map_err(|reason| format!("{reason:#}"));
            Candidate { path, state }
        })
        .collect()
}

fn examine(place: &Path) -> Result<FileSystem> {
    if !place.is_absolute() || place.as_os_str().len() > 60 {
        bail!("its path is too long for a socket's name, which has 108 bytes at most");
    }
    let system = file_system(place).context("it can't be examined")?;
    rustix::fs::access(place, rustix::fs::Access::WRITE_OK).context("it can't be written to")?;
    Ok(system)
}

/// The file system that a folder is on.
pub(crate) fn file_system(folder: &Path) -> Result<FileSystem, Errno> {
    let system = statvfs(folder)?;
    Ok(FileSystem {
        noexec: system.f_flag.contains(StatVfsMountFlags::NOEXEC),
        free: system.f_bavail.saturating_mul(system.f_frsize) >> 20,
    })
}

/// Chooses the folder for a guest with `memory` MiB; the error says why none is suitable. User-Mode
/// Linux maps its memory from a file, with execute permission too, and dies of a bus error when the
/// file system fills up.
pub(crate) fn choose(candidates: &[Candidate], memory: u64) -> Result<&Path, String> {
    let mut reasons = Vec::new();
    for Candidate { path, state } in candidates {
        let reason = match state {
            Ok(FileSystem { noexec: true, .. }) => "it is mounted noexec".to_owned(),
            Ok(FileSystem { free, .. }) if *free < memory => format!("only {free} MiB are free"),
            Ok(_) => return Ok(path),
            Err(reason) => reason.clone(),
        };
        reasons.push(format!("{}: {reason}", path.display()));
    }
    Err(reasons.join("; "))
}

/// What to do when [`choose`] finds nothing.
pub(crate) fn advice(memory: u64) -> String {
    format!(
        "set TMPDIR to a folder with {memory} MiB free on a file system that is not mounted noexec, \
         or ask for less with --memory"
    )
}

/// `key=value` for a kernel's command line, which is split at unquoted spaces and has no way to
/// escape a quote.
pub(crate) fn word(key: &str, value: &Path) -> Result<OsString> {
    let text = value
        .to_str()
        .filter(|text| !text.contains(['"', '\n']))
        .with_context(|| format!("{value:?} can't be said on a kernel's command line"))?;
    Ok(if text.contains(' ') { format!("{key}=\"{text}\"") } else { format!("{key}={text}") }
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_is_quoted_and_a_quote_refused() {
        assert_eq!(word("init", Path::new("/a/b")).unwrap(), "init=/a/b");
        assert_eq!(word("init", Path::new("/a b/c")).unwrap(), "init=\"/a b/c\"");
        assert!(word("init", Path::new("/a\"b")).is_err());
    }

    #[test]
    fn the_first_place_that_fits_is_taken_and_each_other_has_a_reason() {
        let candidate = |path: &str, noexec, free| Candidate {
            path: path.into(),
            state: Ok(FileSystem { noexec, free }),
        };
        let unusable =
            Candidate { path: "/no".into(), state: Err("it can't be examined".to_owned()) };
        let all = [unusable, candidate("/a", true, 9999), candidate("/b", false, 64)];
        assert_eq!(choose(&all, 64), Ok(Path::new("/b")));
        assert_eq!(
            choose(&all, 65).unwrap_err(),
            "/no: it can't be examined; /a: it is mounted noexec; /b: only 64 MiB are free"
        );
        let larger = [&all[..], &[candidate("/c", false, 65)]].concat();
        assert_eq!(choose(&larger, 65), Ok(Path::new("/c")));
    }

    #[test]
    fn no_place_of_this_machine_has_an_endless_amount_of_memory() {
        let reasons = choose(&candidates(), u64::MAX >> 21).unwrap_err();
        assert!(reasons.contains("/dev/shm: ") && reasons.contains("MiB are free"), "{reasons}");
    }
}
