//! Files of a machine, for tests.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A folder in the place of a machine's root directory.
pub(crate) struct Root(TempDir);

impl Root {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file; the path is relative to this root.
    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::write(self.place(path), text).expect("a file");
    }

    /// Makes a symbolic link to what is named.
    pub(crate) fn link(&self, path: &str, to: &str) {
        symlink(to, self.place(path)).expect("a link");
    }

    /// A path below this root, in a folder that is there.
    fn place(&self, path: &str) -> PathBuf {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        path
    }
}
