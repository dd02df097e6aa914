//! What a program is to read from its standard input.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use anyhow::Result;
use rustix::fs::{MemfdFlags, memfd_create};

/// A file in memory with these contents, to be read from its beginning: a standard input that needs
/// nobody to write while the program runs.
///
/// # Errors
///
/// If there is no memory or no descriptor left.
pub fn memory_file(contents: impl AsRef<[u8]>) -> Result<File> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(contents.as_ref())?;
    file.rewind()?;
    Ok(file)
}
