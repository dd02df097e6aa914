//! Files that are there as a whole or not at all, even after a crash.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown,
};
use std::path::{Path, PathBuf};

use crate::realserver::journal::{Content, Saved};

/// The largest file that is kept in the journal, in bytes.
const MOST: u64 = 1024 * 1024;

/// What isn't there is no error.
pub(super) fn missing_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(it) => Ok(Some(it)),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Reads a regular file.
pub(super) fn read(path: &Path) -> io::Result<Option<Saved>> {
    let Some(metadata) = missing_is_none(fs::symlink_metadata(path))? else { return Ok(None) };
    if !metadata.is_file() {
        return Err(io::Error::other("it isn't a regular file"));
    }
    if metadata.len() > MOST {
        return Err(io::Error::other("it is longer than 1 MiB"));
    }
    let mut bytes = Vec::new();
    let Some(file) = missing_is_none(File::open(path))? else { return Ok(None) };
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(Some(Saved {
        content: Content::new(bytes),
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
    }))
}

/// Where a file is while it is written. No program reads files whose names begin with a dot there.
pub(super) fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".director-new");
    path.with_file_name(name)
}

/// Creates or replaces a file.
pub(super) fn write(path: &Path, saved: &Saved) -> io::Result<()> {
    let new = beside(path);
    remove(&new)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(saved.content.as_bytes())?;
    let metadata = file.metadata()?;
    if (metadata.uid(), metadata.gid()) != (saved.uid, saved.gid) {
        fchown(&file, Some(saved.uid), Some(saved.gid))?;
    }
    file.set_permissions(fs::Permissions::from_mode(saved.mode))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_parent(path)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match missing_is_none(fs::remove_file(path))? {
        Some(()) => sync_parent(path),
        None => Ok(()),
    }
}

pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o755).create(path)?;
    sync_parent(path)
}

/// Removes a directory if it is empty.
pub(super) fn remove_directory(path: &Path) -> io::Result<bool> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(false),
        other => other?,
    }
    sync_parent(path)?;
    Ok(true)
}

fn sync_parent(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that can't go on has failed")]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_restored_as_it_was() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("folder");
        make_directory(&folder).unwrap();
        let path = folder.join("x");
        assert_eq!(read(&path).unwrap(), None);
        fs::write(&path, [0xff, 1]).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let former = read(&path).unwrap().unwrap();
        // What was killed before.
        fs::write(beside(&path), "half").unwrap();
        let new = Saved { content: Content::Text("new".to_owned()), mode: 0o600, ..former.clone() };
        write(&path, &new).unwrap();
        assert_eq!(read(&path).unwrap(), Some(new));
        assert!(!beside(&path).exists());
        assert!(!remove_directory(&folder).unwrap());
        write(&path, &former).unwrap();
        assert_eq!(fs::read(&path).unwrap(), [0xff, 1]);
        assert_eq!(read(&path).unwrap(), Some(former));
        assert!(read(&folder).is_err());
        assert_eq!(read(&path.join("below")).unwrap(), None);
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(remove_directory(&folder).unwrap());
    }
}
