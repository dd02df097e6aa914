//! The two folders on the host that one guest needs while it runs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::places;

/// Starts the name of every such folder; the id of the process that made it follows.
const PREFIX: &str = "ipvs-guest-";

/// Folders that are removed when this is dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// What the guest reads: PID 1 and its job. In the checkout, because the guest has its own
    /// /dev, /run and /proc.
    pub files: PathBuf,
    /// The guest's memory. On a file system in memory if there is one, so that it isn't written to
    /// a disk for nothing.
    pub memory: PathBuf,
}

impl Scratch {
    /// Makes them, for a guest with this much memory (MiB).
    pub(crate) fn new(memory: u64) -> Result<Self> {
        let files = make(&places::guests())?;
        let memory = place_for_memory(memory).and_then(|place| make(&place));
        if memory.is_err() {
            let _ = std::fs::remove_dir_all(&files);
        }
        Ok(Self { files, memory: memory? })
    }

    /// Puts the program that runs now into [`Scratch::files`]: a build may replace its file while
    /// the guest runs.
    pub(crate) fn keep_program(&self) -> Result<PathBuf> {
        let kept = self.files.join("init");
        let linked = std::env::current_exe().and_then(|program| std::fs::hard_link(program, &kept));
        if linked.is_err() {
            std::fs::copy("/proc/self/exe", &kept)
                .with_context(|| format!("can't copy xtask to {}", kept.display()))?;
        }
        Ok(kept)
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
    // What a process with this id left behind before.
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).with_context(|| format!("can't make {}", path.display()))?;
    Ok(path)
}

/// Removes what guests left that were killed together with everything that watched over them.
fn sweep(place: &Path) {
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists() {
            // Somebody else's can't be removed by us, and need not be.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// User-Mode Linux maps its memory from a file, for execution too, and dies of a bus error when the
/// file system fills up.
fn place_for_memory(memory: u64) -> Result<PathBuf> {
    let mut places: Vec<PathBuf> =
        std::env::var_os("TMPDIR").map(PathBuf::from).into_iter().collect();
    places.extend(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from));
    let mut reasons = Vec::new();
    for place in places {
        match usable(&place, memory) {
            Ok(()) => return Ok(place),
            Err(reason) => reasons.push(format!("{}: {reason:#}", place.display())),
        }
    }
    bail!(
        "no place for the guest's memory: set TMPDIR to a folder with {memory} MiB \
         free on a file system that is not mounted \
         noexec, or ask for less with --memory ({})",
        reasons.join("; ")
    );
}

fn usable(place: &Path, memory: u64) -> Result<()> {
    if !place.is_absolute() || place.as_os_str().len() > 60 {
        bail!("a socket's name, 108 bytes at most, can't begin with it");
    }
    let system = statvfs(place).context("it can't be examined")?;
    if system.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        bail!("it is mounted noexec");
    }
    let free = system.f_bavail.saturating_mul(system.f_frsize) >> 20;
    if free < memory {
        bail!("only {free} MiB are free");
    }
    rustix::fs::access(place, rustix::fs::Access::WRITE_OK).context("it can't be written to")
}

/// `key=value` for a kernel's command line, which is cut at spaces that aren't quoted and knows no
/// way to write a quote.
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
    fn no_place_has_an_endless_amount_of_memory() {
        let reason = place_for_memory(u64::MAX >> 21).unwrap_err().to_string();
        assert!(reason.contains("TMPDIR") && reason.contains("MiB are free"), "{reason}");
    }
}
