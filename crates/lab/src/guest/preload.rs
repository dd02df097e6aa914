//! Has the dynamic loader preload a stand-in for ptrace(2) into a guest's kernel. Older kernels
//! don't run on processors with AMX without it (see `uml-xstate`).
//!
//! Every guest gets it, so that all machines take the same path. Where it isn't needed, it finds
//! out at its first call and passes on all others.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The shared object, built by this crate's build script.
const COMPLETION: &[u8] = include_bytes!(env!("UML_XSTATE_COMPLETION"));

/// For tests: the files to preload instead, separated by colons. Empty means none.
const VARIABLE: &str = "IPVS_GUEST_PRELOAD";

/// Writes the objects into `folder` and returns the value of `LD_PRELOAD`. The kernel must start in
/// `folder`, which must not be on a file system mounted noexec.
///
/// The kernel re-executes itself, so it has to keep the variable. Its environment is separate:
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
        // Relative to where the kernel starts, because the loader treats a space in a path as its
        // end.
        names.push(Path::new(".").join(name));
    }
    std::env::join_paths(names).context("an object's name has a colon")
}

fn read(file: &PathBuf) -> Result<(OsString, Vec<u8>)> {
    let name = file.file_name().with_context(|| format!("{VARIABLE}: {file:?} is no file"))?;
    let bytes = std::fs::read(file).with_context(|| format!("{VARIABLE}: can't read {file:?}"))?;
    Ok((name.to_owned(), bytes))
}
