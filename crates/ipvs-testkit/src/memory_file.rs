//! In-memory files that serve as a program's standard input.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use anyhow::Result;
use rustix::fs::{MemfdFlags, memfd_create};

/// Creates an in-memory file with these contents, positioned at its start. As a program's standard
/// input, it needs no writer while the program runs.
///
/// # Errors
///
/// If memory or file descriptors run out.
pub fn memory_file(contents: impl AsRef<[u8]>) -> Result<File> {
    let mut file = File::from(memfd_create("input", MemfdFlags::CLOEXEC)?);
    file.write_all(contents.as_ref())?;
    file.rewind()?;
    Ok(file)
}
