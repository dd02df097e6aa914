//! What the dynamic loader puts into a guest's kernel before everything else: a stand-in for
//! ptrace(2), without which older kernels don't run on processors with AMX (see `uml-xstate`).
//!
//! Every guest gets it. Where it isn't needed it finds that out at its first call and passes all
//! others on; so no machine takes a path that others don't.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The object, as this program's build script has built it.
const COMPLETION: &[u8] = include_bytes!(env!("UML_XSTATE_COMPLETION"));

/// For tests: the files to preload instead, separated by colons; none if it's empty.
const VARIABLE: &str = "IPVS_GUEST_PRELOAD";

/// Puts the objects into `folder`, which has to be where the kernel starts, and must not be on a
/// file system that is mounted noexec; the value of `LD_PRELOAD`.
///
/// The kernel executes itself again, so it has to keep the variable. Its environment is its own:
/// nothing in the guest sees it.
pub(crate) fn put_into(folder: &Path) -> Result<OsString> {
    let objects: Vec<(OsString, Vec<u8>)> = match std::env::var_os(VARIABLE) {
        None => vec![("completion.so".into(), COMPLETION.to_owned())],
        Some(files) => std::env::split_paths(&files)
            .filter(|file| !file.as_os_str().is_empty())
            .map(|file| read(&file))
            .collect::<Result<_>>()?,
    };
    let mut names = Vec::new();
    for (name, bytes) in objects {
        let path = folder.join(&name);
        std::fs::write(&path, bytes).with_context(|| format!("can't write {}", path.display()))?;
        // Relative to where the kernel starts: the loader takes a space in a path for the end of it.
        names.push(Path::new(".").join(name));
    }
    std::env::join_paths(names).context("an object's name has a colon")
}

fn read(file: &PathBuf) -> Result<(OsString, Vec<u8>)> {
    let name = file.file_name().with_context(|| format!("{VARIABLE}: {file:?} is no file"))?;
    let bytes = std::fs::read(file).with_context(|| format!("{VARIABLE}: can't read {file:?}"))?;
    Ok((name.to_owned(), bytes))
}
