//! Temporary directories for the files of servers.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// A directory that is removed when this is dropped.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
}

impl TempDir {
    /// Creates a temporary directory. Its name is derived from a namespace's, and so is unique.
    ///
    /// # Errors
    ///
    /// If there is one of this name, or it can't be created.
    pub fn create(name: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the folder {path:?}"))?;
        Ok(Self { path })
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file into it, and returns the file's path.
    ///
    /// # Errors
    ///
    /// If the file can't be written.
    pub fn write(&self, name: &str, contents: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::write(&path, contents).with_context(|| format!("cannot write {path:?}"))?;
        Ok(path)
    }

    /// Creates an empty directory in it, and returns that directory's path.
    ///
    /// # Errors
    ///
    /// If the directory can't be created.
    pub fn inner(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the folder {path:?}"))?;
        Ok(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            eprintln!("{:?} stays behind: {error}", self.path);
        }
    }
}
