//! The socket file: made with its rights from the start, in place of one that nobody serves.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use thiserror::Error;

use crate::control::client::connect;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// A socket that can be connected to.
#[derive(Debug)]
#[non_exhaustive]
pub struct Listening {
    /// The socket. It doesn't block.
    pub listener: UnixListener,
    /// Its file.
    pub file: SocketFile,
    /// The file couldn't be given to the group. It belongs to the group of this process.
    pub group_error: Option<io::Error>,
}

/// The file of a socket. It stays when this is dropped; [`remove`](Self::remove) deletes it.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

/// Why there is no socket.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// Somebody serves it.
    #[error("{}: another process serves this socket", .0.display())]
    InUse(PathBuf),
    /// There is another kind of file at that path. It stays.
    #[error("{}: this file is in the way, and it isn't a socket", .0.display())]
    NotASocket(PathBuf),
    /// A system call failed.
    #[error("{}: {doing}: {source}", path.display())]
    System {
        /// What was attempted.
        doing: &'static str,
        /// The path of the socket.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
}

impl SocketFile {
    /// Deletes the file, unless another process has put its own there.
    ///
    /// # Errors
    ///
    /// The error of unlink(2).
    pub fn remove(self) -> io::Result<()> {
        match fs::symlink_metadata(&self.path) {
            Ok(it) if (it.dev(), it.ino()) == self.identity => fs::remove_file(&self.path),
            _ => Ok(()),
        }
    }
}

/// Listens on a Unix socket at `path`, whose file has mode 0660 and belongs to `group` if that can
/// be done. It replaces a socket that nobody serves.
///
/// The file appears at `path` when everything is as it should be: it is made under another name in
/// the same directory and renamed. Two processes that do this at the same moment both succeed, and
/// the last one has the path; a lock of the daemon has to keep instances apart.
///
/// # Errors
///
/// [`BindError`]: a process serves that socket, the path is another kind of file, or a system call
/// failed.
pub fn bind(path: &Path, group: Option<u32>) -> Result<Listening, BindError> {
    let failed = |doing: &'static str| {
        let path = path.to_owned();
        move |source: io::Error| BindError::System { doing, path, source }
    };
    // The file could be made under its other name, and nobody could connect to it.
    SocketAddrUnix::new(path).map_err(|error| failed("naming the socket")(error.into()))?;
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("looking at the path")(error)),
        Ok(it) if !it.file_type().is_socket() => {
            return Err(BindError::NotASocket(path.to_owned()));
        }
        Ok(_) => match connect(path, std::time::Duration::from_secs(2)) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is served, if slowly.
            _ => return Err(BindError::InUse(path.to_owned())),
        },
    }
    let temporary = path.with_file_name(format!(".{}", std::process::id()));
    let made = make(&temporary, group).and_then(|listening| {
        fs::rename(&temporary, path).map_err(|error| ("renaming", error))?;
        Ok(listening)
    });
    match made {
        Ok((listener, identity, group_error)) => {
            let file = SocketFile { path: path.to_owned(), identity };
            Ok(Listening { listener, file, group_error })
        }
        Err((doing, error)) => {
            let _ = fs::remove_file(&temporary);
            Err(failed(doing)(error))
        }
    }
}

type Made = (UnixListener, (u64, u64), Option<io::Error>);

fn make(path: &Path, group: Option<u32>) -> Result<Made, (&'static str, io::Error)> {
    // What a process with the same number has left.
    let _ = fs::remove_file(path);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|error| ("creating a socket", error.into()))?;
    let address = SocketAddrUnix::new(path).map_err(|error| ("its path", error.into()))?;
    net::bind(&socket, &address).map_err(|error| ("binding", error.into()))?;
    // Nobody can connect before listen(2), so nobody does with other rights than these.
    let group_error =
        group.and_then(|group| std::os::unix::fs::chown(path, None, Some(group)).err());
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
        .map_err(|error| ("setting its mode", error))?;
    let file = fs::symlink_metadata(path).map_err(|error| ("looking at it", error))?;
    net::listen(&socket, BACKLOG).map_err(|error| ("listening", error.into()))?;
    Ok((UnixListener::from(socket), (file.dev(), file.ino()), group_error))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;

    use tempfile::{TempDir, tempdir};

    use super::*;

    /// The names of the files in a folder.
    fn names(folder: &TempDir) -> Vec<OsString> {
        fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().file_name()).collect()
    }

    #[test]
    fn the_file_has_its_rights_and_can_be_connected_to() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let own = fs::metadata(folder.path()).unwrap().gid();
        let it = bind(&path, Some(own)).unwrap();
        assert!(it.group_error.is_none());
        let file = fs::symlink_metadata(&path).unwrap();
        assert_eq!((file.mode() & 0o7777, file.gid()), (0o660, own));
        assert_eq!(names(&folder), ["web.sock"]);
        it.listener.set_nonblocking(false).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        let (mut server, _) = it.listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        it.file.remove().unwrap();
        assert!(names(&folder).is_empty());
    }

    #[test]
    fn a_socket_is_replaced_only_if_nobody_serves_it() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let first = bind(&path, None).unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::InUse(_))));
        drop(first.listener);
        let second = bind(&path, None).unwrap();
        UnixStream::connect(&path).unwrap();
        // The file is no longer the first one's.
        first.file.remove().unwrap();
        UnixStream::connect(&path).unwrap();
        drop(second);
        assert_eq!(names(&folder), ["web.sock"]);
    }

    #[test]
    fn a_socket_whose_queue_is_full_is_served() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("web.sock");
        let _it = bind(&path, None).unwrap();
        let mut clients = Vec::new();
        while let Ok(client) = connect(&path, std::time::Duration::from_millis(1)) {
            clients.push(client);
            assert!(clients.len() < 1000);
        }
        assert!(matches!(bind(&path, None), Err(BindError::InUse(_))));
    }

    #[test]
    fn another_kind_of_file_stays() {
        let folder = tempdir().unwrap();
        let path = folder.path().join("web.sock");
        fs::write(&path, "important").unwrap();
        assert!(matches!(bind(&path, None), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "important");
    }

    #[test]
    fn a_path_that_cannot_be_is_an_error_that_names_it() {
        for path in [format!("/{}", "x".repeat(200)), "/nowhere/there/web.sock".to_owned()] {
            let error = bind(Path::new(&path), None).unwrap_err();
            assert!(matches!(error, BindError::System { .. }), "{error}");
            assert!(error.to_string().starts_with(&path), "{error}");
        }
    }
}
